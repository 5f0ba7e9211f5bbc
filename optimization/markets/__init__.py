"""Market designs behind one protocol, over the orders of one market, so that a community can compare them.

=================  ===================================================================================================
``protocol``       what every design is asked and answers: ``Design``, ``DesignOutcome``, ``Trades``
``positions``      what each peer would consume at a price, exactly
``band``           between which prices trades can lie
``orders``         the net positions cut into bids and offers
``settling``       who pays what to whom; limits that a design did not keep
``bilateral``      the multi-bilateral economic dispatch
``pool``           a community manager between the members and the grid
``double_auction`` one price where supply meets demand
``average_price``  every matched pair at the mean of its two limits
``negotiation``    bounded concessions over the links, in rounds
``composite``      bilateral first, the rest to the pool, the rest to the grid
``grid_only``      everybody with the grid alone: what the others are measured against
``emergency``      a last resort for must-run power, so that a first stage or a baseline always has an answer
``registry``       the designs by the names that the command knows
=================  ===================================================================================================
"""
