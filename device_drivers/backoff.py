"""How long to wait between two attempts to reach the controller."""

from random import Random

FIRST_S = 1.0
"""s around which the first wait lies."""

LATE_S = 0.5
"""s that a driver comes later than it was told, at most."""

LONGEST_S = 60.0
"""s that no wait exceeds."""


def delay_s(attempt: int, randomness: Random) -> float:
    """Seconds to wait after a number of failed attempts, counted from one.

    The wait doubles with each attempt up to `LONGEST_S`, and is then cut by up to a half at random, so that
    the drivers that a restarted controller lost in one instant do not come back in one.
    """
    # Past 2^10 the longest wait has long been reached; a bounded exponent keeps the power finite.
    whole = min(LONGEST_S, FIRST_S * 2.0 ** min(attempt - 1, 10))
    return whole * randomness.uniform(0.5, 1.0)


def obedient_s(after_s: float, randomness: Random) -> float:
    """Seconds to wait where the controller said how many: never fewer, and a little more at random."""
    return after_s + randomness.uniform(0.0, LATE_S)
