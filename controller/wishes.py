"""What an owner wanted of a device instead of the plan, as it is kept and frozen. Unix seconds, W, Wh."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from controller.microgrid import DeviceSetpoint, SetpointKind


class Mode(Enum):
    """What an owner wants."""

    RUN_NOW = "RUN_NOW"
    NOT_TODAY = "NOT_TODAY"
    PAUSE = "PAUSE"


class OverrideState(Enum):
    """Whether an override counts."""

    ACTIVE = "ACTIVE"
    ENDED = "ENDED"
    CLEARED = "CLEARED"
    SUPERSEDED = "SUPERSEDED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a device does in ``[start, end)``.

    Attributes
    ----------
    kind, value : what it is told
    power_w : what it takes then, consumption positive
    """

    start: int
    end: int
    kind: SetpointKind
    value: int
    power_w: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What an override is expected to change for the member, against leaving the device to the plan.

    Attributes
    ----------
    cost_micro : micro-currency that it costs more; negative where it saves
    energy_wh : Wh that the device takes more; negative where it takes less
    deferred_wh : Wh that the plan has for the time of the override, and that are not taken then
    """

    cost_micro: int
    energy_wh: int
    deferred_wh: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What an owner wanted of a device.

    Attributes
    ----------
    device, number : which, and the how manieth of this device's, from 1
    mode : what
    made : when
    steps : what the device does, in order of time, from then on; at least one
    cost : what was expected of it
    cleared : when it was taken back; None where it was not
    newest : whether no later one of the device was made
    """

    device: str
    number: int
    mode: Mode
    made: int
    steps: tuple[Step, ...]
    cost: Cost
    cleared: int | None = None
    newest: bool = True

    @property
    def until(self) -> int:
        """When it ends by itself."""
        return max(step.end for step in self.steps)

    def state(self, now: float) -> OverrideState:
        """Whether it counts at an instant."""
        if self.cleared is not None:
            return OverrideState.CLEARED
        if not self.newest:
            return OverrideState.SUPERSEDED
        return OverrideState.ACTIVE if now < self.until else OverrideState.ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """An override that reaches into a window, as the window's snapshot has it."""

    mode: Mode
    steps: tuple[Step, ...]

    @property
    def until(self) -> int:
        """When it ends."""
        return max(step.end for step in self.steps)


def step_at(steps: Sequence[Step], now: float) -> Step | None:
    """The step that holds at an instant."""
    return next((step for step in steps if step.start <= now < step.end), None)


def mean_power_w(steps: Sequence[Step], start: int, end: int) -> float:
    """Mean W of steps over ``[start, end)``."""
    return sum(step.power_w * max(0, min(step.end, end) - max(step.start, start)) for step in steps) / (end - start)


def obeyed(
    override: Override, planned: Sequence[DeviceSetpoint], *, start: int, end: int, mtu_s: int
) -> list[DeviceSetpoint]:
    """What a device was told in the MTUs that begin in ``[start, end)``, its plan and its override above it.

    An MTU is the override's where that covers more than half of it.
    """
    told = {setpoint.mtu_start: setpoint for setpoint in planned}
    for mtu in range(start - start % mtu_s, end, mtu_s):
        covering = max(override.steps, key=lambda step: min(step.end, mtu + mtu_s) - max(step.start, mtu))
        if 2 * (min(covering.end, mtu + mtu_s) - max(covering.start, mtu)) > mtu_s:
            told[mtu] = DeviceSetpoint(device=override.device, mtu_start=mtu, kind=covering.kind, value=covering.value)
    return [told[mtu] for mtu in sorted(told)]


def to_plain(steps: Sequence[Step]) -> list[list[Any]]:
    """What JSON can hold."""
    return [[step.start, step.end, step.kind.value, step.value, step.power_w] for step in steps]


def from_plain(values: Sequence[Sequence[Any]]) -> tuple[Step, ...]:
    """What ``to_plain`` made, after a way through JSON."""
    return tuple(
        Step(start=start, end=end, kind=SetpointKind(kind), value=value, power_w=power)
        for start, end, kind, value, power in values
    )


def decided_to_plain(overrides: Mapping[str, Decided]) -> dict[str, Any]:
    """Overrides by device, as JSON can hold them."""
    return {device: {"mode": one.mode.value, "steps": to_plain(one.steps)} for device, one in overrides.items()}


def decided_from_plain(values: Mapping[str, Any]) -> dict[str, Decided]:
    """What ``decided_to_plain`` made, after a way through JSON."""
    return {device: Decided(mode=Mode(one["mode"]), steps=from_plain(one["steps"])) for device, one in values.items()}
