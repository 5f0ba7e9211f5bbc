"""What an owner wants of a device instead of the plan: what it means, whether it is possible, and what it costs. Pure.

``RUN_NOW`` does what the device still owes, from now on: an appliance its hours, a cycle its phases, a vehicle charges
until it is full, a thermostat runs until it is at the end of its comfort, a generator runs for its least time or as
long as is said. ``NOT_TODAY`` and ``PAUSE`` keep it off until midnight or an instant; a battery holds what it has.

What the device's own rules forbid is refused, with the instant from which on it is possible.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import assert_never

from contracts.books import round_half_even
from controller.flexibility import Flexibility, Generator, Plant, Programme, Relay, Storage, Thermostat, Vehicle
from controller.microgrid import DeviceState, SetpointKind, TariffPeriod, ThermalForecast
from controller.programmes import finished, progress
from controller.projecting import surroundings, temperature_milli_c
from controller.wishes import Cost, Mode, Step

PPM = 1_000_000
HOUR_S = 3600
DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Forbidden:
    """The device's own rules do not allow it.

    Attributes
    ----------
    reason : why, with the numbers
    possible_at : Unix seconds from which on it is possible; None where that cannot be told
    """

    reason: str
    possible_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What an owner wants, and when.

    Attributes
    ----------
    mode : what
    now : Unix seconds
    until : when it ends; of RUN_NOW None for when the device is done
    midnight : when the next day of the microgrid's zone begins
    mtu_s : length of a market time unit
    waits_for : the device after whose cycle this one runs, where that is not over; None for none
    """

    mode: Mode
    now: int
    until: int | None
    midnight: int
    mtu_s: int
    waits_for: str | None = None


def decide(flexibility: Flexibility, state: DeviceState, wish: Wish) -> tuple[Step, ...] | Forbidden:
    """What a device does under a wish, in order of time; or why it cannot."""
    match wish.mode:
        case Mode.RUN_NOW:
            return _run(flexibility, state, wish)
        case Mode.NOT_TODAY | Mode.PAUSE:
            return _rest(flexibility, state, wish)
        case _ as never:
            assert_never(never)


def interruption(flexibility: Flexibility, state: DeviceState, *, now: int, until: int, mtu_s: int) -> Forbidden | None:
    """Why a device cannot be switched off from now until an instant; None where it can."""
    match flexibility:
        case Relay(min_on_s=least) | Thermostat(min_on_s=least) | Generator(min_up_s=least):
            return _too_soon("on", state, least, now) if state.on else None
        case Programme() as programme:
            return _uninterruptible(programme, state, now=now, until=until, mtu_s=mtu_s)
        case Storage() | Plant() | Vehicle():
            return None
        case _ as never:
            assert_never(never)


def _rest(flexibility: Flexibility, state: DeviceState, wish: Wish) -> tuple[Step, ...] | Forbidden:
    until = wish.midnight if wish.until is None else wish.until
    forbidden = interruption(flexibility, state, now=wish.now, until=until, mtu_s=wish.mtu_s)
    return forbidden or (Step(start=wish.now, end=until, kind=_kind(flexibility), value=0, power_w=0),)


def _kind(flexibility: Flexibility) -> SetpointKind:
    match flexibility:
        case Relay() | Programme() | Thermostat(modulating=False):
            return SetpointKind.RELAY
        case Plant():
            return SetpointKind.PRODUCTION_LIMIT
        case Storage() | Vehicle() | Generator() | Thermostat():
            return SetpointKind.POWER
        case _ as never:
            assert_never(never)


def _uninterruptible(programme: Programme, state: DeviceState, *, now: int, until: int, mtu_s: int) -> Forbidden | None:
    """Why a cycle cannot rest now: it is in a phase, or its pause would become too long."""
    known = progress(programme, state, mtu_s)
    if known is None or finished(programme, known):
        return None
    phase = programme.phases[known.phase]
    left_s = (len(phase.power_w) - known.elapsed_mtus) * mtu_s
    number = f"phase {known.phase + 1} of {len(programme.phases)}"
    if state.closed or left_s > 0:
        ends = now + max(left_s, 0)
        return Forbidden(reason=f"{number} is not to be interrupted; it ends at {iso(ends)}", possible_at=ends)
    most_s = programme.phases[known.phase + 1].max_pause_s
    latest = now - (state.held_s or 0) + most_s
    if until > latest:
        return Forbidden(reason=f"the pause after {number} lasts at most {most_s} s, until {iso(latest)}")
    return None


def _too_soon(word: str, state: DeviceState, least_s: int, now: int) -> Forbidden | None:
    """Why a device cannot be switched: it was only just."""
    if state.held_s is None or state.held_s >= least_s:
        return None
    possible = now + least_s - state.held_s
    return Forbidden(
        reason=f"it has been {word} for {state.held_s} s, and is so for at least {least_s} s: until {iso(possible)}",
        possible_at=possible,
    )


def _run(flexibility: Flexibility, state: DeviceState, wish: Wish) -> tuple[Step, ...] | Forbidden:
    match flexibility:
        case Relay() as relay:
            return _run_relay(relay, state, wish)
        case Programme() as programme:
            return _run_programme(programme, state, wish)
        case Vehicle() as vehicle:
            return _run_vehicle(vehicle, state, wish)
        case Thermostat() as thermostat:
            return _run_thermostat(thermostat, state, wish)
        case Generator() as generator:
            return _run_generator(generator, state, wish)
        case Storage() | Plant():
            return Forbidden(reason="a battery or a plant has nothing to run; PAUSE holds or curtails it")
        case _ as never:
            assert_never(never)


def _one(start: int, end: int, kind: SetpointKind, value: int, power_w: int) -> tuple[Step, ...]:
    return (Step(start=start, end=end, kind=kind, value=value, power_w=power_w),)


def _outside(start: int, end: int, now: int) -> Forbidden | None:
    """Why nothing runs now: its time has not come, or is over."""
    if now < start:
        return Forbidden(reason=f"its time begins at {iso(start)}", possible_at=start)
    if now >= end:
        return Forbidden(reason=f"its time ended at {iso(end)}")
    return None


def _run_relay(relay: Relay, state: DeviceState, wish: Wish) -> tuple[Step, ...] | Forbidden:
    owed_s = relay.required_s - state.task_closed_s
    if owed_s <= 0:
        return Forbidden(reason=f"it has run for {state.task_closed_s} s of the {relay.required_s} s that it has to")
    most = relay.max_starts_per_day
    if not state.on and most is not None and (state.starts_today or 0) >= most:
        return Forbidden(
            reason=f"it was started {state.starts_today} times today, of {most}", possible_at=wish.midnight
        )
    forbidden = _outside(relay.start, relay.end, wish.now)
    if forbidden is None and not state.on:
        forbidden = _too_soon("off", state, relay.min_off_s, wish.now)
    if forbidden is not None:
        return forbidden
    end = _ceil(wish.now + owed_s, wish.mtu_s)
    if wish.until is not None:
        end = min(end, wish.until)
    least = wish.now + max(0, relay.min_on_s - (state.held_s or 0) * state.on)
    return _one(wish.now, max(min(end, relay.end), least), SetpointKind.RELAY, 1, relay.rated_w)


def _run_programme(programme: Programme, state: DeviceState, wish: Wish) -> tuple[Step, ...] | Forbidden:
    known = progress(programme, state, wish.mtu_s)
    if known is None and wish.waits_for is not None:
        return Forbidden(reason=f"it runs after {wish.waits_for}, which has not ended")
    if known is not None and finished(programme, known):
        return Forbidden(reason="it has run")
    if known is None and (outside := _outside(programme.start, programme.end, wish.now)) is not None:
        return outside
    first, done = (0, 0) if known is None else (known.phase, known.elapsed_mtus)
    steps: list[Step] = []
    at = wish.now
    for number in range(first, len(programme.phases)):
        phase = programme.phases[number]
        if number > first:
            paused_s = (
                known.paused_mtus * wish.mtu_s if known is not None and number == first + 1 and steps == [] else 0
            )
            pause_s = max(0, phase.min_pause_s - paused_s)
            if pause_s:
                steps += _one(at, at + pause_s, SetpointKind.RELAY, 0, 0)
                at += pause_s
        for power_w in phase.power_w[done if number == first else 0 :]:
            steps += _one(at, at + wish.mtu_s, SetpointKind.RELAY, 1, power_w)
            at += wish.mtu_s
    if known is None and at > programme.end:
        latest = programme.end - (at - wish.now)
        return Forbidden(reason=f"it takes {at - wish.now} s, and had to begin by {iso(latest)} to end in its time")
    return tuple(steps)


def _run_vehicle(vehicle: Vehicle, state: DeviceState, wish: Wish) -> tuple[Step, ...] | Forbidden:
    stored_wh = vehicle.stored_wh if state.stored_wh is None else state.stored_wh
    if (outside := _outside(vehicle.arrival, vehicle.departure, wish.now)) is not None:
        return outside
    if stored_wh >= vehicle.capacity_wh:
        return Forbidden(reason=f"it is full: it holds {stored_wh} Wh of {vehicle.capacity_wh} Wh")
    power_w = vehicle.levels[-1].upper_w
    needed_s = (vehicle.capacity_wh - stored_wh) * HOUR_S * PPM // (vehicle.charge_efficiency_ppm * power_w)
    end = min(wish.now + max(needed_s, 1), vehicle.departure)
    if wish.until is not None:
        end = min(end, wish.until)
    return _one(wish.now, end, SetpointKind.POWER, power_w, power_w)


def _run_generator(generator: Generator, state: DeviceState, wish: Wish) -> tuple[Step, ...] | Forbidden:
    resting = None if state.on else _too_soon("off", state, generator.min_down_s, wish.now)
    least = wish.now + max(generator.min_up_s, wish.mtu_s)
    end = least if wish.until is None else max(least, wish.until)
    return resting or _one(wish.now, end, SetpointKind.POWER, -generator.max_w, -generator.max_w)


def _run_thermostat(thermostat: Thermostat, state: DeviceState, wish: Wish) -> tuple[Step, ...] | Forbidden:
    heats = thermostat.performance_ppm > 0
    edge = thermostat.upper_milli_c if heats else thermostat.lower_milli_c
    known = thermostat.temperature_milli_c if state.temperature_milli_c is None else state.temperature_milli_c
    if (known >= edge) if heats else (known <= edge):
        return Forbidden(reason=f"it is at {known} m°C, and its comfort ends at {edge} m°C")
    resting = None if state.on else _too_soon("off", state, thermostat.min_off_s, wish.now)
    if resting is not None:
        return resting
    latest = wish.now + DAY_S if wish.until is None else wish.until
    end, reached = wish.now, known
    around = surroundings(thermostat, ThermalForecast(), 0)
    while end < latest and ((reached < edge) if heats else (reached > edge)):
        reached = temperature_milli_c(thermostat, reached, thermostat.rated_w, wish.mtu_s, around)
        end += wish.mtu_s
    end = max(min(end, latest), wish.now + max(0, thermostat.min_on_s - (state.held_s or 0) * state.on))
    value = thermostat.rated_w if thermostat.modulating else 1
    return _one(wish.now, end, _kind(thermostat), value, thermostat.rated_w)


def _ceil(instant: int, mtu_s: int) -> int:
    return -(-instant // mtu_s) * mtu_s


def iso(instant: int) -> str:
    """An instant as people read it."""
    return f"{datetime.fromtimestamp(instant, UTC):%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What the plan has for one MTU.

    Attributes
    ----------
    start : of the MTU, Unix seconds
    power_w : of the device, consumption positive
    net_w : of its member, all in all
    decided : whether its window is decided: what differs is the member's imbalance
    prices : the tariff
    """

    start: int
    power_w: int
    net_w: int
    decided: bool
    prices: TariffPeriod


def cost_of(mode: Mode, steps: Sequence[Step], plan: Sequence[Foreseen], *, now: int, mtu_s: int) -> Cost:
    """What an override is expected to cost, at the tariff.

    In each MTU that the plan reaches, from now on, D is what the device then takes more than planned. Where the window
    is decided the member has traded for the plan, so that D is imbalance: what is too much is paid at the import price,
    what is too little is sold at the export price. Elsewhere the member's net energy N becomes N + D, and the cost is
    t(N + D) - t(N), with t(E) = import price times E where E is bought, export price times E where it is fed in.
    A device that runs now does not run as planned later; one that rests goes on as planned afterwards.

    Each product is exact, in W s times micro-currency/kWh; the sum is divided once, halves to even.
    """
    ends = max(step.end for step in steps)
    cost = energy = deferred = 0
    for mtu in plan:
        start, end = max(mtu.start, now), mtu.start + mtu_s
        if end <= start:
            continue
        own = sum(step.power_w * max(0, min(step.end, end) - max(step.start, start)) for step in steps)
        planned_s = end - start if mode is Mode.RUN_NOW else max(0, min(ends, end) - start)
        planned = mtu.power_w * planned_s
        more = own - planned
        energy += more
        deferred += max(0, planned) if mode is not Mode.RUN_NOW else 0
        net = 0 if mtu.decided else mtu.net_w * (end - start)
        cost += _at_tariff(net + more, mtu.prices) - _at_tariff(net, mtu.prices)
    return Cost(
        cost_micro=round_half_even(cost, HOUR_S * 1000),
        energy_wh=round_half_even(energy, HOUR_S),
        deferred_wh=round_half_even(deferred, HOUR_S),
    )


def _at_tariff(energy: int, prices: TariffPeriod) -> int:
    bought = energy >= 0
    return energy * (prices.import_price_micro_per_kwh if bought else prices.export_price_micro_per_kwh)
