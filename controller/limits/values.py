"""What limits are made of. Powers in W, consumption positive; instants in Unix seconds."""

from dataclasses import dataclass
from enum import Enum

from controller.microgrid import Bounds


class Side(Enum):
    """The two bounds of a power."""

    LOWER = "lower"
    UPPER = "upper"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Source:
    """Who limits: a DSO (``holder``, the id of its identity) in one of its programmes (``name``, mostly empty)."""

    holder: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.holder}/{self.name}" if self.name else self.holder


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Bounds on a net power, and whose they are.

    Attributes
    ----------
    lower_w, upper_w : None does not bind; zero does
    binding_lower, binding_upper : names of what makes them; empty where there is none
    """

    lower_w: int | None = None
    upper_w: int | None = None
    binding_lower: str = ""
    binding_upper: str = ""

    def meet(self, other: "Band") -> "Band":
        """Both at once: of each side the tighter bound; of equal ones, the first's name."""
        lower = _tighter(self.lower_w, other.lower_w, sign=1)
        upper = _tighter(self.upper_w, other.upper_w, sign=-1)
        return Band(
            lower_w=lower,
            upper_w=upper,
            binding_lower=self.binding_lower if lower == self.lower_w else other.binding_lower,
            binding_upper=self.binding_upper if upper == self.upper_w else other.binding_upper,
        )

    def contains(self, power_w: int) -> bool:
        """Whether a power keeps both bounds."""
        return (self.lower_w is None or self.lower_w <= power_w) and (self.upper_w is None or power_w <= self.upper_w)


UNBOUNDED = Band()


def _tighter(one: int | None, other: int | None, *, sign: int) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return one if sign * one >= sign * other else other


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What was signed, by which key; all empty for what no DSO signs, such as an accepted demand response."""

    payload: bytes = b""
    signature: bytes = b""
    key_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """An envelope as its source gave it.

    Attributes
    ----------
    microgrid, id, target : where it belongs and what it bounds (a resource name)
    source : whose it is; those of a source supersede each other
    periods : in order of time, not overlapping
    primacy : the lower number wins
    counter : of the key that signed; 0 where it does not count
    expires : from when on it counts no more; None for never
    reason : for people
    created : when it was accepted
    signed : as it was signed
    """

    microgrid: str
    id: str
    source: Source
    target: str
    periods: tuple[Bounds, ...]
    primacy: int = 0
    counter: int = 0
    expires: int | None = None
    reason: str = ""
    created: int = 0
    signed: Signature = Signature()

    @property
    def name(self) -> str:
        """The resource name."""
        return f"microgrids/{self.microgrid}/envelopes/{self.id}"

    @property
    def ends(self) -> int:
        """From when on it counts no more."""
        last = self.periods[-1].end
        return last if self.expires is None else min(last, self.expires)


@dataclass(frozen=True, slots=True, kw_only=True)
class Default:
    """What holds on a target where none of the source's envelopes counts; fields as in `Envelope`."""

    microgrid: str
    source: Source
    target: str
    lower_w: int | None
    upper_w: int | None
    counter: int = 0
    reason: str = ""
    signed: Signature = Signature()


class Standing(Enum):
    """Whether an envelope counts."""

    ACTIVE = "ACTIVE"
    CANCELLED = "CANCELLED"
    SUPERSEDED = "SUPERSEDED"
    EXPIRED = "EXPIRED"
