"""What a manager says of its operation modes, read into a machine: OMBC and one actuator of FRBC."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from s2python.generated.gen_s2 import (
    FRBCActuatorDescription,
    FRBCOperationMode,
    FRBCSystemDescription,
    OMBCOperationMode,
    OMBCSystemDescription,
    PowerRange,
    ReceptionStatusValues,
)
from s2python.generated.gen_s2 import Timer as S2Timer
from s2python.generated.gen_s2 import Transition as S2Transition

from device_drivers.errors import InvalidValueError
from device_drivers.s2.control import Wishes
from device_drivers.s2.machine import Machine, Mode, Span, Transition
from device_drivers.s2.wire import Misread, adding_up, content, level, seconds, text_of, watts
from device_drivers.setpoint import RelayState


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A device as its manager describes it.

    Attributes
    ----------
    description_id : str
        Of the message.
    valid_from : datetime
        From when on.
    machine : Machine
        Modes, transitions, timers.
    relay : (Mode, Mode) or None
        What counts as off and as on; None where the device is no relay.
    actuator : str or None
        Which one of a storage.
    unit : str or None
        Of the fill level: wh, kwh, percent, celsius; None where that is not known.
    """

    description_id: str
    valid_from: datetime
    machine: Machine
    relay: tuple[Mode, Mode] | None
    actuator: str | None = None
    unit: str | None = None


def described_modes(message: OMBCSystemDescription, wishes: Wishes) -> Description:
    """The device of an OMBC description.

    Raises
    ------
    Misread
        If it makes no sense.
    InvalidValueError
        If it has not what the configuration names.
    """
    name = "OMBC.SystemDescription"
    modes = [_mode(name, one) for one in message.operation_modes]
    machine = _machine(name, modes, message.transitions, message.timers)
    return Description(
        description_id=text_of(message.message_id),
        valid_from=message.valid_from,
        machine=machine,
        relay=_relay(machine, wishes),
    )


def described_actuator(message: FRBCSystemDescription, wishes: Wishes) -> Description:
    """The actuator of an FRBC description that is meant; raises as `described_modes` does."""
    name = "FRBC.SystemDescription"
    actuator = _meant(message.actuators, wishes.actuator)
    modes = [_mode(name, one) for one in actuator.operation_modes]
    machine = _machine(name, modes, actuator.transitions, actuator.timers)
    return Description(
        description_id=text_of(message.message_id),
        valid_from=message.valid_from,
        machine=machine,
        relay=_relay(machine, wishes),
        actuator=text_of(actuator.id),
        unit=wishes.fill or _unit(message.storage.fill_level_label),
    )


def _relay(machine: Machine, wishes: Wishes) -> tuple[Mode, Mode] | None:
    if not isinstance(wishes.failsafe, RelayState):
        return None
    off = machine.off(wishes.off)
    on = machine.on(wishes.on, off)
    if on is off:
        raise InvalidValueError(f"option on: got {on}, wanted another mode than that for off")
    return off, on


def _meant(actuators: list[FRBCActuatorDescription], name: str | None) -> FRBCActuatorDescription:
    found = [one for one in actuators if name is None or name in {text_of(one.id), one.diagnostic_label}]
    if len(found) != 1:
        names = ", ".join(repr(one.diagnostic_label or text_of(one.id)) for one in actuators)
        raise InvalidValueError(f"option actuator: got {name or 'none'}, wanted one of {names}")
    return found[0]


def _machine(
    message: str, modes: list[Mode], transitions: Iterable[S2Transition], timers: Iterable[S2Timer]
) -> Machine:
    try:
        machine = Machine(
            modes={one.mode_id: one for one in modes},
            transitions=tuple(
                Transition(
                    source=text_of(one.from_),
                    target=text_of(one.to),
                    starts=tuple(map(text_of, one.start_timers)),
                    blocked_by=tuple(map(text_of, one.blocking_timers)),
                    abnormal_only=one.abnormal_condition_only,
                )
                for one in transitions
            ),
            timers_s={text_of(one.id): seconds(one.duration) for one in timers},
        )
    except InvalidValueError as err:
        raise Misread(ReceptionStatusValues.INVALID_CONTENT, f"{message}: {err}") from err
    if len(machine.modes) < len(modes):
        raise content(message, "an operation mode twice", "each id once")
    return machine


def _mode(message: str, mode: OMBCOperationMode | FRBCOperationMode) -> Mode:
    if isinstance(mode, OMBCOperationMode):
        start_w, end_w = _electric(message, mode.power_ranges)
        spans = [Span(start_w=start_w, end_w=end_w)]
    else:
        spans = []
        for one in mode.elements:
            fills = (one.fill_level_range.start_of_range, one.fill_level_range.end_of_range)
            start_w, end_w = _electric(message, one.power_ranges)
            lower, upper = sorted(level(message, fill) for fill in fills)
            spans.append(Span(fill_lower=lower, fill_upper=upper, start_w=start_w, end_w=end_w))
    return Mode(
        mode_id=text_of(mode.id),
        label=mode.diagnostic_label,
        spans=tuple(spans),
        abnormal_only=mode.abnormal_condition_only,
    )


def _electric(message: str, ranges: Iterable[PowerRange]) -> tuple[float, float]:
    """W of all phases together at the factors 0 and 1."""
    ranges = list(ranges)
    quantities = adding_up(one.commodity_quantity for one in ranges)
    found = [one for one in ranges if one.commodity_quantity in quantities]
    if len(found) > len(quantities):
        raise content(message, "a quantity twice", "a power range for each once")
    return (
        math.fsum(watts(message, one.start_of_range) for one in found),
        math.fsum(watts(message, one.end_of_range) for one in found),
    )


def _unit(label: str | None) -> str | None:
    """The unit that a label names in the words that are usual; None where it is none of them."""
    text = (label or "").strip().lower()
    if text in {"wh", "kwh"}:
        return text
    if text in {"%", "percent", "percentage", "soc", "state of charge"} or "%" in text:
        return "percent"
    return "celsius" if "celsius" in text or "°c" in text else None
