"""What devices consume at least and at most, each MTU by itself."""

from typing import assert_never

import numpy as np

from optimization.community import (
    Battery,
    Curtailable,
    Device,
    ElectricVehicle,
    FixedLoad,
    Floats,
    Generator,
    Horizon,
    Interruptible,
    Programme,
    Thermostatic,
)
from optimization.devices.carried_in import carried_in


def least_and_most_kw(device: Device, horizon: Horizon) -> tuple[Floats, Floats]:
    """(T,) and (T,) kW: no schedule of the device consumes less than the first or more than the second in any MTU."""
    least, most = np.zeros(horizon.mtus), np.zeros(horizon.mtus)
    match device:
        case FixedLoad():
            return device.power_kw, device.power_kw
        case Curtailable():
            return -device.available_kw, most
        case Battery():
            return least - device.max_discharge_kw, most + device.max_charge_kw
        case ElectricVehicle():
            least[device.arrival_mtu : device.departure_mtu] = -device.max_discharge_kw
            most[device.arrival_mtu : device.departure_mtu] = device.max_charge_kw
        case Generator():
            forced = carried_in(
                running=device.running,
                elapsed=device.elapsed_mtus,
                least_on=device.min_up_mtus,
                least_off=device.min_down_mtus,
            )
            least[forced["stays_off"] :] = -device.max_kw
            most[: forced["stays_on"]] = -device.min_kw
        case Programme():
            _bound_programme(device, least, most)
        case Interruptible():
            most[device.first_mtu : device.end_mtu] = device.power_kw
            most[: device.resting_mtus] = 0.0
            least[: device.forced_mtus] = most[: device.forced_mtus] = device.power_kw
        case Thermostatic():
            forced = carried_in(
                running=device.running,
                elapsed=device.elapsed_mtus,
                least_on=device.min_on_mtus,
                least_off=device.min_off_mtus,
            )
            least[: forced["stays_on"]] = device.min_kw if device.modulating else device.rated_kw
            most[forced["stays_off"] :] = device.rated_kw
        case _:
            assert_never(device)
    return least, most


def _bound_programme(device: Programme, least: Floats, most: Floats) -> None:
    """The running phase is known; any other phase's MTU may fall on any MTU that is left."""
    progress = device.progress
    if progress is None:
        most[device.first_mtu : device.end_mtu] = max(float(phase.power_kw.max()) for phase in device.phases)
        return
    rest = device.phases[progress.phase].power_kw[progress.elapsed_mtus :][: most.size]
    least[: rest.size] = most[: rest.size] = rest
    later = device.phases[progress.phase + 1 :]
    most[rest.size :] = max((float(phase.power_kw.max()) for phase in later), default=0.0)
