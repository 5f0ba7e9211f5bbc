"""What a device will be doing at an instant: telemetry, and from there on what it was told, as far as that is done.

Telemetry counts before setpoints, wherever it says something. Where it says nothing, what was told counts as done: so
that a programme is not started twice, and a minimum time not broken, only because nobody reported the first start.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from controller.flexibility import Generator, Plant, Programme, Relay, Storage, Thermostat, Vehicle
from controller.microgrid import Device, DeviceSetpoint, DeviceState, SetpointKind, ThermalForecast

SECONDS_PER_HOUR = 3600
PPM = 1_000_000
MILLI = 1000
SWITCHED = (Relay, Programme, Thermostat, Generator)
"""Kinds that are on or off."""


def blank(device: str, instant: int) -> DeviceState:
    """The state of a device of which nothing is known."""
    return DeviceState(device=device, instant=instant, power_w=0, closed_s=0, stored_wh=None)


def corrected(expected: DeviceState, telemetry: DeviceState, device: Device) -> DeviceState:
    """Telemetry, completed where it says nothing by what was expected at its instant.

    A device that is on where it was told to be off, or the other way round, counts as switched at that instant.
    """
    silent = telemetry.closed is None and isinstance(device.flexibility, Programme)
    on = expected.on if silent else telemetry.on
    starts, held_s = expected.starts_today, expected.held_s
    if on != expected.on and isinstance(device.flexibility, SWITCHED):
        starts, held_s = (starts or 0) + on, 0
    counted = telemetry.closed is not None or telemetry.closed_s > 0
    return replace(
        telemetry,
        closed=expected.closed if silent else telemetry.closed,
        closed_s=telemetry.closed_s if counted else expected.closed_s,
        closed_before_s=expected.closed_before_s,
        stored_wh=expected.stored_wh if telemetry.stored_wh is None else telemetry.stored_wh,
        held_s=held_s if telemetry.held_s is None else telemetry.held_s,
        starts_today=starts if telemetry.starts_today is None else telemetry.starts_today,
        temperature_milli_c=expected.temperature_milli_c
        if telemetry.temperature_milli_c is None
        else telemetry.temperature_milli_c,
    )


def project(
    state: DeviceState,
    device: Device,
    setpoints: Sequence[DeviceSetpoint],
    start: int,
    mtu_seconds: int,
    *,
    midnights: Sequence[int] = (),
    thermal: ThermalForecast | None = None,
    thermal_start: int = 0,
) -> DeviceState:
    """The state of a device at ``start``, if it does until then what it was told.

    Parameters
    ----------
    state : at an earlier instant
    device : what it is
    setpoints : its own, in order of time; where there is none, it goes on as it is
    start : Unix seconds
    mtu_seconds : how long each setpoint holds
    midnights : instants at which a day begins, from which on starts are counted anew
    thermal, thermal_start : what surrounds a thermostat from an instant on, one value an MTU
    """
    for setpoint in setpoints:
        since = max(setpoint.mtu_start, state.instant)
        until = min(setpoint.mtu_start + mtu_seconds, start)
        if since < until:
            mtu = (setpoint.mtu_start - thermal_start) // mtu_seconds
            state = _obeying(_passed(state, device, since, midnights), device, setpoint, mtu_seconds)
            state = _stored_later(state, device, until - since, thermal or ThermalForecast(), mtu)
            state = _passed(state, device, until, midnights)
    return replace(_passed(state, device, start, midnights), instant=start)


def _passed(state: DeviceState, device: Device, until: int, midnights: Sequence[int]) -> DeviceState:
    """Time passes, and what is on or off stays so."""
    seconds = until - state.instant
    if seconds <= 0:
        return state
    relay = state.closed is True and isinstance(device.flexibility, Relay | Programme | Thermostat)
    return replace(
        state,
        instant=until,
        closed_s=state.closed_s + seconds * relay,
        held_s=None if state.held_s is None else state.held_s + seconds,
        starts_today=0 if any(state.instant < midnight <= until for midnight in midnights) else state.starts_today,
    )


def _obeying(state: DeviceState, device: Device, setpoint: DeviceSetpoint, mtu_seconds: int) -> DeviceState:
    """The device does from now on what it is told."""
    value = setpoint.value
    match device.flexibility, setpoint.kind:
        case ((Relay(rated_w=rated_w) | Thermostat(rated_w=rated_w)), SetpointKind.RELAY):
            return replace(_switched(state, on=bool(value)), power_w=rated_w * value)
        case Programme() as programme, SetpointKind.RELAY:
            profile = programme.profile_w
            power = profile[min(state.task_closed_s // mtu_seconds, len(profile) - 1)]
            return replace(_switched(state, on=bool(value)), power_w=power * value)
        case ((Generator() | Thermostat()), SetpointKind.POWER):
            return replace(_switched(state, on=value != 0), power_w=value)
        case ((Storage() | Vehicle()), SetpointKind.POWER):
            return replace(state, power_w=value)
        case _:
            return state


def _switched(state: DeviceState, *, on: bool) -> DeviceState:
    """On or off from now on; a change begins a new count of how long, and a start is counted."""
    if on == state.on:
        return replace(state, closed=on)
    return replace(state, closed=on, held_s=0, starts_today=(state.starts_today or 0) + on)


def _stored_later(state: DeviceState, device: Device, seconds: int, thermal: ThermalForecast, mtu: int) -> DeviceState:
    """What is stored after some seconds at the present power."""
    match device.flexibility:
        case Storage() | Vehicle() as store:
            known_wh = store.stored_wh if state.stored_wh is None else state.stored_wh
            return replace(state, stored_wh=stored_wh(store, known_wh, state.power_w, seconds))
        case Thermostat() as thermostat:
            known = thermostat.temperature_milli_c if state.temperature_milli_c is None else state.temperature_milli_c
            later = temperature_milli_c(
                thermostat, known, state.power_w, seconds, surroundings(thermostat, thermal, mtu)
            )
            return replace(state, temperature_milli_c=later)
        case Relay() | Plant() | Programme() | Generator():
            return state


def stored_wh(store: Storage | Vehicle, known_wh: int, power_w: int, seconds: int) -> int:
    """Wh in a battery after some seconds at a constant power, whole Wh, within its capacity."""
    scale = PPM * SECONDS_PER_HOUR
    if power_w >= 0:
        change = power_w * seconds * store.charge_efficiency_ppm // scale
    else:
        change = -(-power_w * seconds * PPM // (store.discharge_efficiency_ppm * SECONDS_PER_HOUR))
    lost = 0
    if isinstance(store, Storage) and store.self_discharge_ppm_per_hour:
        keep = (1.0 - store.self_discharge_ppm_per_hour / PPM) ** (seconds / SECONDS_PER_HOUR)
        lost = round(known_wh * (1.0 - keep))
    return min(max(known_wh + change - lost, 0), store.capacity_wh)


def surroundings(thermostat: Thermostat, thermal: ThermalForecast, mtu: int) -> tuple[int, int, int]:
    """Ambient temperature, heat drawn off and performance in an MTU: as forecast, else as registered.

    A forecast of the performance that has not the registered sign counts as none.
    """

    def of(series: Sequence[int], otherwise: int) -> int:
        return series[min(max(mtu, 0), len(series) - 1)] if series else otherwise

    performance = of(thermal.performance_ppm, thermostat.performance_ppm)
    return (
        of(thermal.ambient_milli_c, thermostat.ambient_milli_c),
        of(thermal.draw_w, 0),
        performance if performance * thermostat.performance_ppm > 0 else thermostat.performance_ppm,
    )


def temperature_milli_c(
    thermostat: Thermostat, known_milli_c: int, power_w: int, seconds: int, around: tuple[int, int, int]
) -> int:
    """The temperature after some seconds at a constant electric power.

    Parameters
    ----------
    thermostat : its heat capacity C and loss G
    known_milli_c, power_w, seconds : at first, and what happens
    around : as of ``surroundings``

    Returns
    -------
    int : by the solution of C dT/dt = heat - G (T - ambient)
    """
    ambient_milli_c, draw_w, performance_ppm = around
    heat_w = power_w * performance_ppm / PPM - draw_w
    hours, capacity = seconds / SECONDS_PER_HOUR, thermostat.heat_capacity_wh_per_k
    if thermostat.loss_milli_w_per_k == 0:
        return round(known_milli_c + MILLI * heat_w * hours / capacity)
    loss_w_per_k = thermostat.loss_milli_w_per_k / MILLI
    settled = ambient_milli_c + MILLI * heat_w / loss_w_per_k
    return round(settled + (known_milli_c - settled) * math.exp(-hours * loss_w_per_k / capacity))
