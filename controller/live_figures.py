"""What the parts that work beside the database say about themselves, for the service's status."""

from collections.abc import Mapping, Sequence

from controller.clock import Monotonic
from controller.hub import DriverHub
from controller.limits.book import LimitsBook
from controller.status import Supervision


class LiveFigures:
    """Answers for drivers and limits.

    Parameters
    ----------
    hub, book : as their classes say
    monotonic : the clock that heartbeats are measured with
    """

    def __init__(self, hub: DriverHub, book: LimitsBook, monotonic: Monotonic) -> None:
        self._hub = hub
        self._book = book
        self._monotonic = monotonic

    def connected(self, microgrid: str) -> int:
        """How many drivers hold a stream."""
        return len(self._hub.connected(microgrid))

    def refusing(self, microgrid: str) -> int:
        """How many devices rejected what they were told last."""
        return self._hub.refusing(microgrid)

    def supervision(self, microgrid: str) -> Sequence[Supervision]:
        """How each DSO stands."""
        now = self._monotonic.now()
        return [
            Supervision(
                dso=holder,
                state=known.control.value,
                heard_s=None if known.heard is None else max(0.0, now - known.heard),
            )
            for holder, known in self._book.supervision(microgrid).items()
        ]

    def backlogs(self, microgrid: str) -> Mapping[str, int]:
        """What waits to be put on disk."""
        return self._hub.waiting(microgrid)
