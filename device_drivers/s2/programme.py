"""Power profile based control (PPBC): a programme that is to run, as a relay that is closed while it may."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from s2python.generated.gen_s2 import (
    ControlType,
    PPBCEndInterruptionInstruction,
    PPBCPowerProfileDefinition,
    PPBCPowerProfileStatus,
    PPBCPowerSequenceStatus,
    PPBCScheduleInstruction,
    PPBCStartInterruptionInstruction,
    RevokableObjects,
    RevokeObject,
)
from s2python.s2_base_model import S2BaseModel

from device_drivers.connection import Timer
from device_drivers.device import Reading
from device_drivers.errors import DeviceError
from device_drivers.s2.control import AT_ONCE, Step, Wishes
from device_drivers.s2.wire import content, later, new_id, seconds, text_of
from device_drivers.setpoint import RelayState, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """One way in which a part of a programme may run.

    Attributes
    ----------
    sequence_id : str
        As instructions name it.
    lasts_s : float
        s.
    interruptible : bool
        Whether it may be paused.
    abnormal_only : bool
        Whether it is for emergencies alone.
    """

    sequence_id: str
    lasts_s: float
    interruptible: bool
    abnormal_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a programme and the ways in which it may run.

    Attributes
    ----------
    part_id : str
        Of the standard's sequence container.
    sequences : tuple of Sequence
        Of which one is chosen.
    """

    part_id: str
    sequences: tuple[Sequence, ...]

    def chosen(self, sequence_id: str | None) -> Sequence:
        """The sequence that was chosen; where none was, the first that is for no emergency.

        Raises
        ------
        DeviceError
            If there is none.
        """
        for one in self.sequences:
            if one.sequence_id == sequence_id or (sequence_id is None and not one.abnormal_only):
                return one
        raise DeviceError(f"s2: got no sequence of {self.part_id!r} that may be started without an emergency")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """How far a part is.

    Attributes
    ----------
    status : PPBCPowerSequenceStatus
        As the standard has it.
    sequence_id : str or None
        What was chosen.
    progress_s : float
        s of it that are done.
    """

    status: PPBCPowerSequenceStatus
    sequence_id: str | None
    progress_s: float


class Programmes:
    """PPBC: closed starts what waits and goes on with what was interrupted, open interrupts what runs.

    Parameters
    ----------
    wishes : Wishes
        Of the configuration.
    new_id : callable
        Makes ids.
    """

    kind: ClassVar[ControlType] = ControlType.POWER_PROFILE_BASED_CONTROL
    timer: ClassVar[Timer | None] = None
    stale: ClassVar[bool] = False

    def __init__(self, wishes: Wishes, new_id: Callable[[], str] = new_id) -> None:
        self._new_id = new_id
        self._profile: str | None = None
        self._starts: datetime | None = None
        self._parts: tuple[Part, ...] = ()
        self._stands: dict[str, Stand] = {}
        self._scheduled: dict[str, str] = {}

    def hear(self, message: S2BaseModel, utc: datetime) -> None:
        """Take a programme, how far it is, and its end."""
        match message:
            case PPBCPowerProfileDefinition():
                self._define(message)
            case PPBCPowerProfileStatus():
                self._progress(message)
            case RevokeObject(object_type=RevokableObjects.PPBC_PowerProfileDefinition):
                if text_of(message.object_id) == self._profile:
                    self._profile, self._parts, self._stands, self._scheduled = None, (), {}, {}
            case RevokeObject():
                pass
            case _:
                raise content(type(message).__name__, "it", "what belongs to PPBC")

    def missing(self) -> str | None:
        """Of a programme that waits, how far it is; that there is none is as good."""
        return "PPBC.PowerProfileStatus" if self._profile is not None and not self._stands else None

    def steps(self, target: Target, lasts_s: float | None, utc: datetime) -> tuple[Step, ...]:
        """What starts, continues or interrupts the programme; nothing where it does what it should."""
        if not isinstance(target, RelayState):
            raise DeviceError(f"s2: got {target}, wanted a state of the relay")
        return self._running(utc) if target.closed else self._resting(utc)

    def shows(self, target: Target) -> bool:
        """Whether the programme runs, or does not."""
        return isinstance(target, RelayState) and self._closed() is target.closed

    def reading(self, power_w: int | None) -> Reading:
        """Closed while it runs; neither when it is over."""
        return Reading(power_w=power_w, relay_closed=self._closed(), closed_s=None, stored_wh=None)

    def _closed(self) -> bool | None:
        found = {self._stand(part).status for part in self._parts}
        if PPBCPowerSequenceStatus.EXECUTING in found:
            return True
        return None if found == {PPBCPowerSequenceStatus.FINISHED} else False

    def _stand(self, part: Part) -> Stand:
        return self._stands.get(
            part.part_id, Stand(status=PPBCPowerSequenceStatus.NOT_SCHEDULED, sequence_id=None, progress_s=0.0)
        )

    def _running(self, utc: datetime) -> tuple[Step, ...]:
        if self._profile is None:
            raise DeviceError("s2: got no programme, wanted one that waits to be started")
        if self._starts is not None and self._starts > utc and self._closed() is False:
            raise DeviceError(f"s2: got a programme that may start no earlier than {self._starts.isoformat()}")
        steps: list[Step] = []
        # Parts follow one another; the first that waits starts at once, whatever the manager's clock says.
        after_s = 0.0
        for part in self._parts:
            stand = self._stand(part)
            sequence = part.chosen(stand.sequence_id)
            match stand.status:
                case PPBCPowerSequenceStatus.FINISHED:
                    continue
                case PPBCPowerSequenceStatus.ABORTED:
                    raise DeviceError(f"s2: the resource manager aborted {part.part_id!r} of the programme")
                case PPBCPowerSequenceStatus.INTERRUPTED:
                    steps.append(self._interruption(PPBCEndInterruptionInstruction, part, sequence, utc))
                case PPBCPowerSequenceStatus.NOT_SCHEDULED | PPBCPowerSequenceStatus.SCHEDULED:
                    if stand.status is PPBCPowerSequenceStatus.NOT_SCHEDULED or after_s == 0.0:
                        at = utc - AT_ONCE if after_s == 0.0 else later(utc, after_s)
                        steps.append(self._schedule(part, sequence, at))
                case PPBCPowerSequenceStatus.EXECUTING:
                    pass
            after_s += max(0.0, sequence.lasts_s - stand.progress_s)
        return tuple(steps)

    def _resting(self, utc: datetime) -> tuple[Step, ...]:
        steps: list[Step] = []
        for part in reversed(self._parts):
            stand = self._stand(part)
            match stand.status:
                case PPBCPowerSequenceStatus.SCHEDULED:
                    steps.append(self._revocation(part))
                case PPBCPowerSequenceStatus.EXECUTING:
                    sequence = part.chosen(stand.sequence_id)
                    if not sequence.interruptible:
                        left_s = max(0.0, sequence.lasts_s - stand.progress_s)
                        raise DeviceError(
                            f"s2: got {part.part_id!r} of a programme that may not be interrupted, and runs for "
                            f"{left_s:.0f} s more"
                        )
                    steps.append(self._interruption(PPBCStartInterruptionInstruction, part, sequence, utc))
                case _:
                    pass
        return tuple(steps)

    def _schedule(self, part: Part, sequence: Sequence, at: datetime) -> Step:
        message_id, instruction_id = self._new_id(), self._new_id()
        self._scheduled[part.part_id] = instruction_id
        message = PPBCScheduleInstruction.model_validate(
            self._fields(part, sequence, at) | {"message_id": message_id, "id": instruction_id}
        )
        return Step(message=message, message_id=message_id, instruction_id=instruction_id)

    def _interruption(
        self,
        kind: type[PPBCStartInterruptionInstruction | PPBCEndInterruptionInstruction],
        part: Part,
        sequence: Sequence,
        utc: datetime,
    ) -> Step:
        message_id, instruction_id = self._new_id(), self._new_id()
        fields = self._fields(part, sequence, utc - AT_ONCE)
        message = kind.model_validate(fields | {"message_id": message_id, "id": instruction_id})
        return Step(message=message, message_id=message_id, instruction_id=instruction_id)

    def _revocation(self, part: Part) -> Step:
        instruction_id = self._scheduled.get(part.part_id)
        if instruction_id is None:
            raise DeviceError(
                f"s2: got {part.part_id!r} of a programme scheduled in an earlier session, wanted it not to be started"
            )
        message_id = self._new_id()
        message = RevokeObject.model_validate(
            {
                "message_id": message_id,
                "object_type": RevokableObjects.PPBC_ScheduleInstruction,
                "object_id": instruction_id,
            }
        )
        return Step(message=message, message_id=message_id, instruction_id=None)

    def _fields(self, part: Part, sequence: Sequence, at: datetime) -> dict[str, object]:
        return {
            "power_profile_id": self._profile,
            "sequence_container_id": part.part_id,
            "power_sequence_id": sequence.sequence_id,
            "execution_time": at,
            "abnormal_condition": False,
        }

    def _define(self, message: PPBCPowerProfileDefinition) -> None:
        parts = tuple(
            Part(
                part_id=text_of(container.id),
                sequences=tuple(
                    Sequence(
                        sequence_id=text_of(one.id),
                        lasts_s=sum(seconds(element.duration) for element in one.elements),
                        interruptible=one.is_interruptible,
                        abnormal_only=one.abnormal_condition_only,
                    )
                    for one in container.power_sequences
                ),
            )
            for container in message.power_sequences_containers
        )
        if len({part.part_id for part in parts}) < len(parts):
            raise content("PPBC.PowerProfileDefinition", "a sequence container twice", "each id once")
        profile = text_of(message.id)
        if profile != self._profile:
            self._stands, self._scheduled = {}, {}
        self._profile, self._parts, self._starts = profile, parts, message.start_time

    def _progress(self, message: PPBCPowerProfileStatus) -> None:
        known = {part.part_id: part for part in self._parts}
        stands = dict(self._stands)
        for one in message.sequence_container_status:
            part_id = text_of(one.sequence_container_id)
            if text_of(one.power_profile_id) != self._profile or part_id not in known:
                raise content("PPBC.PowerProfileStatus", part_id, "a part of the programme that was described")
            chosen = None if one.selected_sequence_id is None else text_of(one.selected_sequence_id)
            if chosen is not None and chosen not in {seq.sequence_id for seq in known[part_id].sequences}:
                raise content("PPBC.PowerProfileStatus", chosen, "a sequence of the programme that was described")
            stands[part_id] = Stand(status=one.status, sequence_id=chosen, progress_s=seconds(one.progress))
        self._stands = stands
