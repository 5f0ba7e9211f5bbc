"""The order in which devices are written down."""

from collections.abc import Sequence

from optimization.community import Device, Programme


def in_order(devices: Sequence[Device]) -> list[Device]:
    """The devices, each programme after the one that it follows."""
    ordered: list[Device] = []
    left = list(devices)
    while left:
        waiting = {device.id for device in left}
        ready = [device for device in left if not (isinstance(device, Programme) and device.follows in waiting)]
        ordered += ready
        left = [device for device in left if device not in ready]
    return ordered
