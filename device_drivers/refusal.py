"""The answer "no" of the lease and of the guard."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A command or a target is not followed.

    Attributes
    ----------
    reason : str
        What was got and what was wanted, for people.
    """

    reason: str
