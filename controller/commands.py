"""What becomes of a command: its states, and which may follow which.

A driver may leave out states on the way. SUPERSEDED and EXPIRED are the controller's to decide. What a report would
change against the table it does not change: a late or repeated one has no effect.
"""

from collections.abc import Iterable, Mapping
from enum import Enum


class CommandState(Enum):
    """Where a command stands."""

    ISSUED = "ISSUED"
    """Given to the stream; the driver has not said anything yet."""
    RECEIVED = "RECEIVED"
    """It reached the driver."""
    ACCEPTED = "ACCEPTED"
    """Fresh and within the device's bounds."""
    REJECTED = "REJECTED"
    """Stale or out of bounds: it never acts."""
    STARTED = "STARTED"
    """The device is being told."""
    APPLIED = "APPLIED"
    """The device said yes."""
    VERIFIED = "VERIFIED"
    """Read back: the device does it."""
    DIVERGED = "DIVERGED"
    """Read back: the device does something else."""
    SUPERSEDED = "SUPERSEDED"
    """A newer command took its place."""
    EXPIRED = "EXPIRED"
    """Its lease ended before a newer one came."""
    FAILED = "FAILED"
    """The device failed on it."""


_READ_BACK = frozenset({CommandState.VERIFIED, CommandState.DIVERGED, CommandState.FAILED})
_ENDED = frozenset({CommandState.SUPERSEDED, CommandState.EXPIRED})

FOLLOWS: Mapping[CommandState, frozenset[CommandState]] = {
    CommandState.ISSUED: frozenset(CommandState) - {CommandState.ISSUED},
    CommandState.RECEIVED: frozenset(CommandState) - {CommandState.ISSUED, CommandState.RECEIVED},
    CommandState.ACCEPTED: _READ_BACK | _ENDED | {CommandState.STARTED, CommandState.APPLIED},
    CommandState.STARTED: _READ_BACK | _ENDED | {CommandState.APPLIED},
    CommandState.APPLIED: _READ_BACK | _ENDED,
    CommandState.VERIFIED: _ENDED | {CommandState.DIVERGED, CommandState.FAILED},
    CommandState.DIVERGED: _ENDED | {CommandState.VERIFIED, CommandState.FAILED},
    CommandState.REJECTED: frozenset(),
    CommandState.FAILED: frozenset(),
    CommandState.SUPERSEDED: frozenset(),
    CommandState.EXPIRED: frozenset(),
}
"""Which states may follow a state; after the last four none does."""

BY_CONTROLLER = _ENDED | {CommandState.ISSUED}
"""What no driver can say."""

_OUTCOMES = frozenset({CommandState.VERIFIED, CommandState.DIVERGED})
_UNEVENTFUL = frozenset(
    {
        CommandState.RECEIVED,
        CommandState.ACCEPTED,
        CommandState.STARTED,
        CommandState.APPLIED,
        CommandState.SUPERSEDED,
    }
)


class TrackedCommand:
    """A command on its way through the states.

    Parameters
    ----------
    id, window : the command's
    expires_at : when its lease ends, by the controller's monotonic clock at the earliest
    renews : the command that this one says again with a new lease; None where it says something new
    """

    __slots__ = ("_outcome", "_renews", "expires_at", "id", "state", "window")

    def __init__(self, id_: str, *, window: str, expires_at: float, renews: "TrackedCommand | None") -> None:
        self.id = id_
        self.window = window
        self.expires_at = expires_at
        self.state = CommandState.ISSUED
        self._renews = renews is not None
        self._outcome: CommandState | None = None if renews is None else renews._outcome

    def take(self, states: Iterable[CommandState]) -> list[CommandState]:
        """Go through states as far as the table allows; returns those that are worth keeping.

        Of a renewal the ordinary way is not, which would say every half lease what is known; its outcome is, where it
        differs.
        """
        kept = []
        for state in states:
            if state not in FOLLOWS[self.state]:
                continue
            self.state = state
            known = self._renews and (state in _UNEVENTFUL or state is self._outcome)
            if state in _OUTCOMES:
                self._outcome = state
            if not known:
                kept.append(state)
        return kept
