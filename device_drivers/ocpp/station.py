"""What a charging station has said, over all its connections."""

import asyncio
import hmac
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from device_drivers.clock import Clock
from device_drivers.errors import DeviceError
from device_drivers.ocpp.metering import Sample, Sampled, instant, power_of

if TYPE_CHECKING:
    from device_drivers.ocpp.session import Session

MOST_CONNECTORS = 99
_KEY_DIGITS = 40
_UNSAID = "unsaid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a station has to show, and what it is told whoever drives its connectors.

    Attributes
    ----------
    password : str or None
        None where it needs none.
    versions : tuple of str
        Subprotocols that are spoken with it, the dearest first.
    tags : frozenset of str
        Who may charge; empty where anybody may.
    heartbeat_s : int
        s between two of its heartbeats, each of which brings it the time.
    """

    password: str | None = field(repr=False)
    versions: tuple[str, ...]
    tags: frozenset[str]
    heartbeat_s: int

    def admit(self, name: str, authorization: str | None) -> bool:
        """Whether a station that says this of itself (HTTP basic authentication) is let in."""
        if self.password is None:
            return True
        kind, _, text = (authorization or "").partition(" ")
        try:
            said = b64decode(text.strip(), validate=True)
        except ValueError:
            return False
        keys = [self.password.encode()]
        # 1.6 has the key written as 40 hexadecimal digits and sent as the 20 bytes that they stand for.
        if len(self.password) == _KEY_DIGITS and set(self.password.lower()) <= set("0123456789abcdef"):
            keys.append(bytes.fromhex(self.password))
        known = [hmac.compare_digest(said, name.encode() + b":" + key) for key in keys]
        return kind.lower() == "basic" and any(known)


@dataclass(slots=True, kw_only=True)
class Outlet:
    """A connector (1.6) or EVSE (2.0.1), as its station described it.

    Attributes
    ----------
    status : str
        In the protocol's words.
    error : str
        What is wrong with it; empty where nothing is.
    transaction : str or None
        Which runs; None where none does, or nobody said.
    sample : Sample or None
        What its meter said last.
    """

    status: str = _UNSAID
    error: str = ""
    transaction: str | None = None
    sample: Sample | None = None
    _change: "asyncio.Future[None] | None" = None

    @property
    def described(self) -> bool:
        """Whether it ever said how it is."""
        return self.status != _UNSAID

    def change(self) -> "asyncio.Future[None]":
        """Done with the next thing that it says."""
        if self._change is None:
            self._change = asyncio.get_running_loop().create_future()
        return self._change

    def tell(self) -> None:
        """It said something."""
        change, self._change = self._change, None
        if change is not None and not change.done():
            change.set_result(None)


class Station:
    """One station.

    Parameters
    ----------
    name : str
        As it calls itself in the URL that it dials.
    terms : Terms
        What it has to show.
    clock : Clock
        The driver's.

    Attributes
    ----------
    complaint : str
        Why it is not let in; empty where it did not try since it was last connected.
    """

    def __init__(self, name: str, terms: Terms, clock: Clock) -> None:
        self.name = name
        self.terms = terms
        self.complaint = ""
        self._clock = clock
        self._outlets: dict[int, Outlet] = {}
        self._session: Session | None = None
        self._joined = asyncio.Event()
        self._its_time: tuple[datetime, float] | None = None

    # Its connection.

    @property
    def is_connected(self) -> bool:
        """Whether it is connected now."""
        return self._session is not None

    async def session(self) -> "Session":
        """Its connection, once there is one."""
        while self._session is None:
            await self._joined.wait()
        return self._session

    def join(self, session: "Session") -> None:
        """It connected; a connection that it had before is over."""
        if self._session is not None:
            self._session.drop()
        self._session, self.complaint = session, ""
        self._joined.set()

    def leave(self, session: "Session") -> None:
        """A connection ended."""
        if self._session is session:
            self._session = None
            self._joined = asyncio.Event()

    def turn_out(self) -> None:
        """End its connection."""
        if self._session is not None:
            self._session.drop()

    # What it says.

    def outlet(self, number: int) -> Outlet:
        """Of a number; 0 is the station as a whole. One that no station has is forgotten at once."""
        if not 0 <= number <= MOST_CONNECTORS:
            return Outlet()
        return self._outlets.setdefault(number, Outlet())

    def boot(self) -> None:
        """It was started anew: what ran may run no more; what does says so."""
        for outlet in self._outlets.values():
            outlet.transaction = None

    def describe(self, number: int, status: str, error: str, *, idle: bool) -> None:
        """An outlet said how it is; of one that is idle no transaction runs."""
        outlet = self.outlet(number)
        outlet.status, outlet.error = status, error
        if idle:
            outlet.transaction = None
        outlet.tell()

    def begin(self, number: int, transaction: str) -> None:
        """A transaction runs at an outlet."""
        outlet = self.outlet(number)
        outlet.transaction = transaction
        outlet.tell()

    def end(self, transaction: str) -> None:
        """A transaction is over."""
        for outlet in self._outlets.values():
            if outlet.transaction == transaction:
                outlet.transaction = None
                outlet.tell()

    def outlet_of(self, transaction: str) -> int | None:
        """Where a transaction runs; None where nobody said."""
        return next((number for number, one in self._outlets.items() if one.transaction == transaction), None)

    def measure(self, number: int, groups: Sequence[tuple[object, Sequence[Sampled]]]) -> None:
        """The meter of an outlet said groups of values, each with its time; the last that holds a power counts."""
        now, outlet = self._clock.now(), self.outlet(number)
        sample = Sample(at=now, power_w=None, said="nothing")
        for timestamp, values in groups:
            power_w, said = power_of(values)
            if power_w is not None or sample.power_w is None:
                sample = Sample(at=now, power_w=power_w, said=said)
            at = instant(timestamp)
            if at is not None:
                self._its_time = (at, now)
        outlet.sample = sample
        outlet.tell()

    def is_fresh(self, sample: Sample, most_s: float | None) -> bool:
        """Whether a sample is no older than so many s; None lets it be of any age."""
        return most_s is None or self._clock.now() - sample.at <= most_s

    # Its clock.

    def ahead_s(self) -> float:
        """s by which its clock is ahead of the driver's, negative where it is behind; 0 where it never said."""
        if self._its_time is None:
            return 0.0
        return (self._its_present(*self._its_time) - self._clock.utc()).total_seconds()

    def safe_time(self) -> datetime:
        """The earlier of its time and ours: what ends so long after it ends in time, whether it takes ours or not.

        Its own is what it said last, moved on: it said it before we heard it, and in whole seconds perhaps, so that
        what is taken for its time is never later than that.
        """
        ours = self._clock.utc()
        return ours if self._its_time is None else min(ours, self._its_present(*self._its_time))

    def _its_present(self, said: datetime, heard_at: float) -> datetime:
        try:
            return said + timedelta(seconds=self._clock.now() - heard_at)
        except OverflowError as err:
            raise DeviceError(f"ocpp: {self.name} says that it is {said.isoformat()}, wanted the time") from err
