"""Whether a command is fresh, and until when it may act.

The sending of the heartbeat that a command answers is the last instant of which the driver knows, by its own
clock, that the controller had not spoken yet. A lease counted from there never outlasts what the controller
meant, however long the command was under way.
"""

from collections import OrderedDict
from dataclasses import dataclass

from device_drivers.errors import InvalidValueError
from device_drivers.refusal import Refused
from device_drivers.setpoint import Command

LONGEST_TTL_S = 14_400.0
"""Longer than dispatch windows are. No controller, however it errs, keeps a device from its failsafe for longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A command may act.

    Attributes
    ----------
    expires_at : float
        s on the driver's clock; from this instant on the command acts no more.
    """

    expires_at: float


class LeaseFence:
    """The memory by which stale, repeated and superseded commands are told from fresh ones.

    A command that answers a known heartbeat is remembered even when it came too late to act: what it
    superseded stays superseded.

    Parameters
    ----------
    memory : int
        Heartbeats that are remembered, the latest ones; an answer to an older one is refused.
    """

    def __init__(self, *, memory: int = 256) -> None:
        if memory < 1:
            raise InvalidValueError(f"memory of heartbeats: got {memory}, wanted 1 or more")
        self._memory = memory
        self._counter = 0
        self._sent: OrderedDict[int, float] = OrderedDict()
        self._epoch: int | None = None
        self._sequence: int | None = None

    def heartbeat(self, now: float) -> int:
        """Counter of a heartbeat that is about to be sent at `now`, in s; one more than that of the last."""
        self._counter += 1
        self._sent[self._counter] = now
        if len(self._sent) > self._memory:
            self._sent.popitem(last=False)
        return self._counter

    def observe_epoch(self, epoch: int) -> None:
        """Refuse commands of earlier epochs from now on."""
        if self._epoch is None or epoch > self._epoch:
            self._epoch, self._sequence = epoch, None

    def accept(self, command: Command, now: float) -> Granted | Refused:
        """Until when a command that arrived at `now`, in s, may act, or why it may not."""
        sent = self._sent.get(command.heartbeat_counter)
        if sent is None:
            known = f"{next(iter(self._sent))} to {self._counter}" if self._sent else "none, as none was sent"
            return Refused(reason=f"unknown heartbeat: got {command.heartbeat_counter}, wanted {known}")
        if self._epoch is not None and command.epoch < self._epoch:
            return Refused(reason=f"old epoch: got {command.epoch}, wanted {self._epoch} or later")
        self.observe_epoch(command.epoch)
        if self._sequence is not None and command.sequence <= self._sequence:
            return Refused(reason=f"old sequence: got {command.sequence}, wanted more than {self._sequence}")
        self._sequence = command.sequence
        if not 0 < command.ttl_s <= LONGEST_TTL_S:
            kind = "empty" if command.ttl_s <= 0 else "endless"
            wanted = f"more than none, at most {LONGEST_TTL_S:g} s"
            return Refused(reason=f"{kind} lease: got {command.ttl_s:g} s, wanted {wanted}")
        expires_at = sent + command.ttl_s
        if now >= expires_at:
            return Refused(reason=f"expired lease: it ended {now - expires_at:.3f} s ago")
        return Granted(expires_at=expires_at)
