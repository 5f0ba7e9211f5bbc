"""Peer-to-peer clearing by consensus ADMM: the peers' exact steps, their exchange, and agents that send messages.

``optimization.admm.clear`` runs it in one process, ``coordinator`` and ``agents`` as messages over one mathematics.

===============  =====================================================================================================
``options``      how rounds go and when they end
``network``      a market as slots on which two agents must agree
``opening``      where rounds begin: penalties and first targets
``peer_step``    a peer's exact answer in a round
``store_step``   a store's
``rounds``       one round: all answer, all exchange, the targets move
``iteration``    the loop over rounds: when it ends, how penalties follow
``mixing``       Anderson mixing, which accelerates it
``chunks``       how the passes over all slots share work among threads
``recovery``     the feasible answer nearest to the last proposals
``settling``     the trades that every peer can live with, and the cheapest way in which each then does
``bound``        how far an answer can at most be from the best
``result``       what rounds came to: the clearing next to the last proposals, and its gap
``messages``     what a coordinator and its peers say to each other
``agents``       a peer that answers from its own view
``coordinator``  the rounds by messages, without those that do not answer
``in_process``   both sides in one process, with messages that may be lost
===============  =====================================================================================================
"""
