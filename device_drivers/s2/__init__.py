"""Devices behind resource managers that speak S2 (EN 50491-12-2), as JSON over WebSocket.

The driver is the customer energy manager (CEM) of the standard, a resource manager (RM) the device's side. ``wire``
makes messages of text, ``session`` is one connection to a manager, ``line`` how there comes to be one (they dial us, or
we them). What a target means is said by control type: ``machine`` holds operation modes and what leads from one to
another, for ``modes`` (OMBC and FRBC), ``envelope`` is PEBC, ``programme`` PPBC. ``driver`` puts them together. Needs
the extra ``s2``.
"""
