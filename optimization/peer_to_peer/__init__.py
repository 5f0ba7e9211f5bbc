"""Peer-to-peer clearing by consensus ADMM: the peers' exact steps, their exchange, and agents that send messages.

``optimization.admm.clear`` runs it in one process, ``coordinator`` and ``agents`` as messages over one mathematics.
"""
