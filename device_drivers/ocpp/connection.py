"""What a target means for a charging station: a limit that is valid no longer than the lease, over one that lasts.

The one that lasts is the failsafe. A station keeps both and goes by its own clock, so that it falls back to the
failsafe by itself, connected or not.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from device_drivers.arming import Arming
from device_drivers.connection import Capabilities, Timer
from device_drivers.device import Reading
from device_drivers.errors import DeviceError
from device_drivers.ocpp.dialect import Request, Topic
from device_drivers.ocpp.profile import Composite, Profile, Purpose, Scale
from device_drivers.ocpp.session import Session
from device_drivers.ocpp.station import Outlet, Station
from device_drivers.setpoint import Power, RelayState, Target

TIMER = Timer(shortest_s=2.0, longest_s=86_400.0, resolution_s=1.0)

_NUMBERS = 7_300_000
"""Where the numbers of our profiles begin: others of the same number would be replaced."""
_AGO = timedelta(minutes=1)
"""Before now, so that a schedule has begun whatever the station's seconds are."""
_LOOK_S = 60
_SLACK_S = 1.5
"""s by which a composite schedule, of whole seconds, may be off."""
_SAME = 0.051
_INTRODUCED_SHARE = 0.25
"""Of what a call may take, for each thing that a station that just connected is asked to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How an outlet is driven.

    Attributes
    ----------
    outlet : int
        Connector or EVSE; 0 is the station as a whole.
    scale : Scale
        How it is told.
    rated_w : int or None
        W when it is closed, of one that is driven as a relay.
    level : int
        Stack level of the failsafe; a lease stands one above.
    own : bool
        Whether a transaction that runs gets a profile of its own; else the one for any transaction has to do.
    tag : str
        In whose name transactions are begun and ended; empty where none are.
    pushed_s : float or None
        s that meter values may be old where they are sent unasked; None where they are asked for.
    patience_s : float
        s that a call of ours may take in all.
    """

    outlet: int
    scale: Scale
    rated_w: int | None
    level: int
    own: bool
    tag: str
    pushed_s: float | None
    patience_s: float


class OcppConnection:
    """One outlet of a station.

    Parameters
    ----------
    station : Station
        Whose it is.
    failsafe : RelayState or Power
        What stands under every lease.
    ways : Ways
        How it is driven.
    now : callable
        Seconds of a clock that is never set back and runs through suspension.
    absent : callable
        Why the station is not connected.
    let_go : callable
        Says that nobody drives the outlet any more.
    """

    def __init__(
        self,
        station: Station,
        failsafe: RelayState | Power,
        ways: Ways,
        *,
        now: Callable[[], float],
        absent: Callable[[], str],
        let_go: Callable[[], None],
    ) -> None:
        self._station = station
        self._failsafe = failsafe
        self._failsafe_w = _watts(failsafe, ways)
        self._ways = ways
        self._absent = absent
        self._let_go: Callable[[], None] | None = let_go
        self._now = now
        self._arming = Arming(TIMER, now)
        self._known: Session | None = None
        self._stands = False
        self._leases: set[int] = set()
        self._told_w: int | None = None
        self._capabilities = Capabilities(
            targets=frozenset({type(failsafe)}), timer=TIMER, measures_power=True, reads_state=True
        )

    @property
    def capabilities(self) -> Capabilities:
        """What every station can do that does smart charging and has a meter."""
        return self._capabilities

    async def apply(self, target: Target, *, revert_after_s: float | None) -> None:
        """Have the limit of the target, and see in the composite schedule that it stands and ends."""
        if type(target) is not type(self._failsafe):
            raise DeviceError(f"ocpp: got {target}, wanted a {type(self._failsafe).__name__}, as the failsafe is")
        watts = _watts(target, self._ways)
        asked_at = self._now()
        async with self._in_time("told"):
            session = await self._introduced()
            outlet = self._station.outlet(self._ways.outlet)
            if watts > 0 and outlet.error:
                raise DeviceError(f"ocpp: {self._station.name}: outlet {self._ways.outlet} has {outlet.error}")
            self._told_w = watts
            ends_s: float | None = None
            if target == self._failsafe:
                await self._rest(session)
            elif revert_after_s is None:
                await self._over(session, watts, None)
            else:
                ends_s = await self._lease(session, watts, asked_at + revert_after_s)
            await self._check(session, watts, ends_s)
            if self._ways.tag and isinstance(target, RelayState):
                await self._begin_or_end(session, outlet, begin=target.closed)

    async def read(self) -> Reading:
        """The limit that holds now, by the composite schedule, and the power that the meter says."""
        async with self._in_time("read"):
            session = await self._introduced()
            limit = self._limit(await self._composite(session, _LOOK_S), 0.0)
            power_w = round(await self._power_w(session))
        if self._ways.rated_w is not None:
            return Reading(power_w=power_w, relay_closed=limit > 0, closed_s=None, stored_wh=None)
        return Reading(power_w=power_w, relay_closed=None, closed_s=0, stored_wh=None, limit_w=self._said_w(limit))

    async def aclose(self) -> None:
        """Drive the outlet no more; the station stays connected for a while, and goes by its profiles."""
        let_go, self._let_go = self._let_go, None
        if let_go is not None:
            let_go()

    # The way to the station.

    @asynccontextmanager
    async def _in_time(self, what: str) -> AsyncIterator[None]:
        name = self._station.name
        try:
            async with asyncio.timeout(self._ways.patience_s):
                yield
        except TimeoutError as err:
            if not self._station.is_connected:
                raise DeviceError(f"ocpp: {name} is not connected{self._absent()}") from err
            raise DeviceError(f"ocpp: {name} could not be {what} within {self._ways.patience_s:g} s") from err

    async def _introduced(self) -> Session:
        """The station's connection, over which it said how it is, where it can."""
        session = await self._station.session()
        if session is not self._known:
            # The station as a whole has neither plug nor transaction.
            for topic in session.dialect.introduction if self._ways.outlet else ():
                await self._introduce(session, topic)
            # It may have been started anew, without what it was told before.
            self._known, self._stands, self._leases = session, False, set(self._lease_numbers)
        return session

    async def _introduce(self, session: Session, topic: Topic) -> None:
        """Have it say this, for as long as that is worth waiting for: not every station can be asked."""
        change = self._station.outlet(self._ways.outlet).change()
        with suppress(TimeoutError, DeviceError):
            async with asyncio.timeout(_INTRODUCED_SHARE * self._ways.patience_s):
                answer = await session.call(session.dialect.ask(self._ways.outlet, topic))
                if answer.get("status") == "Accepted":
                    await session.until(change)

    async def _done(self, session: Session, request: Request, *also: str) -> None:
        """Have the station do this; a `DeviceError` where it does not accept it."""
        answer = await session.call(request, acts=True)
        status = answer.get("status")
        if status != "Accepted" and status not in also:
            info = answer.get("statusInfo")
            why = f" ({info.get('reasonCode')})" if isinstance(info, dict) else ""
            raise DeviceError(f"ocpp: {self._station.name}: {request.action} was refused: {status}{why}")

    # Profiles.

    @property
    def _lease_numbers(self) -> tuple[int, int]:
        """Of a lease that needs no transaction, and of one that does."""
        first = _NUMBERS + 10 * self._ways.outlet
        return first + 2, first + 3

    async def _rest(self, session: Session) -> None:
        """Have the failsafe, and nothing over it."""
        await self._stand(session)
        for number in sorted(self._leases):
            await self._clear(session, number)

    async def _stand(self, session: Session) -> None:
        """Have the failsafe below whatever else is told."""
        if self._stands:
            return
        purpose = Purpose.DEFAULT if self._ways.outlet else Purpose.STATION
        profile = self._profile(_NUMBERS + 10 * self._ways.outlet + 1, purpose, self._failsafe_w, None)
        await self._done(session, session.dialect.set_profile(self._ways.outlet, profile))
        self._stands = True

    async def _lease(self, session: Session, watts: int, until: float) -> float:
        """Have a limit no longer than to an instant of our clock; for how many s."""
        ahead_s, left_s = self._station.ahead_s(), until - self._now()
        if ahead_s > max(0.0, left_s / 2):
            raise DeviceError(
                f"ocpp: {self._station.name}: its clock is {ahead_s:.0f} s ahead, wanted less than half of a lease of "
                f"{left_s:.0f} s; it is told the time with each heartbeat"
            )
        await self._stand(session)
        lasts_s = 0.0

        async def set_timer(seconds: float) -> None:
            nonlocal lasts_s
            await self._over(session, watts, seconds)
            lasts_s = seconds

        # The lease has run on while the station connected, said how it is, and was told its failsafe.
        await self._arming.arm(until - self._now(), set_timer)
        return lasts_s

    async def _over(self, session: Session, watts: int, seconds: float | None) -> None:
        """Have a limit over the failsafe, for so many s or until it is cleared."""
        await self._stand(session)
        outlet = self._station.outlet(self._ways.outlet)
        default, transaction = self._lease_numbers
        if not self._ways.outlet:
            number, purpose = default, Purpose.STATION
        elif self._ways.own and session.dialect.runs(outlet):
            number, purpose = transaction, Purpose.TRANSACTION
        else:
            number, purpose = default, Purpose.DEFAULT
        self._leases.add(number)
        profile = self._profile(number, purpose, watts, seconds)
        await self._done(session, session.dialect.set_profile(self._ways.outlet, profile))
        # One that was for the transaction before, or for none, would hold again with the next.
        for other in sorted(self._leases - {number}):
            await self._clear(session, other)

    async def _clear(self, session: Session, number: int) -> None:
        await self._done(session, session.dialect.clear_profile(number), "Unknown")
        self._leases.discard(number)

    def _profile(self, number: int, purpose: Purpose, watts: int, seconds: float | None) -> Profile:
        now = self._station.safe_time()
        lasting = number not in self._lease_numbers
        outlet = self._station.outlet(self._ways.outlet)
        return Profile(
            number=number,
            level=self._ways.level if lasting else self._ways.level + 1,
            purpose=purpose,
            limit=self._ways.scale.limit(watts),
            scale=self._ways.scale,
            starts=now - _AGO,
            ends=None if seconds is None else now + timedelta(seconds=seconds),
            afterwards=self._ways.scale.limit(self._failsafe_w),
            transaction=outlet.transaction if purpose is Purpose.TRANSACTION else None,
        )

    async def _check(self, session: Session, watts: int, ends_s: float | None) -> None:
        """Look whether what was told is what the station will do, to its end and beyond."""
        scale = self._ways.scale
        composite = await self._composite(session, max(_LOOK_S, 10 + math.ceil(ends_s or 0.0)))
        wanted, got = scale.limit(watts), self._limit(composite, 0.0)
        unit, name = scale.unit.value, self._station.name
        if abs(got - wanted) > _SAME:
            raise DeviceError(f"ocpp: {name} was told {wanted:g} {unit}, its composite schedule says {got:g} {unit}")
        failsafe = scale.limit(self._failsafe_w)
        if ends_s is None or ends_s + _SLACK_S >= composite.lasts_s or abs(wanted - failsafe) <= _SAME:
            return
        after = self._limit(composite, ends_s + _SLACK_S)
        if abs(after - failsafe) > _SAME:
            raise DeviceError(
                f"ocpp: {name} was told {wanted:g} {unit} for {ends_s:g} s, its composite schedule has "
                f"{after:g} {unit} afterwards, wanted {failsafe:g} {unit}"
            )

    async def _begin_or_end(self, session: Session, outlet: Outlet, *, begin: bool) -> None:
        """A transaction for a car that waits; none where the relay is open."""
        dialect = session.dialect
        if begin and dialect.waits(outlet):
            await self._done(session, dialect.start(self._ways.outlet, self._ways.tag))
        elif not begin and outlet.transaction is not None:
            await self._done(session, dialect.stop(outlet.transaction))

    # What is read.

    async def _composite(self, session: Session, seconds: int) -> Composite:
        request = session.dialect.composite(self._ways.outlet, seconds, self._ways.scale.unit)
        return session.dialect.read_composite(await session.call(request), float(seconds))

    def _limit(self, composite: Composite, seconds: float) -> float:
        period = composite.at(seconds)
        return self._ways.scale.of(composite.unit, period.limit, period.phases)

    def _said_w(self, limit: float) -> int:
        """W of a limit: of those that we told, where it is one of them, since amperes are rounded."""
        for watts in (self._told_w, self._failsafe_w):
            if watts is not None and abs(self._ways.scale.limit(watts) - limit) <= _SAME:
                return watts
        return round(self._ways.scale.watts(limit))

    async def _power_w(self, session: Session) -> float:
        outlet, name = self._station.outlet(self._ways.outlet), self._station.name
        if self._ways.pushed_s is None:
            before = outlet.sample
            answer = await session.call(session.dialect.ask(self._ways.outlet, Topic.METER))
            if answer.get("status") != "Accepted":
                raise DeviceError(
                    f"ocpp: {name} says {str(answer.get('status'))[:40]} when it is asked for meter values; "
                    "meter=sent takes those that it sends by itself"
                )
            while outlet.sample is before:
                await session.until(outlet.change())
        sample = outlet.sample
        if sample is None or not self._station.is_fresh(sample, self._ways.pushed_s):
            raise DeviceError(f"ocpp: {name} sent no meter values within {self._ways.pushed_s:g} s")
        if sample.power_w is not None:
            return sample.power_w
        if outlet.described and not session.dialect.runs(outlet):
            return 0.0  # without a transaction the contactor is open, and many meters then say no power
        raise DeviceError(f"ocpp: {name}: got the meter values {sample.said[:80]}, wanted Power.Active.Import in W")


def _watts(target: Target, ways: Ways) -> int:
    """W that a target lets through."""
    if isinstance(target, RelayState) and ways.rated_w is not None:
        return ways.rated_w if target.closed else 0
    if isinstance(target, Power) and ways.rated_w is None:
        if target.power_w < 0:
            raise DeviceError(f"ocpp: got {target.power_w} W, wanted 0 or more: these versions know no feeding back")
        return target.power_w
    raise DeviceError(f"ocpp: got {target}, wanted a {'RelayState' if ways.rated_w is not None else 'Power'}")
