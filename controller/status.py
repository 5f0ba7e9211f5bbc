"""What a running service knows about itself, gathered from its parts for ``GetStatus``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

SHOWN = 200
"""How much of an error a status repeats."""


def gridpact_version() -> str:
    """The version of the installed package."""
    try:
        return version("gridpact")
    except PackageNotFoundError:
        return "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervision:
    """How one DSO's supervision of a microgrid stands.

    Attributes
    ----------
    dso : id of the DSO
    state : INIT, CONTROLLED, FAILSAFE
    heard_s : seconds since its newest heartbeat; None where there was none
    """

    dso: str
    state: str
    heard_s: float | None


class PartFigures(Protocol):
    """What the parts that work beside the database say about a microgrid. Each method answers at once."""

    def connected(self, microgrid: str) -> int:
        """How many drivers hold a stream."""

    def refusing(self, microgrid: str) -> int:
        """How many devices rejected what they were told last."""

    def supervision(self, microgrid: str) -> Sequence[Supervision]:
        """How each supervising DSO stands."""

    def backlogs(self, microgrid: str) -> Mapping[str, int]:
        """What waits to be put on disk, by what it is."""


class NoFigures:
    """A service without such parts."""

    def connected(self, microgrid: str) -> int:
        """Nobody."""
        del microgrid
        return 0

    def refusing(self, microgrid: str) -> int:
        """Nobody."""
        del microgrid
        return 0

    def supervision(self, microgrid: str) -> Sequence[Supervision]:
        """By nobody."""
        del microgrid
        return ()

    def backlogs(self, microgrid: str) -> Mapping[str, int]:
        """Nothing."""
        del microgrid
        return {}


class StatusBoard:
    """What happened since the service started.

    Parameters
    ----------
    epoch : how often it has started
    started : Unix seconds of the start
    monotonic : seconds on a clock that never jumps
    parts : who answers for what is not in the database
    """

    def __init__(
        self, *, epoch: int, started: float, monotonic: Callable[[], float], parts: PartFigures | None = None
    ) -> None:
        self.epoch = epoch
        self.started = started
        self.version = gridpact_version()
        self.parts = NoFigures() if parts is None else parts
        self._monotonic = monotonic
        self._began = monotonic()
        self._failing: dict[str, tuple[int, str]] = {}

    def uptime_s(self) -> float:
        """Seconds since the start."""
        return self._monotonic() - self._began

    def round_ended(self, timer: str, error: Exception | None) -> None:
        """Note how a round of a timer ended."""
        if error is None:
            self._failing.pop(timer, None)
        else:
            count = self._failing.get(timer, (0, ""))[0] + 1
            self._failing[timer] = count, f"{type(error).__name__}: {error}"[:SHOWN]

    def problems(self) -> list[str]:
        """What does not work at the moment, one line each."""
        return [f"{timer}: failed {count} times in a row: {said}" for timer, (count, said) in self._failing.items()]
