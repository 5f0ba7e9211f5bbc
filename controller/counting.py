"""Which of the time that a relay has been closed counts for its present task, and which for tasks before it.

A device may be registered anew, for a second load of washing on the same day. Its driver knows nothing of that and goes
on counting, so what was counted for a task that is finished is remembered and left out.
"""

from dataclasses import replace

from controller.flexibility import Flexibility, Programme, Relay
from controller.microgrid import Device, DeviceState
from controller.snapshot import Snapshot


def counted(device: Device, state: DeviceState, earlier: Snapshot | None) -> DeviceState:
    """A device's state, with what its relay was closed for before the present task began.

    Registered anew with other words, a device has a new task where the old one is finished and the new one's time
    begins no earlier than that. Else the task is the same, and what was done of it counts.

    Parameters
    ----------
    device : as it is registered now
    state : of now
    earlier : the newest snapshot before; None for none
    """
    if earlier is None or device.id not in earlier.states:
        return replace(state, closed_before_s=0)
    before_s = earlier.states[device.id].closed_before_s
    if state.closed_s < before_s:
        # The driver began to count anew, and all that it counted is of now.
        before_s = 0
    known = replace(state, closed_before_s=before_s)
    old = next((each.flexibility for each in earlier.devices if each.id == device.id), device.flexibility)
    new = device.flexibility
    if old == new or not isinstance(old, Relay | Programme) or not isinstance(new, Relay | Programme):
        return known
    since = old.start + 1 if state.held_s is None else state.instant - state.held_s
    if not state.on and new.start >= since and _finished(old, known, earlier.microgrid.mtu_seconds):
        return replace(known, closed_before_s=state.closed_s)
    return known


def _finished(task: Flexibility, state: DeviceState, mtu_seconds: int) -> bool:
    """Whether a task is done, to the nearest MTU: drivers switch some seconds late."""
    match task:
        case Relay():
            wanted_s = task.required_s
        case Programme():
            wanted_s = len(task.profile_w) * mtu_seconds
        case _:
            return False
    return state.task_closed_s + mtu_seconds // 2 >= wanted_s > 0
