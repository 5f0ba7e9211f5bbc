"""What devices can do, as members say it. Integers: W, Wh, micro-currency, parts per million, seconds, Unix seconds."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """An appliance that owes a running time.

    Attributes
    ----------
    rated_w : while on
    start, end : inside this it may run
    required_s : how long it has to
    min_on_s, min_off_s : least length of a run, and of the rest between two
    max_starts_per_day : in a day of the microgrid's time zone; None for any number
    hard_minimum_times : whether the least lengths hold against limits too
    """

    rated_w: int
    start: int
    end: int
    required_s: int
    min_on_s: int = 0
    min_off_s: int = 0
    max_starts_per_day: int | None = None
    hard_minimum_times: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """A battery.

    Attributes
    ----------
    max_charge_w, max_discharge_w : at its terminals
    capacity_wh, stored_wh, final_wh : inside: room, what it holds at registration, what it shall hold in the end
    charge_efficiency_ppm, discharge_efficiency_ppm : 10,000 to 1,000,000
    cycle_cost_micro_per_kwh : wear, of what is discharged
    self_discharge_ppm_per_hour : part of the stored energy that is lost in an hour
    reserve_wh : kept back
    final_value_micro_per_kwh : worth of what is stored in the end
    """

    max_charge_w: int
    max_discharge_w: int
    capacity_wh: int
    stored_wh: int
    final_wh: int
    charge_efficiency_ppm: int
    discharge_efficiency_ppm: int
    cycle_cost_micro_per_kwh: int
    self_discharge_ppm_per_hour: int = 0
    reserve_wh: int = 0
    final_value_micro_per_kwh: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """A production plant that can be curtailed, at a cost per kWh that is not produced."""

    rated_w: int
    curtailment_cost_micro_per_kwh: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of a programme that nothing interrupts.

    Attributes
    ----------
    power_w : one value for each MTU, positive
    min_pause_s, max_pause_s : after the phase before; without meaning for the first
    """

    power_w: tuple[int, ...]
    min_pause_s: int = 0
    max_pause_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Programme:
    """A cycle that is started once.

    Attributes
    ----------
    phases : one after the other
    start, end : inside this it is begun and ended
    follows : id of the device after whose programme this one runs, or None
    min_delay_s, max_delay_s : between that one's end and this one's begin; None for any delay
    """

    phases: tuple[Phase, ...]
    start: int
    end: int
    follows: str | None = None
    min_delay_s: int = 0
    max_delay_s: int | None = None

    @property
    def profile_w(self) -> tuple[int, ...]:
        """The power of each MTU in which a phase runs."""
        return tuple(power for phase in self.phases for power in phase.power_w)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargingLevel:
    """Powers between which a charging point is free, both belonging to it."""

    lower_w: int
    upper_w: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Vehicle:
    """One stay of a vehicle at its charging point.

    Attributes
    ----------
    arrival, departure : of the stay
    capacity_wh, stored_wh, required_wh : room, what it holds on arrival, what it shall hold on departure
    levels : ascending; idle is always allowed
    charge_efficiency_ppm, discharge_efficiency_ppm : 10,000 to 1,000,000
    max_discharge_w : what it can give back
    reserve_wh : what giving back leaves in it
    cycle_cost_micro_per_kwh : wear, of what is given back
    """

    arrival: int
    departure: int
    capacity_wh: int
    stored_wh: int
    required_wh: int
    levels: tuple[ChargingLevel, ...]
    charge_efficiency_ppm: int
    discharge_efficiency_ppm: int
    max_discharge_w: int = 0
    reserve_wh: int = 0
    cycle_cost_micro_per_kwh: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ComfortPeriod:
    """The band in which a temperature shall be at the end of each MTU of ``[start, end)``."""

    start: int
    end: int
    lower_milli_c: int
    upper_milli_c: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Thermostat:
    """A load that holds a temperature.

    Attributes
    ----------
    rated_w : electric, while on; the most where it modulates
    modulating : whether any power from ``min_w`` to ``rated_w`` can be held, or rest; else on or off
    heat_capacity_wh_per_k, loss_milli_w_per_k : of the one heat capacity, and to its surroundings
    performance_ppm : heat per electric energy; negative where it cools, never 0
    ambient_milli_c : of the surroundings, where no forecast says otherwise
    temperature_milli_c : at registration
    lower_milli_c, upper_milli_c : comfort where no period says otherwise
    comfort : in order of time
    min_on_s, min_off_s : least length of a run and of a rest
    discomfort_cost_micro_per_k_h : per kelvin and hour outside the band; 0 for the model's own
    start_cost_micro : per start
    hard_minimum_times : whether the least lengths hold against limits too
    """

    rated_w: int
    heat_capacity_wh_per_k: int
    loss_milli_w_per_k: int
    performance_ppm: int
    ambient_milli_c: int
    temperature_milli_c: int
    lower_milli_c: int
    upper_milli_c: int
    comfort: tuple[ComfortPeriod, ...] = ()
    modulating: bool = False
    min_w: int = 0
    min_on_s: int = 0
    min_off_s: int = 0
    discomfort_cost_micro_per_k_h: int = 0
    start_cost_micro: int = 0
    hard_minimum_times: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """A generator that can be started and stopped.

    Attributes
    ----------
    min_w, max_w : of production while it is up
    quadratic_cost_micro_per_kw2_h, linear_cost_micro_per_kwh, running_cost_micro_per_h : of producing g kW for an hour:
        half the first times g squared, the second times g, the third
    start_cost_micro : per start
    min_up_s, min_down_s : least length of a run and of a rest
    hard_minimum_times : whether they hold against limits too
    """

    min_w: int
    max_w: int
    quadratic_cost_micro_per_kw2_h: int = 0
    linear_cost_micro_per_kwh: int = 0
    running_cost_micro_per_h: int = 0
    start_cost_micro: int = 0
    min_up_s: int = 0
    min_down_s: int = 0
    hard_minimum_times: bool = False


Flexibility = Relay | Storage | Plant | Programme | Vehicle | Thermostat | Generator

_KINDS: Mapping[str, type[Flexibility]] = {
    kind.__name__: kind for kind in (Relay, Storage, Plant, Programme, Vehicle, Thermostat, Generator)
}
_PARTS: Mapping[str, type[Phase | ChargingLevel | ComfortPeriod]] = {
    "phases": Phase,
    "levels": ChargingLevel,
    "comfort": ComfortPeriod,
}


def to_plain(flexibility: Flexibility) -> dict[str, Any]:
    """What JSON can hold, with the kind's name.

    What a later version added is left out where it says nothing: equal inputs keep their digests.
    """
    values = {"kind": type(flexibility).__name__, **asdict(flexibility)}
    if not values.get("hard_minimum_times", True):
        del values["hard_minimum_times"]
    return values


def from_plain(values: Mapping[str, Any]) -> Flexibility:
    """What ``to_plain`` made, after a way through JSON; fields that it lacks have their default."""
    plain = dict(values)
    kind = _KINDS[plain.pop("kind")]
    for name, part in _PARTS.items():
        if name in plain:
            plain[name] = tuple(_part(part, item) for item in plain[name])
    return kind(**plain)


def _part(kind: type[Phase | ChargingLevel | ComfortPeriod], item: Mapping[str, Any]) -> Any:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in item.items()}
    return kind(**values)
