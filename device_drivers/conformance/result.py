"""What a check can end in."""

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """How a check ended."""

    PASSED = "ok"
    """The driver does what it has to."""
    FAILED = "FAIL"
    """It does not; the detail says what was got and wanted."""
    SKIPPED = "skip"
    """It does not apply, or cannot be had here; the detail says why."""


class NotShown(Exception):  # noqa: N818 - what became of a check
    """The driver does not do what it has to; the message says what was got and wanted."""


class NotAsked(Exception):  # noqa: N818 - what became of a check
    """The check does not apply; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one check.

    Attributes
    ----------
    check : str
        Its name.
    verdict : Verdict
        How it ended.
    detail : str
        What was seen, for people; empty where the name says it all.
    took_s : float
        s.
    """

    check: str
    verdict: Verdict
    detail: str
    took_s: float

    def __str__(self) -> str:
        return f"{self.verdict.value:5}{self.check:19}{self.took_s:6.2f} s  {self.detail}".rstrip()
