"""What becomes of a command: its states, and which may follow which.

A driver may leave out states on the way. SUPERSEDED and EXPIRED are the controller's to decide. What a report would
change against the table it does not change: a late or repeated one has no effect.
"""

from collections.abc import Iterable, Mapping
from enum import Enum


class CommandState(Enum):
    """Where a command stands."""

    # Members are one object each: an Enum's own hash runs Python code, for every state of every command.
    __hash__ = object.__hash__

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

_OUTCOMES = frozenset({CommandState.VERIFIED, CommandState.DIVERGED, CommandState.REJECTED})
_UNEVENTFUL = frozenset(
    {
        CommandState.RECEIVED,
        CommandState.ACCEPTED,
        CommandState.STARTED,
        CommandState.APPLIED,
        CommandState.SUPERSEDED,
    }
)


class Response(Enum):
    """How a device stands to what it is told."""

    NOTHING = "NOTHING"
    """No lease of it runs: its failsafe acts."""
    TOLD = "TOLD"
    """A command acts, or is under way."""
    VERIFIED = "VERIFIED"
    """Read back: it does what its newest command says."""
    OTHER = "OTHER"
    """It may do something else: it rejected its newest command, failed on it or diverges, or an earlier lease acts."""


class TrackedCommand:
    """A command on its way through the states.

    Parameters
    ----------
    id, window : the command's
    expires_at : when its lease ends, by the controller's monotonic clock at the earliest
    renews : the command that this one says again with a new lease; None where it says something new
    void : whether it calls for the failsafe
    before : how the device stood to the command before it: as long as nothing is said of this one, it stands so still
    """

    __slots__ = ("_before", "_outcome", "_renews", "_void", "expires_at", "id", "state", "window")

    def __init__(
        self,
        id_: str,
        *,
        window: str,
        expires_at: float,
        renews: "TrackedCommand | None",
        void: bool = False,
        before: Response = Response.TOLD,
    ) -> None:
        self.id = id_
        self.window = window
        self.expires_at = expires_at
        self.state = CommandState.ISSUED
        self._renews = renews is not None
        self._void = void
        self._before = before
        self._outcome: CommandState | None = None if renews is None else renews._outcome

    @property
    def ended_all(self) -> bool:
        """Whether no earlier lease acts any more: it called for the failsafe, and the device went there."""
        return self._void and self.state in {CommandState.APPLIED, CommandState.VERIFIED}

    @property
    def response(self) -> Response:
        """How its device stands to it while its lease runs."""
        match self.state:
            case CommandState.VERIFIED:
                return Response.VERIFIED
            case CommandState.REJECTED | CommandState.FAILED | CommandState.DIVERGED:
                return Response.OTHER
            case CommandState.APPLIED:
                return Response.TOLD
            case _:
                return Response.OTHER if self._before is Response.OTHER else Response.TOLD

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
