"""What devices can do: values to messages."""

from google.protobuf.duration_pb2 import Duration

from controller.flexibility import Generator, Plant, Programme, Relay, Storage, Thermostat, Vehicle
from controller.microgrid import Device
from controller.wire import fields
from gridpact.v1 import participant_pb2 as pb


def flexibility_message(microgrid: str, device: Device) -> pb.Flexibility:
    """The message of what a device can do."""
    message = pb.Flexibility(device=fields.device_name(microgrid, device.id))
    match device.flexibility:
        case Relay() as relay:
            message.operation_mode.CopyFrom(_relay_message(relay))
        case Storage() as storage:
            message.fill_rate.CopyFrom(_storage_message(storage))
        case Plant() as plant:
            message.power_envelope.rated_power_w = plant.rated_w
            message.power_envelope.curtailment_cost_micro_per_kwh = plant.curtailment_cost_micro_per_kwh
        case Programme() as programme:
            message.power_profile.CopyFrom(_programme_message(microgrid, programme))
        case Vehicle() as vehicle:
            message.electric_vehicle.CopyFrom(_vehicle_message(vehicle))
        case Thermostat() as thermostat:
            message.thermostat.CopyFrom(_thermostat_message(thermostat))
        case Generator() as generator:
            message.generator.CopyFrom(_generator_message(generator))
    return message


def _relay_message(relay: Relay) -> pb.OperationModeBasedControl:
    return pb.OperationModeBasedControl(
        rated_power_w=relay.rated_w,
        allowed=fields.interval_message(relay.start, relay.end),
        required_duration=Duration(seconds=relay.required_s),
        min_on_duration=_duration(relay.min_on_s),
        min_off_duration=_duration(relay.min_off_s),
        max_starts_per_day=relay.max_starts_per_day,
        hard_minimum_times=relay.hard_minimum_times,
    )


def _storage_message(storage: Storage) -> pb.FillRateBasedControl:
    return pb.FillRateBasedControl(
        max_charge_w=storage.max_charge_w,
        max_discharge_w=storage.max_discharge_w,
        capacity_wh=storage.capacity_wh,
        stored_wh=storage.stored_wh,
        final_wh=storage.final_wh,
        charge_efficiency_ppm=storage.charge_efficiency_ppm,
        discharge_efficiency_ppm=storage.discharge_efficiency_ppm,
        cycle_cost_micro_per_kwh=storage.cycle_cost_micro_per_kwh,
        self_discharge_ppm_per_hour=storage.self_discharge_ppm_per_hour,
        reserve_wh=storage.reserve_wh,
        final_value_micro_per_kwh=storage.final_value_micro_per_kwh,
    )


def _programme_message(microgrid: str, programme: Programme) -> pb.PowerProfileBasedControl:
    return pb.PowerProfileBasedControl(
        phases=[
            pb.PowerProfilePhase(
                power_w=phase.power_w,
                min_pause_duration=_duration(phase.min_pause_s),
                max_pause_duration=Duration(seconds=phase.max_pause_s),
            )
            for phase in programme.phases
        ],
        allowed=fields.interval_message(programme.start, programme.end),
        follows="" if programme.follows is None else fields.device_name(microgrid, programme.follows),
        min_delay_duration=_duration(programme.min_delay_s),
        max_delay_duration=None if programme.max_delay_s is None else Duration(seconds=programme.max_delay_s),
    )


def _vehicle_message(vehicle: Vehicle) -> pb.ElectricVehicle:
    return pb.ElectricVehicle(
        stay=fields.interval_message(vehicle.arrival, vehicle.departure),
        capacity_wh=vehicle.capacity_wh,
        stored_wh=vehicle.stored_wh,
        required_wh=vehicle.required_wh,
        levels=[pb.ChargingLevel(lower_w=level.lower_w, upper_w=level.upper_w) for level in vehicle.levels],
        max_discharge_w=vehicle.max_discharge_w,
        reserve_wh=vehicle.reserve_wh,
        charge_efficiency_ppm=vehicle.charge_efficiency_ppm,
        discharge_efficiency_ppm=vehicle.discharge_efficiency_ppm,
        cycle_cost_micro_per_kwh=vehicle.cycle_cost_micro_per_kwh,
    )


def _thermostat_message(thermostat: Thermostat) -> pb.Thermostat:
    return pb.Thermostat(
        rated_power_w=thermostat.rated_w,
        modulating=thermostat.modulating,
        min_power_w=thermostat.min_w,
        heat_capacity_wh_per_k=thermostat.heat_capacity_wh_per_k,
        loss_milli_w_per_k=thermostat.loss_milli_w_per_k,
        performance_ppm=thermostat.performance_ppm,
        ambient_milli_c=thermostat.ambient_milli_c,
        temperature_milli_c=thermostat.temperature_milli_c,
        lower_milli_c=thermostat.lower_milli_c,
        upper_milli_c=thermostat.upper_milli_c,
        comfort=[
            pb.ComfortPeriod(
                interval=fields.interval_message(period.start, period.end),
                lower_milli_c=period.lower_milli_c,
                upper_milli_c=period.upper_milli_c,
            )
            for period in thermostat.comfort
        ],
        min_on_duration=_duration(thermostat.min_on_s),
        min_off_duration=_duration(thermostat.min_off_s),
        discomfort_cost_micro_per_k_h=thermostat.discomfort_cost_micro_per_k_h,
        start_cost_micro=thermostat.start_cost_micro,
        hard_minimum_times=thermostat.hard_minimum_times,
    )


def _generator_message(generator: Generator) -> pb.Generator:
    return pb.Generator(
        min_power_w=generator.min_w,
        max_power_w=generator.max_w,
        quadratic_cost_micro_per_kw2_h=generator.quadratic_cost_micro_per_kw2_h,
        linear_cost_micro_per_kwh=generator.linear_cost_micro_per_kwh,
        running_cost_micro_per_h=generator.running_cost_micro_per_h,
        start_cost_micro=generator.start_cost_micro,
        min_up_duration=_duration(generator.min_up_s),
        min_down_duration=_duration(generator.min_down_s),
        hard_minimum_times=generator.hard_minimum_times,
    )


def _duration(seconds: int) -> Duration | None:
    return Duration(seconds=seconds) if seconds else None
