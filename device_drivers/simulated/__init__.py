"""Devices without hardware, with the faults of ``fault`` on demand: ``relay``, ``cycle``, ``thermostat``, ``battery``
(a vehicle too), ``plant``, ``generator``.

Between two calls nothing changes but time, which may be that of ``clock``. Each integrates its physics
exactly, in floats, over the time that passed; integers appear only in readings. What they share is in
``device``.
"""
