"""Operation modes as a relay or a power: operation mode based control (OMBC) and fill rate based control (FRBC)."""

import math
from collections.abc import Callable
from datetime import datetime
from typing import ClassVar

from s2python.generated.gen_s2 import (
    ControlType,
    FRBCActuatorStatus,
    FRBCFillLevelTargetProfile,
    FRBCInstruction,
    FRBCLeakageBehaviour,
    FRBCStorageStatus,
    FRBCSystemDescription,
    FRBCTimerStatus,
    FRBCUsageForecast,
    OMBCInstruction,
    OMBCStatus,
    OMBCSystemDescription,
    OMBCTimerStatus,
    RevokableObjects,
    RevokeObject,
)
from s2python.s2_base_model import S2BaseModel

from device_drivers.connection import Timer
from device_drivers.device import Reading
from device_drivers.errors import DeviceError
from device_drivers.s2.control import AT_ONCE, Step, Wishes
from device_drivers.s2.description import Description, described_actuator, described_modes
from device_drivers.s2.machine import Setting, reachable, setting_for
from device_drivers.s2.wire import content, later, level, new_id, text_of
from device_drivers.setpoint import Power, RelayState, Target

_SAME = 1e-6
"""By which a factor that a manager says may differ from the one that it was told."""


class _Modes:
    """What OMBC and FRBC have in common.

    Parameters
    ----------
    wishes : Wishes
        Of the configuration.
    new_id : callable
        Makes ids.
    """

    timer: ClassVar[Timer | None] = None
    stale: ClassVar[bool] = False

    def __init__(self, wishes: Wishes, new_id: Callable[[], str] = new_id) -> None:
        self._wishes = wishes
        self._new_id = new_id
        self._known: Description | None = None
        self._active: Setting | None = None
        self._finished: dict[str, datetime] = {}
        self._fill: float | None = None
        self._next: Description | None = None

    def shows(self, target: Target) -> bool:
        """Whether the active mode is what the target asks for."""
        known, active = self._known, self._active
        if known is None or active is None or not isinstance(target, RelayState | Power):
            return False
        try:
            wanted = setting_for(known.machine, active.mode_id, target, relay=known.relay, fill=self._fill)
            span = known.machine.modes[active.mode_id].span(self._fill)
        except DeviceError:
            return False
        # Where a mode has one power, its factor says nothing.
        slack = 1.0 if span.start_w == span.end_w else _SAME
        return any(one.mode_id == active.mode_id and abs(one.factor - active.factor) <= slack for one in wanted)

    def reading(self, power_w: int | None) -> Reading:
        """The active mode as the state of a relay, where it is one."""
        closed = None
        if self._known is not None and self._known.relay is not None and self._active is not None:
            closed = self._active.mode_id != self._known.relay[0].mode_id
        return Reading(power_w=power_w, relay_closed=closed, closed_s=None, stored_wh=None)

    def _heard(self, description: Description, utc: datetime) -> None:
        """Take a description, or keep it for when it is valid; the first one at once, whatever its clock says."""
        if self._known is not None and description.valid_from > utc:
            self._next = description
        else:
            self._adopt(description)

    def _due(self, utc: datetime) -> None:
        if self._next is not None and self._next.valid_from <= utc:
            self._adopt(self._next)

    def _adopt(self, description: Description) -> None:
        # Of what was heard under an earlier description only that counts which this one knows, too.
        machine, known = description.machine, self._known
        if known is not None and known.actuator != description.actuator:
            self._active, self._finished = None, {}
        if self._active is not None and self._active.mode_id not in machine.modes:
            self._active = None
        self._finished = {timer: at for timer, at in self._finished.items() if timer in machine.timers_s}
        self._known, self._next = description, None

    def _revoked(self, description_id: str) -> None:
        if self._next is not None and self._next.description_id == description_id:
            self._next = None
        elif self._known is not None and self._known.description_id == description_id:
            self._known = self._active = None

    def _setting(self, target: Target, utc: datetime) -> Setting:
        self._due(utc)
        known = self._known
        if known is None or self._active is None:
            raise DeviceError("s2: got no operation modes yet")
        if not isinstance(target, RelayState | Power):
            raise DeviceError(f"s2: got {target}, wanted a state of the relay or a power")
        active = self._active.mode_id
        settings = setting_for(known.machine, active, target, relay=known.relay, fill=self._fill)
        return reachable(known.machine, active, settings, self._finished, utc)

    def _enter(self, message: str, setting: Setting, previous: str | None, since: datetime | None) -> None:
        machine = None if self._known is None else self._known.machine
        if machine is None or setting.mode_id not in machine.modes:
            raise content(message, setting.mode_id, "one of the operation modes")
        if not 0 <= setting.factor <= 1:
            raise content(message, setting.factor, "a factor from 0 to 1")
        if since is not None and previous is not None and previous != setting.mode_id:
            for one in machine.transitions:
                if (one.source, one.target) == (previous, setting.mode_id):
                    for timer in one.starts:
                        self._ends(timer, later(since, machine.timers_s[timer]))
        self._active = setting

    def _ends(self, timer: str, at: datetime, *, message: str = "TimerStatus") -> None:
        if self._known is None or timer not in self._known.machine.timers_s:
            raise content(message, timer, "one of the timers")
        self._finished[timer] = at


class OperationModes(_Modes):
    """OMBC: the device is in one of its modes until it is told another."""

    kind: ClassVar[ControlType] = ControlType.OPERATION_MODE_BASED_CONTROL

    def hear(self, message: S2BaseModel, utc: datetime) -> None:
        """Take a description, a status, the end of a timer."""
        self._due(utc)
        match message:
            case OMBCSystemDescription():
                self._heard(described_modes(message, self._wishes), utc)
            case OMBCStatus():
                setting = Setting(
                    mode_id=text_of(message.active_operation_mode_id), factor=message.operation_mode_factor
                )
                self._enter(
                    "OMBC.Status", setting, _id(message.previous_operation_mode_id), message.transition_timestamp
                )
            case OMBCTimerStatus():
                self._ends(text_of(message.timer_id), message.finished_at, message="OMBC.TimerStatus")
            case RevokeObject(object_type=RevokableObjects.OMBC_SystemDescription):
                self._revoked(text_of(message.object_id))
            case RevokeObject():
                pass
            case _:
                raise content(type(message).__name__, "it", "what belongs to OMBC")

    def missing(self) -> str | None:
        """Description and status."""
        if self._known is None:
            return "OMBC.SystemDescription"
        return "OMBC.Status" if self._active is None else None

    def steps(self, target: Target, lasts_s: float | None, utc: datetime) -> tuple[Step, ...]:
        """One instruction, also where the device is in that mode already: something may be scheduled."""
        setting = self._setting(target, utc)
        message_id, instruction_id = self._new_id(), self._new_id()
        instruction = OMBCInstruction.model_validate(
            {
                "message_id": message_id,
                "id": instruction_id,
                "execution_time": utc - AT_ONCE,
                "operation_mode_id": setting.mode_id,
                "operation_mode_factor": setting.factor,
                "abnormal_condition": False,
            }
        )
        return (Step(message=instruction, message_id=message_id, instruction_id=instruction_id),)


class FillRates(_Modes):
    """FRBC: one actuator of a storage, whose modes' power may depend on how full that is."""

    kind: ClassVar[ControlType] = ControlType.FILL_RATE_BASED_CONTROL

    def hear(self, message: S2BaseModel, utc: datetime) -> None:
        """Take a description, the status of the actuator and of the storage, the end of a timer."""
        self._due(utc)
        match message:
            case FRBCSystemDescription():
                self._heard(described_actuator(message, self._wishes), utc)
            case FRBCActuatorStatus():
                if text_of(message.actuator_id) == self._actuator():
                    mode_id = text_of(message.active_operation_mode_id)
                    setting = Setting(mode_id=mode_id, factor=message.operation_mode_factor)
                    previous = _id(message.previous_operation_mode_id)
                    self._enter("FRBC.ActuatorStatus", setting, previous, message.transition_timestamp)
            case FRBCStorageStatus():
                self._fill = level("FRBC.StorageStatus", message.present_fill_level)
            case FRBCTimerStatus():
                if text_of(message.actuator_id) == self._actuator():
                    self._ends(text_of(message.timer_id), message.finished_at, message="FRBC.TimerStatus")
            case RevokeObject(object_type=RevokableObjects.FRBC_SystemDescription):
                self._revoked(text_of(message.object_id))
            case RevokeObject() | FRBCLeakageBehaviour() | FRBCUsageForecast() | FRBCFillLevelTargetProfile():
                pass
            case _:
                raise content(type(message).__name__, "it", "what belongs to FRBC")

    def missing(self) -> str | None:
        """Description, the actuator's status, and the storage's where a power depends on it."""
        if self._known is None:
            return "FRBC.SystemDescription"
        if self._active is None:
            return "FRBC.ActuatorStatus"
        depends = any(len(one.spans) > 1 for one in self._known.machine.modes.values())
        return "FRBC.StorageStatus" if self._fill is None and depends else None

    def steps(self, target: Target, lasts_s: float | None, utc: datetime) -> tuple[Step, ...]:
        """One instruction, also where the device is in that mode already: something may be scheduled."""
        setting = self._setting(target, utc)
        message_id, instruction_id = self._new_id(), self._new_id()
        instruction = FRBCInstruction.model_validate(
            {
                "message_id": message_id,
                "id": instruction_id,
                "actuator_id": self._actuator(),
                "operation_mode": setting.mode_id,
                "operation_mode_factor": setting.factor,
                "execution_time": utc - AT_ONCE,
                "abnormal_condition": False,
            }
        )
        return (Step(message=instruction, message_id=message_id, instruction_id=instruction_id),)

    def reading(self, power_w: int | None) -> Reading:
        """As of the modes, and what is stored, where the unit of the fill level says how much that is."""
        seen = super().reading(power_w)
        stored_wh = temperature_milli_c = None
        fill, capacity_wh = self._fill, self._wishes.capacity_wh
        if fill is not None:
            match None if self._known is None else self._known.unit:
                case "wh":
                    stored_wh = math.floor(fill)
                case "kwh":
                    stored_wh = math.floor(fill * 1000)
                case "percent" if capacity_wh is not None:
                    stored_wh = math.floor(fill / 100 * capacity_wh)
                case "celsius":
                    temperature_milli_c = round(fill * 1000)
        return Reading(
            power_w=seen.power_w,
            relay_closed=seen.relay_closed,
            closed_s=None,
            stored_wh=stored_wh,
            temperature_milli_c=temperature_milli_c,
        )

    def _actuator(self) -> str | None:
        return None if self._known is None else self._known.actuator


def _id(found: object) -> str | None:
    return None if found is None else text_of(found)
