"""A primal-dual interior-point method for markets whose linear systems have the size of the peers, not of the links.

=================  ===================================================================================================
``programme``      a market laid out as rows, boxes and arcs
``kernels``        passes over the arcs
``normal``         the linear systems for the prices, dense where they are small
``sparse_normal``  the same by conjugate gradients, where they are large
``chain_normal``   the same where storages join the MTUs
``method``         the iteration
``sifting``        leaves out arcs that are idle, and proves that no other matters
``settling``       balances what the iteration came to, to rounding
``least_norm``     chooses among tied trades
=================  ===================================================================================================
"""
