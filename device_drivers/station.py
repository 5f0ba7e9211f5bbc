"""All devices of one driver together, without input or output.

A device's `DeviceCore` says what it wants, the `Gateway` what the others leave to it; the ramp of the whole is last.
Each device is served by its own loop, which asks for an order, says `begin`, tells the device, says `done` or `fail`,
and hands in what it reads.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from device_drivers.core import DeviceCore, Order, Surroundings
from device_drivers.device import Reading
from device_drivers.errors import InvalidValueError
from device_drivers.failsafe import at_rest
from device_drivers.gateway import NOTHING, Gateway
from device_drivers.precedence import Rule, runs, span
from device_drivers.report import Report
from device_drivers.setpoint import Bounds, Command, Power, ProductionLimit, Target

log = logging.getLogger(__name__)


class Station:
    """The devices of one driver.

    Parameters
    ----------
    devices : mapping of str to DeviceCore
        By name.
    gateway : Gateway
        Over the same names.
    midnight_s : callable
        s until midnight where the devices stand, from an instant in UTC.
    """

    def __init__(
        self, devices: Mapping[str, DeviceCore], gateway: Gateway, midnight_s: Callable[[datetime], float]
    ) -> None:
        self._devices = dict(devices)
        self._gateway = gateway
        self._midnight_s = midnight_s

    def device(self, name: str) -> DeviceCore:
        """What is known of a device."""
        return self._devices[name]

    def around(self, name: str, now: float, utc: datetime) -> Surroundings:
        """What a device finds at an instant."""
        return Surroundings(
            now=now,
            utc=utc,
            # Only a guard that counts starts asks, and asking a calendar is dear.
            midnight_s=self._midnight_s(utc) if self._devices[name].rules.remembers else 0.0,
            room=self._gateway.room(name),
            blocked_by=self._gateway.blocked_by(name, now),
        )

    def receive(self, name: str, command: Command, now: float, utc: datetime) -> Report | None:
        """The refusal of a command that arrived now; None where it acts."""
        return self._devices[name].receive(command, self.around(name, now, utc))

    def limit(self, group: str, bounds: Bounds) -> tuple[str, ...]:
        """Bounds on the sum of a group; the devices that have to look at them, none where they are no news."""
        return self._gateway.members(group) if self._gateway.limit(group, bounds) else ()

    def order(self, name: str, now: float, utc: datetime) -> Order | None:
        """What a device is to be told now; None where it does what it should, has to wait, or has to be left alone."""
        order = self._devices[name].order(self.around(name, now, utc))
        return None if order is None else self._ramped(name, order, now)

    def begin(self, name: str, order: Order, now: float, utc: datetime) -> None:
        """A device is about to be told."""
        device = self._devices[name]
        befores = self._befores(name, now)
        device.begin(order, self.around(name, now, utc))
        after = span(order.target, device.rules.bounds)
        self._gateway.stepped(max(_apart(before, after) for before in befores), now)
        self._gateway.mean(name, after)
        self._gateway.allow_for(name, _both(self._gateway.possible(name), after))
        if runs(order.target):
            self._gateway.see(name, runs=True, now=now)

    def done(self, name: str, order: Order, now: float) -> None:
        """A device said yes."""
        self._devices[name].done(order, now)

    def fail(self, name: str, reason: str, now: float, utc: datetime) -> Report | None:
        """A device did not say yes: it counts at its worst case; what is to be said about it."""
        self._worst(name)
        return self._devices[name].fail(reason, self.around(name, now, utc))

    def miss(self, name: str, reason: str, now: float, utc: datetime) -> Report | None:
        """A device did not say what it does: it counts at its worst case; what is to be said about it."""
        self._worst(name)
        return self._devices[name].miss(reason, self.around(name, now, utc))

    def observe(self, name: str, reading: Reading, now: float, utc: datetime) -> Report | None:
        """A device says what it does; what is to be said about it."""
        device = self._devices[name]
        report = device.observe(reading, self.around(name, now, utc))
        rating = device.rules.bounds
        measured = _measured(reading, rating)
        # What was told and is not done yet is still possible; without having been told, what is read is what is meant.
        told = measured if device.target is None else span(device.target, rating)
        self._gateway.mean(name, told)
        self._gateway.allow_for(name, _both(told, measured))
        self._gateway.see(name, runs=device.on, now=now)
        return report

    def assume(self, name: str, now: float, utc: datetime) -> Report | None:
        """A device that cannot be read was told; what is to be said about it."""
        device = self._devices[name]
        report = device.assume(self.around(name, now, utc))
        if device.target is not None:
            does = span(device.target, device.rules.bounds)
            self._gateway.mean(name, does)
            self._gateway.allow_for(name, does)
            self._gateway.see(name, runs=device.on, now=now)
        return report

    def _worst(self, name: str) -> None:
        rating = span_of(self._devices[name].rules.bounds)
        self._gateway.mean(name, rating)
        self._gateway.allow_for(name, rating)

    def _ramped(self, name: str, order: Order, now: float) -> Order | None:
        """The order, as much of it as the ramp of the whole leaves, or None where that is nothing."""
        left_w = self._gateway.step(now)
        if left_w is None:
            return order
        rating = self._devices[name].rules.bounds
        befores = self._befores(name, now)
        after = span(order.target, rating)
        step_w = max(_apart(before, after) for before in befores)
        if step_w <= left_w:
            return order
        less = all(_inside(after, before) for before in befores)
        # A fall to the failsafe cannot wait: a device's own timer would not. It counts, so that the return waits.
        if less and order.decision.rule in {Rule.LIMIT, Rule.INTERLOCK, Rule.FAILSAFE}:
            log.warning(
                "%s: the ramp is exceeded by %d W: %s", name, step_w - left_w, order.decision.reason or "failsafe"
            )
            return order
        before, *others = befores
        rest, rules = at_rest(self._devices[name].failsafe), self._devices[name].rules
        if order.decision.rule is Rule.LIMIT and _inside(after, before):
            # Told more than the limit, or in its failsafe by its own timer: that nobody knows which is no reason to
            # wait. The failsafe is no rise from either, where it keeps the limit and is no switch that may not be.
            keeps = _inside(span(rest, rating), after) and (not rules.hard or runs(rest) is runs(order.target))
            log.warning("%s: the ramp may be exceeded by %d W: %s", name, step_w - left_w, order.decision.reason)
            return replace(order, target=rest, revert_after_s=None) if keeps else order
        target = None if others else _towards(before, order.target, left_w)
        if target is None or span(target, rating) == before:
            return None
        return replace(order, target=target)

    def _befores(self, name: str, now: float) -> tuple[Bounds, ...]:
        """From where a device may go on, for the ramp: a timer of its own that ends takes it away unasked."""
        device, meant = self._devices[name], self._gateway.meant(name)
        rest = span(at_rest(device.failsafe), device.rules.bounds)
        return (meant, rest) if device.may_have_reverted(now) and rest != meant else (meant,)


def check_ramp(names: Mapping[str, DeviceCore], ramp_w_per_10s: int | None) -> None:
    """Refuse a ramp that a device could never be switched under.

    Raises
    ------
    InvalidValueError
        If a device that is switched whole is larger than what the ramp leaves in its window.
    """
    if ramp_w_per_10s is None:
        return
    for name, device in names.items():
        rating = span_of(device.rules.bounds)
        size_w = _apart(NOTHING, rating)
        if device.switched_whole and size_w > ramp_w_per_10s:
            raise InvalidValueError(
                f"ramp_w_per_10s: got {ramp_w_per_10s} W, wanted at least the {size_w} W of {name!r}, switched whole"
            )


def span_of(rating: Bounds) -> Bounds:
    """All that a device of a rating may do; an end that is not known counts as 0, where nobody counts it."""
    return Bounds(lower_w=min(0, rating.lower_w or 0), upper_w=max(0, rating.upper_w or 0))


def _measured(reading: Reading, rating: Bounds) -> Bounds:
    if reading.power_w is None:
        return NOTHING if reading.relay_closed is False else span_of(rating)
    return Bounds(lower_w=min(0, reading.power_w), upper_w=max(0, reading.power_w))


def _both(one: Bounds, other: Bounds) -> Bounds:
    return Bounds(lower_w=min(one.lower_w or 0, other.lower_w or 0), upper_w=max(one.upper_w or 0, other.upper_w or 0))


def _inside(one: Bounds, other: Bounds) -> bool:
    return (one.lower_w or 0) >= (other.lower_w or 0) and (one.upper_w or 0) <= (other.upper_w or 0)


def _apart(one: Bounds, other: Bounds) -> int:
    """W by which the whole may change where a device goes from one span to another."""
    return abs((one.lower_w or 0) - (other.lower_w or 0)) + abs((one.upper_w or 0) - (other.upper_w or 0))


def _towards(before: Bounds, target: Target, step_w: int) -> Target | None:
    """The target that is at most so many W from where the device is; None where it is switched whole."""
    if step_w <= 0:
        return None
    match target:
        case Power(power_w=power_w):
            from_w = before.upper_w or before.lower_w or 0
            return Power(power_w=min(max(power_w, from_w - step_w), from_w + step_w))
        case ProductionLimit(limit_w=limit_w):
            from_w = -(before.lower_w or 0)
            return ProductionLimit(limit_w=min(max(limit_w, from_w - step_w), from_w + step_w))
        case _:
            return None
