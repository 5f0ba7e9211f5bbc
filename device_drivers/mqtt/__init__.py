"""Devices behind an MQTT broker: Tasmota's topics, and those of a template that is data.

``session`` is the connection to the broker, ``tasmota`` and ``template`` say what a target means in messages,
``reading_template`` reads the latter from TOML, ``driver`` opens either. Needs the extra ``mqtt``.
"""
