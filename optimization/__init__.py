"""What is best: the mathematics of dispatch and clearing, without input, output, clock or wire types.

======================  ==============================================================================================
``community``           the data of a dispatch problem: peers with devices, links, envelopes, tariff
``clearing``            its answer: schedules, trades, prices
``market``              the data of a convex market, in arrays
``market_clearing``     its answers: a clearing, a conflict, a search that ended without either
``canonical``           a market sorted by name, so that no answer depends on the order of its parts
``dispatch``            a market's optimum, by the method in ``interior_point``
``admm``                the same by consensus among peers, by the rounds in ``peer_to_peer``
``conflict``            who would have to give where a market has no clearing, with proof
``elastic``             the problem behind that: the least that would have to give
``markets``             other market designs, to compare
``convex``              a community with its appliances decided, as a market
``reference``           the plainly written solvers that others are held against
``certificate``         checks a community's clearing, with no code of the solvers
``market_certificate``  the same for a market's clearing, and for a proof that there is none
``market_bound``        what no clearing of a market can cost less than
``rounding``            from floats to integers: totals conserved, no limit crossed
``errors``              the exceptions of this package
======================  ==============================================================================================
"""
