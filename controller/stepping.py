"""What is told of each step that a window takes, for figures and traces."""

from collections.abc import Callable
from dataclasses import dataclass

from controller.decider import NO_ANSWER, PAST_DEADLINE, TOO_LATE
from controller.microgrid import WindowState
from controller.store.market import WindowRow

CORRECT = "correct"
"""What a correction of a settled window is called: no step of its state."""
DONE = "done"
LATE = "late"
TIMEOUT = "timeout"
UNDECIDED = "undecided"
STEPS = {
    WindowState.OPEN: "close",
    WindowState.CLOSED: "clear",
    WindowState.CLEARED: "deliver",
    WindowState.DELIVERING: "meter",
    WindowState.FAILED: "meter",
    WindowState.METERED: "settle",
}
"""What the step out of each state is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTaken:
    """A step that ended.

    Attributes
    ----------
    window : its resource name
    step : close, clear, deliver, meter, settle or correct
    seconds : that it took
    outcome : ``done``; of a clearing whose fallback acts ``late``, ``timeout`` or ``undecided``; of one that broke the
        name of the exception's class: it is tried again
    """

    window: str
    step: str
    seconds: float
    outcome: str


Told = Callable[[StepTaken], None]


def outcome_of(before: WindowRow, after: WindowRow | None) -> str:
    """How a step ended that was taken: a window that FAILED has taken it, and its fallback acts."""
    if after is None or after.state != WindowState.FAILED.value or before.state == after.state:
        return DONE
    reason = after.failure or ""
    if reason in (TOO_LATE, PAST_DEADLINE):
        return LATE
    return TIMEOUT if reason.startswith(NO_ANSWER) else UNDECIDED
