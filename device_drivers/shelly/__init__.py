"""Shelly devices of the second generation and later, over their RPC on HTTP.

``transport`` makes calls, ``driver`` says what a target means in them. Needs the extra ``shelly``. Written from the
public documentation, and checked against a stand-in written from it.
"""
