"""The rest of a plan's horizon after some of its MTUs have passed, from what really happened in them.

What a device owes, has stored, how warm it is, how long it has been on or off, how far its programme has come: all
follow from the power that it really had. What was planned for the rest goes along, so that departing from it can cost.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from optimization.community import Community, Envelope, Peer, Tariff
from optimization.devices import (
    Battery,
    Curtailable,
    Device,
    ElectricVehicle,
    FixedLoad,
    Generator,
    Interruptible,
    Programme,
    Progress,
    Thermostatic,
)
from optimization.quantities import DeviceId, Floats, Horizon
from optimization.states import stored_kwh

ON_KW = 1e-6
"""More than this is on."""

ROUNDING_KWH = 1e-6
"""Energies that differ by less are the same."""

CHANGE_PRICE = 1e-3
"""Default currency per kWh by which a plan changes: a tenth of a cent, so that nothing moves for less."""


def roll(
    community: Community,
    executed_kw: Mapping[DeviceId, Floats],
    planned_kw: Mapping[DeviceId, Floats],
    *,
    change_price: float = CHANGE_PRICE,
) -> Community:
    """The community as it stands after some MTUs, with the horizon's end where it was.

    Parameters
    ----------
    community : as it was planned for
    executed_kw : (k,) kW that each device really had in the first k MTUs, k at least 1 and less than the horizon
    planned_kw : (T,) kW that the plan foresaw for each device
    change_price : currency per kWh by which the next plan may depart from this one

    Returns
    -------
    Community over the other MTUs. A stay, window or task that is over leaves a device with nothing to do.
    """
    passed = next(iter(executed_kw.values())).size
    horizon = community.horizon
    rest = Horizon(
        mtus=horizon.mtus - passed,
        mtu_minutes=horizon.mtu_minutes,
        day_starts=tuple(mtu - passed for mtu in horizon.day_starts if mtu > passed),
    )
    return replace(
        community,
        horizon=rest,
        links=tuple(
            replace(link, closed_mtus=frozenset(mtu - passed for mtu in link.closed_mtus if mtu >= passed))
            if link.closed_mtus
            else link
            for link in community.links
        ),
        tariff=Tariff(
            import_price=community.tariff.import_price[passed:], export_price=community.tariff.export_price[passed:]
        ),
        peers=tuple(
            Peer(
                id=peer.id,
                section=peer.section,
                devices=tuple(
                    advanced(device, executed_kw[device.id], horizon, planned_kw.get(device.id))
                    for device in peer.devices
                ),
            )
            for peer in community.peers
        ),
        envelopes=tuple(
            Envelope(
                name=envelope.name,
                peers=envelope.peers,
                lower_kw=envelope.lower_kw[passed:],
                upper_kw=envelope.upper_kw[passed:],
            )
            for envelope in community.envelopes
        ),
        planned_kw={device: power[passed:] for device, power in planned_kw.items()},
        change_price=change_price,
    )


def advanced(  # noqa: PLR0911 - one a kind
    device: Device, power: Floats, horizon: Horizon, planned: Floats | None = None
) -> Device:
    """A device after MTUs in which it had these (k,) kW of the (T,) kW that were planned for it, if any were."""
    passed = power.size
    match device:
        case FixedLoad():
            return replace(device, power_kw=device.power_kw[passed:])
        case Curtailable():
            return replace(device, available_kw=device.available_kw[passed:])
        case Generator():
            running, elapsed = _switching(power < -ON_KW, device.running, device.elapsed_mtus)
            return replace(device, running=running, elapsed_mtus=elapsed)
        case Battery():
            return replace(device, initial_kwh=_stored(device, power, horizon))
        case ElectricVehicle():
            return _vehicle(device, power, horizon)
        case Programme():
            return _programme(device, power, power if planned is None else np.append(power, planned[passed:]))
        case Interruptible():
            return _interruptible(device, power, horizon)
        case Thermostatic():
            running, elapsed = _switching(power > ON_KW, device.running, device.elapsed_mtus)
            return replace(
                device,
                performance=device.performance[passed:],
                ambient_c=device.ambient_c[passed:],
                draw_kw=device.draw_kw[passed:],
                lower_c=device.lower_c[passed:],
                upper_c=device.upper_c[passed:],
                initial_c=float(device.temperature_c(_padded(power, horizon), horizon)[passed - 1]),
                running=running,
                elapsed_mtus=elapsed,
            )


def _stored(device: Battery | ElectricVehicle, power: Floats, horizon: Horizon) -> float:
    """kWh that a store holds after these (k,) kW."""
    stored = float(stored_kwh(device, _padded(power, horizon), horizon)[power.size - 1])
    # One that is a rounding below its reserve would count as having begun below it, and need not keep it any more.
    if abs(stored - device.min_kwh) <= ROUNDING_KWH:
        return device.min_kwh
    return min(max(stored, 0.0), device.capacity_kwh)


def _padded(power: Floats, horizon: Horizon) -> Floats:
    return np.concatenate([power, np.zeros(horizon.mtus - power.size)])


def _switching(on: np.ndarray, running: bool, elapsed: int | None) -> tuple[bool, int | None]:
    """Whether it is on after these (k,) MTUs, and for how long it has been so."""
    now = bool(on[-1])
    changes = np.flatnonzero(on != now)
    if changes.size:
        return now, on.size - 1 - int(changes[-1])
    if now != running:
        return now, int(on.size)
    return now, None if elapsed is None else elapsed + int(on.size)


def _shifted(first: int, end: int, passed: int) -> tuple[int, int]:
    return max(0, first - passed), max(0, end - passed)


def _vehicle(device: ElectricVehicle, power: Floats, horizon: Horizon) -> ElectricVehicle:
    passed = power.size
    arrival, departure = _shifted(device.arrival_mtu, device.departure_mtu, passed)
    stored = _stored(device, power, horizon)
    return replace(
        device,
        arrival_mtu=arrival,
        departure_mtu=departure,
        initial_kwh=stored,
        # What a vehicle that has left lacks is past.
        required_kwh=device.required_kwh if departure else min(device.required_kwh, stored),
    )


def _interruptible(device: Interruptible, power: Floats, horizon: Horizon) -> Interruptible:
    passed = power.size
    on = power > ON_KW if device.power_kw else np.zeros(passed, dtype=bool)
    first, end = _shifted(device.first_mtu, device.end_mtu, passed)
    starts = on & ~np.concatenate([[device.running], on[:-1]])
    day = horizon.day
    today = day[passed] if passed < horizon.mtus else day[-1]
    made = int(starts[day[:passed] == today].sum())
    running, elapsed = _switching(on, device.running, device.elapsed_mtus)
    return replace(
        device,
        first_mtu=first,
        end_mtu=end,
        required_mtus=max(0, device.required_mtus - int(on.sum())) if end else 0,
        starts_today=made + (device.starts_today if today == day[0] else 0),
        running=running,
        elapsed_mtus=elapsed,
    )


def _programme(device: Programme, power: Floats, foreseen: Floats) -> Programme:
    """Its progress, read from its power; a begin that draws nothing yet shows in what is foreseen to follow."""
    passed = power.size
    first, end = _shifted(device.first_mtu, device.end_mtu, passed)
    if device.progress is not None:
        phase, at = device.progress.phase, -device.progress.elapsed_mtus - device.progress.paused_mtus
    else:
        phase, at = 0, _begin(device, 0, foreseen, 0)
        if not 0 <= at < passed:
            return replace(device, first_mtu=first, end_mtu=end)
    progress = _progress(device, foreseen, passed=passed, phase=phase, at=at)
    return replace(device, first_mtu=first, end_mtu=end, progress=progress)


def _begin(device: Programme, phase: int, power: Floats, after: int) -> int:
    """The MTU in which a phase began, at or after one; -1 where it has not."""
    profile = device.phases[phase].power_kw
    drawing = np.flatnonzero(profile > ON_KW)
    lead = int(drawing[0]) if drawing.size else 0
    seen = np.flatnonzero(power[after:] > ON_KW)
    return max(after, after + int(seen[0]) - lead) if seen.size else -1


def _progress(device: Programme, power: Floats, *, passed: int, phase: int, at: int) -> Progress:
    """Where a programme stands when MTUs have passed, of which a phase began at one, or before them."""
    while True:
        length = device.phases[phase].mtus
        end = at + length
        if end > passed:
            return Progress(phase=phase, elapsed_mtus=passed - at)
        following = -1 if phase + 1 == len(device.phases) else _begin(device, phase + 1, power, max(0, end))
        if not 0 <= following < passed:
            return Progress(phase=phase, elapsed_mtus=length, paused_mtus=passed - end)
        phase, at = phase + 1, following
