"""What is done: setpoints become what a device does, for as long as their lease lasts and no longer.

``setpoint`` holds the values; ``lease`` decides whether a command is fresh, ``guard`` whether the hardware
may do it, both with the ``refusal`` that says why not. ``runtime`` joins them for one device, without input
or output: it applies the setpoint that holds now, reads the device back, and falls to the failsafe when the
lease or the schedule ends. ``device`` is what a protocol implements, ``simulated`` the devices that need no
hardware. ``client`` carries all of it over the API to the controller, with ``backoff`` between two attempts;
``clock`` is the time that they all go by.
"""
