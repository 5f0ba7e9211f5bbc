"""How a simulated device can misbehave."""

from enum import Enum


class Fault(Enum):
    """A way to misbehave; each leaves the physics running."""

    MUTE = "mute"
    """It answers nothing."""
    REFUSING = "refusing"
    """It says no to every target, and can be read."""
    LYING = "lying"
    """It says yes to every target and does not switch; what it reads is true."""
    SLOW = "slow"
    """It does what it is told and answers late, as a connection to it says; the device itself is as ever."""
