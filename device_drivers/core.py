"""One device without input or output: what it shall do now, and what is said about it.

Whoever serves the device asks for an `Order`, says `begin` before the device is told and `done` or `fail` after, and
hands every reading to `observe`. Time, rooms and interlocks are arguments, so that it can be tested under any clock.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from device_drivers.connection import Timer
from device_drivers.device import Reading, obeys
from device_drivers.failsafe import Failsafe, at_rest, fitted, holds_until
from device_drivers.guard import GuardRules, check
from device_drivers.lease import LeaseFence
from device_drivers.precedence import (
    PRECEDENCE,
    PRECEDENCE_HARD,
    Decision,
    Hold,
    Rule,
    Situation,
    decide,
    runs,
    span,
)
from device_drivers.refusal import Refused
from device_drivers.report import ON_THE_WAY, Report, ReportState
from device_drivers.setpoint import Bounds, Command, Power, RelayState, Setpoint, Target
from device_drivers.switching import Memory, Switching

FREE = Bounds(lower_w=None, upper_w=None)
STEP_S = 1.0
"""s between two steps of a ramp."""
REARM_SHARE = 0.75
"""A device's timer is armed anew when less than this share of what it could be armed to is left."""
LOST_AFTER = 3
"""Readings that fail one after the other until a device counts as lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What others leave to a device at an instant.

    Attributes
    ----------
    now : float
        s on the driver's clock.
    utc : datetime
        The time of day.
    midnight_s : float
        s until midnight where the device stands.
    room : Bounds
        W under the limits of its groups.
    blocked_by : str or None
        The device of an interlock that runs or may run.
    """

    now: float
    utc: datetime
    midnight_s: float
    room: Bounds = FREE
    blocked_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the device is to be told.

    Attributes
    ----------
    target : Target
        What.
    revert_after_s : float or None
        For `Connection.apply`.
    decision : Decision
        Where it comes from; a ramp may be on the way to its target.
    """

    target: Target
    revert_after_s: float | None
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lease:
    command_id: str
    expires_at: float
    setpoints: tuple[Setpoint, ...]
    curtailed: bool


class DeviceCore:
    """A device that follows fresh setpoints as far as its guard, its failsafe and others let it.

    Parameters
    ----------
    rules : GuardRules
        What its hardware may do.
    failsafe : Failsafe
        What it does when nobody tells it anything.
    switching : Switching
        When it was switched.
    timer : Timer or None
        Its own.

    Attributes
    ----------
    takes : frozenset of type or None
        The kinds of target that the device takes; None until that is known.
    lost : str or None
        Why nobody can say what it does; None where it answers.

    Raises
    ------
    InvalidValueError
        If the failsafe breaks the bounds.
    """

    def __init__(self, *, rules: GuardRules, failsafe: Failsafe, switching: Switching, timer: Timer | None) -> None:
        self.rules = rules
        self.failsafe = fitted(failsafe, rules.bounds)
        self.timer = timer
        self.takes: frozenset[type] | None = None
        self._switching = switching
        self._precedence = PRECEDENCE_HARD if rules.hard else PRECEDENCE
        self._fence = LeaseFence()
        self._lease: _Lease | None = None
        self._standing: str | None = None
        self._said: tuple[ReportState, str] | None = None
        self._told: Target | None = None
        self._told_before: Target | None = None
        self._told_at = 0.0
        self._stepped_at: float | None = None
        self._reverts_at: float | None = None
        self._may_revert_at: float | None = None
        self._reading: Reading | None = None
        self._missed = 0
        self._saved: Memory | None = None
        self._decision: Decision | None = None
        self.lost: str | None = "not read yet"

    # What is known.

    @property
    def failsafe_active(self) -> bool:
        """Whether no setpoint decides what the device does."""
        return self._decision is None or self._decision.rule is Rule.FAILSAFE

    @property
    def leased_until(self) -> float | None:
        """s at which the running lease ends; None where none runs."""
        return None if self._lease is None else self._lease.expires_at

    @property
    def target(self) -> Target | None:
        """What the device was told last and said yes to; None where that is not known."""
        return self._told

    @property
    def switched_whole(self) -> bool:
        """Whether it is on or off, and nothing between."""
        return isinstance(at_rest(self.failsafe), RelayState)

    @property
    def on(self) -> bool | None:
        """Whether it is on, as far as anybody knows."""
        return self._switching.on

    def unsaved(self) -> Memory | None:
        """What has to outlive the driver and is not on disk; None where there is nothing new."""
        memory = self._switching.memory() if self.rules.remembers else None
        return None if memory == self._saved else memory

    def saved(self, memory: Memory) -> None:
        """This much is on disk."""
        self._saved = memory

    def fresh_reading(self, now: float) -> Reading | None:
        """What the device said last, unless it has not answered since; the guard knows how long it has been so."""
        if self._reading is None or self.lost is not None or self._missed:
            return None
        if self._reading.held_s is not None or self._switching.on is None:
            return self._reading
        return replace(self._reading, held_s=int(max(0.0, now - self._switching.since)))

    # What the controller says.

    def heartbeat(self, now: float) -> int:
        """Counter of a heartbeat that is sent now."""
        return self._fence.heartbeat(now)

    def observe_epoch(self, epoch: int) -> None:
        """Refuse commands of earlier epochs from now on."""
        self._fence.observe_epoch(epoch)

    def receive(self, command: Command, around: Surroundings) -> Report | None:
        """The refusal of a command that arrived now; None where it acts from now on, and is reported on later.

        One that is refused changes nothing of the running lease. It is refused where it is not fresh, breaks the
        bounds, or where the guard forbids what it wants now; the reason then holds the earliest instant.
        """
        granted = self._fence.accept(command, around.now)
        if isinstance(granted, Refused):
            return self._refusal(command, granted.reason, around)
        guarded: list[Setpoint] = []
        for setpoint in command.setpoints:
            if self.takes is not None and type(setpoint.target) not in self.takes:
                kinds = ", ".join(sorted(one.__name__ for one in self.takes))
                return self._refusal(command, f"target: got {setpoint.target}, wanted one of {kinds}", around)
            checked = check(setpoint.target, self.rules.bounds)
            if isinstance(checked, Refused):
                return self._refusal(command, checked.reason, around)
            guarded.append(replace(setpoint, target=checked.target))
        lease = _Lease(
            command_id=command.command_id,
            expires_at=granted.expires_at,
            setpoints=tuple(guarded),
            curtailed=command.curtailed,
        )
        wanted = _holding(lease, around)
        if wanted is not None:
            reason = self._forbidden(wanted, around, limited=command.curtailed)
            if reason is not None:
                return self._refusal(command, reason, around)
        self._lease, self._standing, self._said = lease, command.command_id, None
        self._decision = None  # what was decided before says nothing about this command
        return None

    def release(self) -> None:
        """End the lease now: nobody will serve the device after this."""
        self._lease = None

    # What the device is to be told.

    def order(self, around: Surroundings) -> Order | None:
        """What the device is to be told now; None where it does what it should, or has to be left alone."""
        decision = self._decide(around)
        target = self._ramped(decision, around.now)
        reverts_at = self._reverting_at(decision, around)
        if self._decision is None or self._decision.rule is not decision.rule:
            self._said = None
        self._decision = decision
        if self._in_doubt(target, decision, around.now):
            return None
        settled = self._told == target and self._obeys(target) is not False
        if settled and not self._rearms(reverts_at, around.now):
            return None
        return Order(
            target=target,
            revert_after_s=None if reverts_at is None else max(0.0, reverts_at - around.now),
            decision=decision,
        )

    def begin(self, order: Order, around: Surroundings) -> None:
        """The device is about to be told; what `unsaved` gives has to be on disk before it is."""
        # Forgotten first: a device that fails half-way may do either.
        self._told_before, self._told, self._told_at = self._told, None, around.now
        if isinstance(order.target, RelayState | Power):
            self._switching.switch(runs(order.target), around.now, midnight_s=around.midnight_s)

    def done(self, order: Order, now: float) -> None:
        """The device said yes."""
        if order.target != self._told_before:
            self._stepped_at = now
        self._told = order.target
        armed_s = None
        if self.timer is not None and order.revert_after_s is not None:
            armed_s = self.timer.armed_s(order.revert_after_s)
        # From when it was told, not from when it answered: it ends within so many s of the former. From the latter it
        # would seem to end after the lease, and be armed anew with every look.
        self._reverts_at = None if armed_s is None else self._told_at + armed_s
        self._may_revert_at = None
        if self._reverts_at is not None and self.timer is not None:
            # What telling it took comes off the timer, rounded down to whole steps.
            self._may_revert_at = self._reverts_at - self.timer.resolution_s - (now - self._told_at)

    def fail(self, reason: str, around: Surroundings) -> Report | None:
        """The device did not say yes: the failsafe acts from now on; what is to be said about it."""
        self._told = None
        self._switching.doubt(around.now)
        return self._lose(reason, around)

    def may_have_reverted(self, now: float) -> bool:
        """Whether its own timer may have taken it to its failsafe already, which no reading has shown yet."""
        return self._told is not None and self._may_revert_at is not None and now >= self._may_revert_at

    def observe(self, reading: Reading, around: Surroundings) -> Report | None:
        """The device says what it does; what is to be said about it, where that is news."""
        self._reading, self.lost, self._missed = reading, None, 0
        if self._reverts_at is not None and around.now > self._reverts_at:
            self._told = self._reverts_at = self._may_revert_at = None  # its timer has ended, whatever it was told
        on = _seen_on(reading, self._told)
        if on is not None:
            self._switching.switch(on, around.now, midnight_s=around.midnight_s)
        return self._outcome(around)

    def assume(self, around: Surroundings) -> Report | None:
        """The device cannot be read: what it was told counts as done; what is to be said about it."""
        self.lost, self._missed = None, 0
        if self._switching.on is None and self._told is not None:
            self._switching.switch(runs(self._told), around.now, midnight_s=around.midnight_s)
        return self._outcome(around)

    def miss(self, reason: str, around: Surroundings) -> Report | None:
        """A reading failed; after some the device is lost and the failsafe acts."""
        self._missed += 1
        if self._missed < LOST_AFTER and self.lost is None:
            return None
        return self._lose(reason, around)

    def next_at(self, now: float, utc: datetime) -> float | None:
        """s at which what the device shall do may change by time alone; None where it will not."""
        instants: list[float] = []
        if self._lease is not None:
            instants.append(self._lease.expires_at)
            for setpoint in self._lease.setpoints:
                for end in (setpoint.start, setpoint.end):
                    if end > utc:
                        instants.append(now + (end - utc).total_seconds())
        until = holds_until(self.failsafe, on=self._switching.on, since=self._switching.since)
        if until is not None:
            instants.append(until)
        if self._reverts_at is not None:
            instants.append(self._reverts_at)
        return min((instant for instant in instants if instant > now), default=None)

    # How it is decided.

    def _decide(self, around: Surroundings) -> Decision:
        if self._lease is not None and around.now >= self._lease.expires_at:
            self._lease = None
        setpoint = None if self._lease is None else _holding(self._lease, around)
        if setpoint is not None and not self._can_be_leased(setpoint, around.now):
            setpoint = None
        room = around.room
        if setpoint is not None and self._lease is not None and self._lease.curtailed:
            room = _narrower(room, span(setpoint, self.rules.bounds))
        situation = Situation(
            setpoint=setpoint,
            failsafe=self._failsafe_now(around.now),
            hold=self._hold(around),
            room=room,
            rating=self.rules.bounds,
            blocked_by=around.blocked_by,
        )
        return decide(situation, self._precedence)

    def _failsafe_now(self, now: float) -> Target:
        until = holds_until(self.failsafe, on=self._switching.on, since=self._switching.since)
        return RelayState(closed=True) if until is not None and now < until else at_rest(self.failsafe)

    def _hold(self, around: Surroundings) -> Hold | None:
        if not self.rules.remembers:
            return None
        rest = at_rest(self.failsafe)
        power = isinstance(self._told or rest, Power)
        off: Target = Power(power_w=0) if power else RelayState(closed=False)
        return self._switching.hold(around.now, midnight_s=around.midnight_s, stays=self._as_it_is(off), off=off)

    def _as_it_is(self, off: Target) -> Target:
        if self._told is not None and runs(self._told):
            return self._told
        if isinstance(off, Power) and self._reading is not None and self._reading.power_w:
            return Power(power_w=self._reading.power_w)
        return RelayState(closed=True)

    def _can_be_leased(self, setpoint: Target, now: float) -> bool:
        """Whether the device's timer, if it has one, can still be set to what is left of the lease, or is."""
        if self.timer is None or self._lease is None:
            return True
        if self._told == setpoint and self._reverts_at is not None and now < self._reverts_at:
            return self._obeys(setpoint) is not False or self.timer.armed_s(self._lease.expires_at - now) is not None
        return self.timer.armed_s(self._lease.expires_at - now) is not None

    def _reverting_at(self, decision: Decision, around: Surroundings) -> float | None:
        """When the device shall go to its failsafe by itself; None where what it does is to last."""
        if self.timer is None or decision.target == at_rest(self.failsafe):
            return None
        instants = [around.now]
        if self._lease is not None and decision.rule is not Rule.FAILSAFE:
            instants.append(self._lease.expires_at)
        on = runs(decision.target)
        # The minimum on time goes before the failsafe, in the device's own timer too.
        if on and self.rules.min_on_s > 0:
            since = self._switching.since if self._switching.on else around.now
            instants.append(since + self.rules.min_on_s)
        if decision.rule is Rule.FAILSAFE:
            until = holds_until(self.failsafe, on=self._switching.on, since=self._switching.since)
            if until is not None:
                instants.append(until)
        return max(instants)

    def _rearms(self, reverts_at: float | None, now: float) -> bool:
        if self.timer is None:
            return False
        if reverts_at is None:
            return self._reverts_at is not None
        could_s = self.timer.armed_s(reverts_at - now)
        if could_s is None:
            return False
        left_s = 0.0 if self._reverts_at is None else self._reverts_at - now
        # A timer that would end too late is armed anew at once: the lease became shorter.
        return left_s > reverts_at - now + 1e-6 or left_s < REARM_SHARE * could_s

    def _ramped(self, decision: Decision, now: float) -> Target:
        """The decision's target, or the next step to it; what a limit or an interlock takes off knows no ramp."""
        ramp, target = self.rules.ramp_w_per_s, decision.target
        if ramp is None or not isinstance(target, Power):
            return target
        present_w = self._present_w()
        if decision.rule in {Rule.LIMIT, Rule.INTERLOCK} and abs(target.power_w) <= abs(present_w):
            return target
        step_w = int(ramp * STEP_S)
        if self._stepped_at is None:  # whoever served the device before may just have taken a step
            self._stepped_at = now
        if now < self._stepped_at + STEP_S:
            return Power(power_w=present_w)
        least, most = present_w - step_w, present_w + step_w
        return Power(power_w=min(max(target.power_w, least), most))

    def _present_w(self) -> int:
        if isinstance(self._told, Power):
            return self._told.power_w
        return 0 if self._reading is None or self._reading.power_w is None else self._reading.power_w

    def _in_doubt(self, target: Target, decision: Decision, now: float) -> bool:
        """Whether it might be on for less than its least time, and is to be switched off by no rule above that."""
        if self._switching.on is not None or runs(target) or now >= self._switching.since + self.rules.min_on_s:
            return False
        above = self._precedence[: self._precedence.index(Rule.MINIMUM_TIMES)]
        return decision.rule not in above

    def _obeys(self, target: Target) -> bool | None:
        return None if self._reading is None else obeys(self._reading, target)

    def _forbidden(self, wanted: Target, around: Surroundings, *, limited: bool) -> str | None:
        """Why the guard lets the device not do that now."""
        if runs(wanted) and around.blocked_by is not None:
            return f"interlock: got {wanted}, wanted it off while {around.blocked_by} runs or may run"
        hold = self._hold(around)
        if limited and not runs(wanted) and not self.rules.hard:
            return None  # a limit goes before the minimum times
        if hold is not None and runs(hold.target) is not runs(wanted):
            return f"{hold.reason}: got {wanted}, wanted it no earlier than {_instant(hold.until, around)}"
        return None

    # What is said.

    def _lose(self, reason: str, around: Surroundings) -> Report | None:
        self.lost, self._lease = reason, None
        standing, self._standing = self._standing, None
        if standing is None:
            return None
        return Report(
            command_id=standing,
            state=ReportState.FAILED,
            reason=f"the device failed: {reason}",
            observed_at=around.utc,
            passed=ON_THE_WAY[ReportState.FAILED],
        )

    def _outcome(self, around: Surroundings) -> Report | None:
        if self._standing is None or self._decision is None:
            return None
        state, reason = self._judged(self._decision, around)
        said, self._said = self._said, (state, reason)
        # A reading in a reason is news with each watt; what counts is that it diverges still.
        if said is not None and said[0] is state:
            return None
        passed = () if said is not None else ON_THE_WAY[state]
        return Report(command_id=self._standing, state=state, reason=reason, observed_at=around.utc, passed=passed)

    def _judged(self, decision: Decision, around: Surroundings) -> tuple[ReportState, str]:
        if self._lease is None:
            return ReportState.APPLIED, "the lease has ended: failsafe"
        if decision.rule is Rule.FAILSAFE:
            return ReportState.APPLIED, decision.reason
        if decision.rule is not Rule.SETPOINT:
            hold = self._hold(around) if decision.rule is Rule.MINIMUM_TIMES else None
            until = "" if hold is None else f", no earlier than {_instant(hold.until, around)}"
            return ReportState.DIVERGED, decision.reason + until
        if self._told != decision.target:
            return ReportState.APPLIED, f"on the way to {decision.target}"
        return _read_back(decision.target, self._reading)

    def _refusal(self, command: Command, reason: str, around: Surroundings) -> Report:
        return Report(
            command_id=command.command_id,
            state=ReportState.REJECTED,
            reason=reason,
            observed_at=around.utc,
            passed=ON_THE_WAY[ReportState.REJECTED],
        )


def _read_back(target: Target, reading: Reading | None) -> tuple[ReportState, str]:
    match None if reading is None else obeys(reading, target):
        case True:
            return ReportState.VERIFIED, ""
        case False:
            return ReportState.DIVERGED, f"told {target}, read back {reading}"
        case None:
            return ReportState.APPLIED, "the device says nothing to verify it by"


def _holding(lease: _Lease, around: Surroundings) -> Target | None:
    for setpoint in lease.setpoints:
        if setpoint.start <= around.utc < setpoint.end:
            return setpoint.target
    return None


def _narrower(one: Bounds, other: Bounds) -> Bounds:
    """What lies in both; 0 lies in each."""
    lower = [bound for bound in (one.lower_w, other.lower_w) if bound is not None]
    upper = [bound for bound in (one.upper_w, other.upper_w) if bound is not None]
    return Bounds(lower_w=max(lower, default=None), upper_w=min(upper, default=None))


def _seen_on(reading: Reading, told: Target | None) -> bool | None:
    """Whether a reading shows the device on; None where it cannot tell."""
    if reading.relay_closed is not None:
        return reading.relay_closed
    if reading.power_w is None:
        return None
    if isinstance(told, Power) and told.power_w != 0:
        return True  # a battery that is full takes nothing, and is on all the same
    return reading.power_w != 0


def _instant(at: float, around: Surroundings) -> str:
    """An instant of the driver's clock as a time of day, never too early."""
    instant = around.utc + timedelta(seconds=at - around.now + 1)
    return instant.replace(microsecond=0).isoformat()
