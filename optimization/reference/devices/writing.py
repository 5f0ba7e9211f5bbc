"""One way in for all kinds of devices."""

from typing import Any, assert_never

from optimization.community import (
    Battery,
    Curtailable,
    Device,
    ElectricVehicle,
    FixedLoad,
    Generator,
    Interruptible,
    Programme,
    Thermostatic,
)
from optimization.reference.devices.generator import write_generator
from optimization.reference.devices.interruptible import write_interruptible
from optimization.reference.devices.production import write_curtailable, write_fixed_load
from optimization.reference.devices.programme import write_programme
from optimization.reference.devices.storage import write_battery, write_vehicle
from optimization.reference.devices.thermostatic import write_thermostatic
from optimization.reference.devices.written import Setting, Written


def write_device(block: Any, device: Device, setting: Setting) -> Written:
    """A device's lines, written into an empty pyomo block of its own."""
    match device:
        case FixedLoad():
            written = write_fixed_load(device)
        case Curtailable():
            written = write_curtailable(block, device, setting)
        case Generator():
            written = write_generator(block, device, setting)
        case Battery():
            written = write_battery(block, device, setting)
        case ElectricVehicle():
            written = write_vehicle(block, device, setting)
        case Programme():
            written = write_programme(block, device, setting)
        case Interruptible():
            written = write_interruptible(block, device, setting)
        case Thermostatic():
            written = write_thermostatic(block, device, setting)
        case _:
            assert_never(device)
    return written
