"""Charging stations over OCPP 1.6-J and 2.0.1: we are the side that manages them, and they connect to us.

``listener`` waits for stations and lets in those that are known, ``station`` keeps what one has said over all its
connections, ``session`` is one of these, ``v16`` and ``v201`` say what is said in either version, ``profile`` holds
what is common to both, ``metering`` reads meter values, ``connection`` says what a target means, ``driver`` reads the
URL. Needs the extra ``ocpp``.
"""
