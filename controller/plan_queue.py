"""Who may have a plan made, and whose turn it is: bounded, and fair to whoever asks.

Of a microgrid one plan is made at a time. Who asks often waits longer, and nobody else does: the next turn is that of
the caller who has had none for the longest time. A caller may have a few plans waiting, all callers together some more;
what is beyond that is refused at once, before anything is read for it.
"""

import asyncio
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from controller.errors import ControllerError

OWN = 4
"""So many plans of one caller may be made or wait for it, in each microgrid."""
TOTAL = 32
"""So many of all callers."""


class QueueFullError(ControllerError):
    """Too many plans are made or wait for it already."""


@dataclass(slots=True, eq=False)
class _Place:
    """Somebody in a queue; ``given`` is there while the turn is waited for, and done when it has come."""

    caller: Hashable
    order: int
    given: asyncio.Future[None] | None = None


@dataclass(slots=True)
class _Line:
    """A microgrid's queue: everybody in it, who has the turn, and when each caller last had one, counted."""

    places: list[_Place] = field(default_factory=list)
    busy: _Place | None = None
    served: dict[Hashable, int] = field(default_factory=dict)

    def call(self, number: int) -> None:
        """Give the turn to the caller who has waited longest since its last one, where nobody has it."""
        wanting = [place for place in self.places if place.given is not None and not place.given.done()]
        if self.busy is not None or not wanting:
            return
        self.busy = following = min(wanting, key=lambda place: (self.served.get(place.caller, -1), place.order))
        self.served[following.caller] = number
        if following.given is not None:
            following.given.set_result(None)


class PlanQueue:
    """Turns in microgrids.

    Parameters
    ----------
    own, total : most plans that may wait or be made, of a caller and of all, in a microgrid
    """

    def __init__(self, *, own: int = OWN, total: int = TOTAL) -> None:
        self._own = own
        self._total = total
        self._lines: dict[str, _Line] = {}
        self._count = count()

    @contextmanager
    def place(self, microgrid: str, caller: Hashable) -> Iterator["Waiting"]:
        """A place in a microgrid's queue, which is left at the end.

        Raises
        ------
        QueueFullError
            If there is none.
        """
        line = self._lines.get(microgrid) or _Line()
        mine = sum(place.caller == caller for place in line.places)
        if mine >= self._own:
            raise QueueFullError(f"{mine} plans of yours wait or are made, at most {self._own} may")
        if len(line.places) >= self._total:
            raise QueueFullError(f"{len(line.places)} plans wait or are made, at most {self._total} may")
        self._lines[microgrid] = line
        place = _Place(caller, next(self._count))
        line.places.append(place)
        try:
            yield Waiting(line, place, self._count)
        finally:
            line.places.remove(place)
            if line.busy is place:
                line.busy = None
                line.call(next(self._count))
            if not line.places:
                self._lines.pop(microgrid, None)


class Waiting:
    """A place in a queue."""

    def __init__(self, line: _Line, place: _Place, numbers: "count[int]") -> None:
        self._line = line
        self._place = place
        self._numbers = numbers

    async def turn(self) -> None:
        """Return when it is this one's turn, which lasts until the place is left."""
        self._place.given = asyncio.get_running_loop().create_future()
        self._line.call(next(self._numbers))
        await self._place.given
