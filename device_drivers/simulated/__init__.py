"""Devices without hardware: ``relay``, ``battery`` and ``plant``, with the faults of ``fault`` on demand.

Between two calls nothing changes but time, which may be that of ``clock``. Each integrates its physics
exactly, in floats, over the time that passed; integers appear only in readings. What they share is in
``device``.
"""
