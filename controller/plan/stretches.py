"""When something happens, for people: MTUs in a row as intervals of local time."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from controller.plan.calendar import Calendar
from optimization.community import Floats

RUNNING_KW = 1e-6
"""Less is a solver's rounding, and counts as rest."""


def stretches(holds: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Half-open intervals of MTUs in which something holds, in order."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], holds, [False]]).astype(np.int8)))
    return [(int(first), int(end)) for first, end in zip(edges[::2], edges[1::2], strict=True)]


def runs(power_kw: Floats) -> list[tuple[int, int]]:
    """Half-open intervals of MTUs in which a device takes power, or gives it, in order."""
    return sorted([*stretches(power_kw > RUNNING_KW), *stretches(power_kw < -RUNNING_KW)])


def interval(calendar: Calendar, first: int, end: int) -> str:
    """An interval of MTUs in local time."""
    begin, finish = calendar.local(first), calendar.local(end)
    if finish.date() == begin.date():
        return f"{calendar.label(first)}-{finish:%H:%M}"
    return f"{calendar.label(first)}-{calendar.label(end)}"


def intervals(calendar: Calendar, found: Sequence[tuple[int, int]], *, most: int = 6) -> str:
    """Several of them; beyond the most that are shown, how many more there are."""
    shown = ", ".join(interval(calendar, first, end) for first, end in found[:most])
    return shown + (f" and {len(found) - most} more" if len(found) > most else "")
