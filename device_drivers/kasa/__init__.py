"""TP-Link Kasa plugs and strips over their local protocol: TCP port 9999, no account, no cloud.

``codec`` turns requests into frames and back, ``transport`` exchanges one of each over a connection of its own,
``driver`` says what a target means in them. A plug carries one countdown rule, which is its own timer.
"""
