"""What checking found: every check with what it looked at, and every failure with the record's name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was checked.

    Attributes
    ----------
    name : str
        What was checked, with how much of it.
    failures : tuple of str
        What is wrong, each naming its record; empty when all is right.
    """

    name: str
    failures: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All checks of a directory or a proof.

    Attributes
    ----------
    subject : str
        What was checked.
    checks : tuple of Check
        In the order in which they were made.
    caveat : str
        What the checks rest on and the verifier has to know otherwise; empty where there is no such thing.
    """

    subject: str
    checks: tuple[Check, ...]
    caveat: str = ""

    @property
    def failures(self) -> tuple[str, ...]:
        """Everything that is wrong."""
        return tuple(failure for check in self.checks for failure in check.failures)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.failures

    def lines(self) -> Iterator[str]:
        """The report as text: a line for each check and each failure, the verdict last."""
        for check in self.checks:
            yield f"{'FAILED' if check.failures else 'ok':6}  {check.name}"
            for failure in check.failures:
                yield f"        {failure}"
        if self.ok:
            rests = f", provided that {self.caveat}" if self.caveat else ""
            yield f"VERIFIED: {self.subject}: all {len(self.checks)} checks passed{rests}"
        else:
            yield f"NOT VERIFIED: {self.subject}: {len(self.failures)} failures"
