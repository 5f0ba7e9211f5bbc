"""Device models: what each may do, named after the S2 standard (EN 50491-12-2)."""

from optimization.devices.battery import Battery
from optimization.devices.curtailable import Curtailable
from optimization.devices.fixed import FixedExchange, FixedLoad
from optimization.devices.generator import Generator
from optimization.devices.interruptible import Interruptible
from optimization.devices.programme import Phase, Programme, Progress
from optimization.devices.thermostatic import Thermostatic
from optimization.devices.vehicle import ElectricVehicle, PowerRange

Device = FixedLoad | Curtailable | Generator | Battery | ElectricVehicle | Programme | Interruptible | Thermostatic

__all__ = [
    "Battery",
    "Curtailable",
    "Device",
    "ElectricVehicle",
    "FixedExchange",
    "FixedLoad",
    "Generator",
    "Interruptible",
    "Phase",
    "PowerRange",
    "Programme",
    "Progress",
    "Thermostatic",
]
