"""How much of the service one identity may use: calls, bytes, open streams, messages on a stream."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from controller.access import Identity, Role
from controller.refusals import Refusal, exhausted

IDLE = 1024
"""As many quotas are kept before those that nobody uses are dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one identity may use. Rates are sustained; bursts are what may be saved up.

    Attributes
    ----------
    calls_per_s, calls_burst : calls begun, streams included; positive
    bytes_per_s, bytes_burst : received in requests; a burst holds at least the largest message
    streams : open at the same time
    messages_per_s, messages_burst : received on one stream
    """

    calls_per_s: float = 1000
    calls_burst: float = 2000
    bytes_per_s: float = 8 * 2**20
    bytes_burst: float = 64 * 2**20
    streams: int = 64
    messages_per_s: float = 50
    messages_burst: float = 500

    def __post_init__(self) -> None:
        for each in fields(self):
            if not getattr(self, each.name) > 0:
                raise ValueError(f"limits.{each.name}: got {getattr(self, each.name)}, wanted a positive number")


DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Daily:
    """How many of what is kept for good one identity may make within 24 hours.

    Attributes
    ----------
    orders, overrides : positive
    """

    orders: int = 10_000
    overrides: int = 1000

    def __post_init__(self) -> None:
        for each in fields(self):
            if not getattr(self, each.name) > 0:
                raise ValueError(f"daily.{each.name}: got {getattr(self, each.name)}, wanted a positive number")

    def most(self, method: str) -> int | None:
        """As many calls of a method may have an effect; None where they are not counted."""
        return {"SubmitOrder": self.orders, "SetOverride": self.overrides}.get(method)


DRIVER_STREAMS = 20_000
"""A driver's gateway holds one stream for each of its devices."""

DEFAULTS: Mapping[Role, Limits] = {
    role: Limits(streams=DRIVER_STREAMS) if role is Role.DRIVER else Limits() for role in Role
}


class Bucket:
    """Fills at a rate up to a burst; what is asked is taken out whole or not at all.

    Parameters
    ----------
    rate : per second, positive
    burst : what it holds, and holds at the start
    now : monotonic seconds
    """

    __slots__ = ("_at", "_burst", "_held", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._held, self._at = burst, now

    def take(self, amount: float, now: float) -> float:
        """0 when ``amount`` was taken, else the seconds until it can be."""
        self._fill(now)
        if amount <= self._held:
            self._held -= amount
            return 0.0
        return (amount - self._held) / self._rate

    def full(self, now: float) -> bool:
        """Whether nobody has used it for long enough to forget it."""
        self._fill(now)
        return self._held >= self._burst

    def _fill(self, now: float) -> None:
        self._held = min(self._burst, self._held + self._rate * max(0.0, now - self._at))
        self._at = max(self._at, now)


@dataclass(slots=True)
class _Usage:
    calls: Bucket
    bytes: Bucket
    streams: int = field(default=0)


class Quotas:
    """The quotas of all identities; only those that are in use take memory.

    Parameters
    ----------
    limits : of each role
    daily : of each identity; counted in the store, by whoever keeps what is made
    """

    def __init__(self, limits: Mapping[Role, Limits] = DEFAULTS, daily: Daily | None = None) -> None:
        self.daily = Daily() if daily is None else daily
        self._limits = limits
        self._usage: dict[Identity, _Usage] = {}
        self._sweep_at = IDLE

    def __len__(self) -> int:
        return len(self._usage)

    def call(self, caller: Identity, size: int, now: float) -> Refusal | None:
        """Count a call with a request of ``size`` bytes; the refusal where it is one too many."""
        usage = self._of(caller, now)
        if wait := usage.calls.take(1, now):
            return _exceeded(caller, "calls", wait)
        return self._bytes(caller, usage, size, now)

    def message(self, caller: Identity, bucket: Bucket, size: int, now: float) -> Refusal | None:
        """Count a message on a stream."""
        if wait := bucket.take(1, now):
            return _exceeded(caller, "messages", wait)
        return self._bytes(caller, self._of(caller, now), size, now)

    def open_stream(self, caller: Identity, now: float) -> Bucket | Refusal:
        """Count an open stream: what its messages are counted with, or the refusal where it is one too many."""
        usage, limits = self._of(caller, now), self._limits[caller.role]
        if usage.streams >= limits.streams:
            return exhausted(
                f"{caller}/streams", f"streams: got more than {limits.streams} open, wanted fewer", retry_s=1
            )
        usage.streams += 1
        return Bucket(limits.messages_per_s, limits.messages_burst, now)

    def close_stream(self, caller: Identity, now: float) -> None:
        """Count a stream no longer."""
        self._of(caller, now).streams -= 1

    def _bytes(self, caller: Identity, usage: _Usage, size: int, now: float) -> Refusal | None:
        # More than a whole burst could never be taken; its size is refused for itself.
        wait = usage.bytes.take(min(size, self._limits[caller.role].bytes_burst), now)
        return _exceeded(caller, "bytes", wait) if wait else None

    def _of(self, caller: Identity, now: float) -> _Usage:
        usage = self._usage.get(caller)
        if usage is None:
            if len(self._usage) >= self._sweep_at:
                self._drop_idle(now)
            limits = self._limits[caller.role]
            usage = self._usage[caller] = _Usage(
                Bucket(limits.calls_per_s, limits.calls_burst, now), Bucket(limits.bytes_per_s, limits.bytes_burst, now)
            )
        return usage

    def _drop_idle(self, now: float) -> None:
        self._usage = {
            caller: usage
            for caller, usage in self._usage.items()
            if usage.streams or not (usage.calls.full(now) and usage.bytes.full(now))
        }
        self._sweep_at = max(IDLE, 2 * len(self._usage))  # so that sweeping costs little for each new caller


def _exceeded(caller: Identity, what: str, wait: float) -> Refusal:
    return exhausted(
        f"{caller}/{what}", f"{what}: got more than this identity's share, wanted a pause of {wait:.3f} s", retry_s=wait
    )
