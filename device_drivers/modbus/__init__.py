"""Modbus over TCP: relays, powers and limits behind register maps that are data, and SunSpec inverters.

``field`` is one value in registers, ``register_map`` what a device's registers mean, ``reading_map`` reads it from TOML
(``maps/`` holds those that are shipped), ``sunspec`` finds it in the device itself. ``transport`` reads and writes
registers, ``driver`` says what a target means in them. Needs the extra ``modbus``.
"""
