"""Runs and rests that were begun before the horizon, and go on into it."""

from collections.abc import Mapping


def forced_mtus(least: int, elapsed: int | None) -> int:
    """The MTUs for which a run or a rest that was carried in must go on; none where nobody knows how long it lasts."""
    return 0 if elapsed is None else max(0, least - elapsed)


def carried_in(*, running: bool, elapsed: int | None, least_on: int, least_off: int) -> Mapping[str, int]:
    """The MTUs at the horizon's start in which it must stay on, or off."""
    return {
        "stays_on": forced_mtus(least_on, elapsed) if running else 0,
        "stays_off": 0 if running else forced_mtus(least_off, elapsed),
    }
