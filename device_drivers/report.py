"""What a driver says about a command."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from types import MappingProxyType


class ReportState(Enum):
    """What became of a command."""

    RECEIVED = "received"
    """It arrived."""
    ACCEPTED = "accepted"
    """Fresh and within the bounds."""
    REJECTED = "rejected"
    """It does not act: not fresh, out of bounds, or forbidden by the guard."""
    STARTED = "started"
    """The device is being told."""
    APPLIED = "applied"
    """It acts, and the device said yes."""
    VERIFIED = "verified"
    """Read back: the device does it."""
    DIVERGED = "diverged"
    """Read back: the device does something else."""
    FAILED = "failed"
    """The device failed on it: the failsafe acts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the driver says about a command.

    Attributes
    ----------
    command_id : str
        The command.
    state : ReportState
        What became of it.
    passed : tuple of ReportState
        What it went through on the way, in order.
    reason : str
        Why, for people; empty where the state says it all.
    observed_at : datetime
        UTC.
    """

    command_id: str
    state: ReportState
    reason: str
    observed_at: datetime
    passed: tuple[ReportState, ...] = ()


_STARTED = (ReportState.RECEIVED, ReportState.ACCEPTED, ReportState.STARTED)
ON_THE_WAY = MappingProxyType(
    {
        ReportState.REJECTED: (ReportState.RECEIVED,),
        ReportState.FAILED: _STARTED,
        ReportState.APPLIED: _STARTED,
        ReportState.VERIFIED: (*_STARTED, ReportState.APPLIED),
        ReportState.DIVERGED: (*_STARTED, ReportState.APPLIED),
    }
)
"""What a command has gone through by the time of the first report on it."""
