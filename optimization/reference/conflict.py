"""Why envelopes and devices conflict, as far as single MTUs show it."""

from typing import assert_never

import numpy as np

from optimization.community import (
    Battery,
    Community,
    Curtailable,
    Device,
    ElectricVehicle,
    Envelope,
    FixedLoad,
    Floats,
    Generator,
    Horizon,
    Interruptible,
    Programme,
    Thermostatic,
)
from optimization.reference.devices.switching import carried_in

NAMED = 5
ONLY_TOGETHER = "the envelopes cannot be kept over the whole horizon, though in each MTU alone they could"
"""What is said where single MTUs do not show the conflict."""


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


def bounds_kw(community: Community, envelope: Envelope) -> tuple[Floats, Floats]:
    """(T,) and (T,) kW that the peers of an envelope consume at least and at most, each MTU by itself."""
    least, most = np.zeros(community.horizon.mtus), np.zeros(community.horizon.mtus)
    for peer, device in community.devices():
        if peer.id in envelope.peers:
            low, high = least_and_most_kw(device, community.horizon)
            least, most = least + low, most + high
    return least, most


def conflict(community: Community) -> str:
    """The MTUs in which even the least possible consumption breaks an upper bound, or the most a lower one."""
    conflicts = []
    for envelope in community.envelopes:
        low, high = bounds_kw(community, envelope)
        for t in np.flatnonzero(low > envelope.upper_kw):
            conflicts.append(f"{envelope.name} MTU {t}: at least {low[t]:.3f} kW, allowed {envelope.upper_kw[t]:.3f}")
        for t in np.flatnonzero(high < envelope.lower_kw):
            conflicts.append(f"{envelope.name} MTU {t}: at most {high[t]:.3f} kW, wanted {envelope.lower_kw[t]:.3f}")
    if conflicts:
        more = len(conflicts) - NAMED
        return "; ".join(conflicts[:NAMED]) + (f"; and {more} more" if more > 0 else "")
    return ONLY_TOGETHER
