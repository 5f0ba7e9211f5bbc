"""What participants say of their devices: messages to values."""

from collections.abc import Sequence
from itertools import pairwise

from controller.flexibility import (
    ChargingLevel,
    ComfortPeriod,
    Flexibility,
    Generator,
    Phase,
    Plant,
    Programme,
    Relay,
    Storage,
    Thermostat,
    Vehicle,
)
from controller.microgrid import Device
from controller.refusals import invalid
from controller.wire import fields
from gridpact.v1 import participant_pb2 as pb

EFFICIENCY_PPM = (10_000, 1_000_000)
SELF_DISCHARGE_PPM = 999_000
MAX_MTUS = 192
MAX_PHASES = 16
MAX_LEVELS = 8
MAX_PERIODS = 192
MAX_STARTS = 1000
MILLI_C = 1_000_000
"""No temperature is a thousand degrees from freezing."""
MAX_HEAT_CAPACITY_WH_PER_K = 10**9
MAX_LOSS_MILLI_W_PER_K = 10**9
MAX_PERFORMANCE_PPM = 100_000_000
"""A hundred times the electric energy."""


def read_device(message: pb.Flexibility, *, mtu_seconds: int) -> tuple[str, Device]:
    """Microgrid id and device of a flexibility message."""
    microgrid, member, device = fields.device_id("flexibility.device", message.device)
    flexibility: Flexibility
    match message.WhichOneof("control"):
        case "operation_mode":
            flexibility = _read_relay("flexibility.operation_mode", message.operation_mode, mtu_seconds)
        case "fill_rate":
            flexibility = _read_storage("flexibility.fill_rate", message.fill_rate)
        case "power_envelope":
            flexibility = _read_plant("flexibility.power_envelope", message.power_envelope)
        case "power_profile":
            flexibility = _read_programme(
                "flexibility.power_profile", message.power_profile, mtu_seconds, owner=(microgrid, member, device)
            )
        case "electric_vehicle":
            flexibility = _read_vehicle("flexibility.electric_vehicle", message.electric_vehicle)
        case "thermostat":
            flexibility = _read_thermostat("flexibility.thermostat", message.thermostat)
        case "generator":
            flexibility = _read_generator("flexibility.generator", message.generator)
        case None:
            wanted = ", ".join(field.name for field in pb.Flexibility.DESCRIPTOR.oneofs_by_name["control"].fields)
            raise invalid("flexibility.control", got="none", wanted=f"one of {wanted}")
    return microgrid, Device(id=device, member=member, flexibility=flexibility)


def _read_relay(at: str, control: pb.OperationModeBasedControl, mtu_seconds: int) -> Relay:
    start, end = fields.interval(f"{at}.allowed", control.allowed)
    seconds, nanos = control.required_duration.seconds, control.required_duration.nanos
    if nanos or seconds % mtu_seconds or not 0 <= seconds <= end - start:
        raise invalid(
            f"{at}.required_duration",
            got=f"{seconds} s {nanos} ns",
            wanted=f"a multiple of {mtu_seconds} s, at most the {end - start} s that are allowed",
        )
    starts = control.max_starts_per_day if control.HasField("max_starts_per_day") else None
    if starts is not None:
        fields.number(f"{at}.max_starts_per_day", starts, upper=MAX_STARTS)
    return Relay(
        rated_w=_connection_w(f"{at}.rated_power_w", control.rated_power_w, lower=1),
        start=start,
        end=end,
        required_s=seconds,
        min_on_s=fields.seconds(f"{at}.min_on_duration", control.min_on_duration),
        min_off_s=fields.seconds(f"{at}.min_off_duration", control.min_off_duration),
        max_starts_per_day=starts,
        hard_minimum_times=control.hard_minimum_times,
    )


def _read_storage(at: str, fill: pb.FillRateBasedControl) -> Storage:
    capacity = fields.number(f"{at}.capacity_wh", fill.capacity_wh, lower=1, upper=fields.MAX_WH)
    return Storage(
        max_charge_w=_connection_w(f"{at}.max_charge_w", fill.max_charge_w),
        max_discharge_w=_connection_w(f"{at}.max_discharge_w", fill.max_discharge_w),
        capacity_wh=capacity,
        stored_wh=fields.number(f"{at}.stored_wh", fill.stored_wh, upper=capacity),
        final_wh=fields.number(f"{at}.final_wh", fill.final_wh, upper=capacity),
        charge_efficiency_ppm=_efficiency(f"{at}.charge_efficiency_ppm", fill.charge_efficiency_ppm),
        discharge_efficiency_ppm=_efficiency(f"{at}.discharge_efficiency_ppm", fill.discharge_efficiency_ppm),
        cycle_cost_micro_per_kwh=_price(f"{at}.cycle_cost_micro_per_kwh", fill.cycle_cost_micro_per_kwh),
        self_discharge_ppm_per_hour=fields.number(
            f"{at}.self_discharge_ppm_per_hour", fill.self_discharge_ppm_per_hour, upper=SELF_DISCHARGE_PPM
        ),
        reserve_wh=fields.number(f"{at}.reserve_wh", fill.reserve_wh, upper=capacity),
        final_value_micro_per_kwh=_price(f"{at}.final_value_micro_per_kwh", fill.final_value_micro_per_kwh),
    )


def _read_plant(at: str, control: pb.PowerEnvelopeBasedControl) -> Plant:
    return Plant(
        rated_w=fields.number(f"{at}.rated_power_w", control.rated_power_w, upper=fields.MAX_W),
        curtailment_cost_micro_per_kwh=_price(
            f"{at}.curtailment_cost_micro_per_kwh", control.curtailment_cost_micro_per_kwh
        ),
    )


def _read_programme(
    at: str, control: pb.PowerProfileBasedControl, mtu_seconds: int, *, owner: tuple[str, str, str]
) -> Programme:
    start, end = fields.interval(f"{at}.allowed", control.allowed)
    if not 1 <= len(control.phases) <= MAX_PHASES:
        raise invalid(f"{at}.phases", got=f"{len(control.phases)} phases", wanted=f"1 to {MAX_PHASES}")
    phases = tuple(_read_phase(f"{at}.phases[{k}]", phase, mtu_seconds) for k, phase in enumerate(control.phases))
    length = sum(len(phase.power_w) * mtu_seconds for phase in phases) + sum(p.min_pause_s for p in phases[1:])
    if length > end - start:
        raise invalid(
            f"{at}.phases", got=f"{length} s with the pauses", wanted=f"at most the {end - start} s that are allowed"
        )
    least = fields.seconds(f"{at}.min_delay_duration", control.min_delay_duration, multiple=mtu_seconds)
    most = (
        fields.seconds(f"{at}.max_delay_duration", control.max_delay_duration, lower=least, multiple=mtu_seconds)
        if control.HasField("max_delay_duration")
        else None
    )
    return Programme(
        phases=phases,
        start=start,
        end=end,
        follows=_read_follows(f"{at}.follows", control.follows, owner) if control.follows else None,
        min_delay_s=least,
        max_delay_s=most,
    )


def _read_phase(at: str, message: pb.PowerProfilePhase, mtu_seconds: int) -> Phase:
    if not 1 <= len(message.power_w) <= MAX_MTUS:
        raise invalid(f"{at}.power_w", got=f"{len(message.power_w)} values", wanted=f"1 to {MAX_MTUS}, one an MTU")
    least = fields.seconds(f"{at}.min_pause_duration", message.min_pause_duration, multiple=mtu_seconds)
    most = (
        fields.seconds(f"{at}.max_pause_duration", message.max_pause_duration, lower=least, multiple=mtu_seconds)
        if message.HasField("max_pause_duration")
        else least
    )
    return Phase(
        power_w=tuple(_connection_w(f"{at}.power_w[{k}]", power, lower=1) for k, power in enumerate(message.power_w)),
        min_pause_s=least,
        max_pause_s=most,
    )


def _read_follows(at: str, name: str, owner: tuple[str, str, str]) -> str:
    microgrid, member, device = owner
    grid, other_member, other = fields.device_id(at, name)
    if (grid, other_member) != (microgrid, member) or other == device:
        raise invalid(at, got=name, wanted="another device of the same member")
    return other


def _read_vehicle(at: str, message: pb.ElectricVehicle) -> Vehicle:
    arrival, departure = fields.interval(f"{at}.stay", message.stay)
    capacity = fields.number(f"{at}.capacity_wh", message.capacity_wh, lower=1, upper=fields.MAX_WH)
    return Vehicle(
        arrival=arrival,
        departure=departure,
        capacity_wh=capacity,
        stored_wh=fields.number(f"{at}.stored_wh", message.stored_wh, upper=capacity),
        required_wh=fields.number(f"{at}.required_wh", message.required_wh, upper=capacity),
        levels=_read_levels(f"{at}.levels", message.levels),
        charge_efficiency_ppm=_efficiency(f"{at}.charge_efficiency_ppm", message.charge_efficiency_ppm),
        discharge_efficiency_ppm=_efficiency(f"{at}.discharge_efficiency_ppm", message.discharge_efficiency_ppm),
        max_discharge_w=_connection_w(f"{at}.max_discharge_w", message.max_discharge_w),
        reserve_wh=fields.number(f"{at}.reserve_wh", message.reserve_wh, upper=capacity),
        cycle_cost_micro_per_kwh=_price(f"{at}.cycle_cost_micro_per_kwh", message.cycle_cost_micro_per_kwh),
    )


def _read_levels(at: str, messages: Sequence[pb.ChargingLevel]) -> tuple[ChargingLevel, ...]:
    if not 1 <= len(messages) <= MAX_LEVELS:
        raise invalid(at, got=f"{len(messages)} levels", wanted=f"1 to {MAX_LEVELS}")
    levels, reached = [], 0
    for k, level in enumerate(messages):
        lower = _connection_w(f"{at}[{k}].lower_w", level.lower_w, lower=reached)
        upper = _connection_w(f"{at}[{k}].upper_w", level.upper_w, lower=max(lower, 1))
        levels.append(ChargingLevel(lower_w=lower, upper_w=upper))
        reached = upper
    return tuple(levels)


def _read_thermostat(at: str, message: pb.Thermostat) -> Thermostat:
    rated = _connection_w(f"{at}.rated_power_w", message.rated_power_w, lower=1)
    performance = fields.number(
        f"{at}.performance_ppm", message.performance_ppm, lower=-MAX_PERFORMANCE_PPM, upper=MAX_PERFORMANCE_PPM
    )
    if performance == 0:
        raise invalid(f"{at}.performance_ppm", got="0", wanted="positive to heat, negative to cool")
    if message.min_power_w and not message.modulating:
        raise invalid(f"{at}.min_power_w", got=str(message.min_power_w), wanted="0 unless it modulates")
    lower, upper = _band(at, message.lower_milli_c, message.upper_milli_c)
    return Thermostat(
        rated_w=rated,
        heat_capacity_wh_per_k=fields.number(
            f"{at}.heat_capacity_wh_per_k",
            message.heat_capacity_wh_per_k,
            lower=1,
            upper=MAX_HEAT_CAPACITY_WH_PER_K,
        ),
        loss_milli_w_per_k=fields.number(
            f"{at}.loss_milli_w_per_k", message.loss_milli_w_per_k, upper=MAX_LOSS_MILLI_W_PER_K
        ),
        performance_ppm=performance,
        ambient_milli_c=milli_c(f"{at}.ambient_milli_c", message.ambient_milli_c),
        temperature_milli_c=milli_c(f"{at}.temperature_milli_c", message.temperature_milli_c),
        lower_milli_c=lower,
        upper_milli_c=upper,
        comfort=_read_comfort(f"{at}.comfort", message.comfort),
        modulating=message.modulating,
        min_w=_connection_w(f"{at}.min_power_w", message.min_power_w, upper=rated),
        min_on_s=fields.seconds(f"{at}.min_on_duration", message.min_on_duration),
        min_off_s=fields.seconds(f"{at}.min_off_duration", message.min_off_duration),
        discomfort_cost_micro_per_k_h=_price(
            f"{at}.discomfort_cost_micro_per_k_h", message.discomfort_cost_micro_per_k_h
        ),
        start_cost_micro=_price(f"{at}.start_cost_micro", message.start_cost_micro),
        hard_minimum_times=message.hard_minimum_times,
    )


def _read_comfort(at: str, messages: Sequence[pb.ComfortPeriod]) -> tuple[ComfortPeriod, ...]:
    if len(messages) > MAX_PERIODS:
        raise invalid(at, got=f"{len(messages)} periods", wanted=f"at most {MAX_PERIODS}")
    periods = []
    for k, message in enumerate(messages):
        start, end = fields.interval(f"{at}[{k}].interval", message.interval)
        lower, upper = _band(f"{at}[{k}]", message.lower_milli_c, message.upper_milli_c)
        periods.append(ComfortPeriod(start=start, end=end, lower_milli_c=lower, upper_milli_c=upper))
    for k, (first, second) in enumerate(pairwise(periods)):
        if second.start < first.end:
            raise invalid(f"{at}[{k + 1}].interval", got="an overlap", wanted="periods in order of time")
    return tuple(periods)


def _band(at: str, lower: int, upper: int) -> tuple[int, int]:
    milli_c(f"{at}.lower_milli_c", lower)
    milli_c(f"{at}.upper_milli_c", upper)
    if lower > upper:
        raise invalid(f"{at}.lower_milli_c", got=f"{lower} above the upper {upper}", wanted="lower <= upper")
    return lower, upper


def _read_generator(at: str, message: pb.Generator) -> Generator:
    most = _connection_w(f"{at}.max_power_w", message.max_power_w, lower=1)
    highest = fields.MAX_PRICE_MICRO_PER_KWH
    return Generator(
        min_w=_connection_w(f"{at}.min_power_w", message.min_power_w, upper=most),
        max_w=most,
        quadratic_cost_micro_per_kw2_h=_price(
            f"{at}.quadratic_cost_micro_per_kw2_h", message.quadratic_cost_micro_per_kw2_h
        ),
        linear_cost_micro_per_kwh=fields.number(
            f"{at}.linear_cost_micro_per_kwh", message.linear_cost_micro_per_kwh, lower=-highest, upper=highest
        ),
        running_cost_micro_per_h=_price(f"{at}.running_cost_micro_per_h", message.running_cost_micro_per_h),
        start_cost_micro=_price(f"{at}.start_cost_micro", message.start_cost_micro),
        min_up_s=fields.seconds(f"{at}.min_up_duration", message.min_up_duration),
        min_down_s=fields.seconds(f"{at}.min_down_duration", message.min_down_duration),
        hard_minimum_times=message.hard_minimum_times,
    )


def _connection_w(field: str, value: int, *, lower: int = 0, upper: int = fields.MAX_CONNECTION_W) -> int:
    return fields.number(field, value, lower=lower, upper=upper)


def _efficiency(field: str, value: int) -> int:
    low, high = EFFICIENCY_PPM
    return fields.number(field, value, lower=low, upper=high)


def _price(field: str, value: int) -> int:
    return fields.number(field, value, upper=fields.MAX_PRICE_MICRO_PER_KWH)


def milli_c(field: str, value: int) -> int:
    """A temperature in thousandths of a degree Celsius."""
    return fields.number(field, value, lower=-MILLI_C, upper=MILLI_C)
