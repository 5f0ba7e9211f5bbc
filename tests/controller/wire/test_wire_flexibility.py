from dataclasses import replace

import pytest
from google.protobuf.duration_pb2 import Duration

from controller.microgrid import Device
from controller.refusals import Refusal
from controller.wire import fields
from controller.wire.flexibility import read_device
from controller.wire.flexibility_message import flexibility_message
from gridpact.v1 import participant_pb2
from tests.controller.flexibility_cases import controls

MTU_S = 900
START = 1_772_431_200
END = START + 86_400
KINDS = controls(START, END)


def message_of(flexibility):
    return flexibility_message("village", Device(id="ada/thing", member="ada", flexibility=flexibility))


def read(message):
    return read_device(participant_pb2.Flexibility.FromString(message.SerializeToString()), mtu_seconds=MTU_S)


def refused(message):
    with pytest.raises(Refusal) as caught:
        read(message)
    (violation,) = caught.value.violations
    return violation.field


@pytest.mark.parametrize("control", KINDS)
def test_each_kind_is_read_as_it_was_written(control):
    message = message_of(KINDS[control])
    assert message.WhichOneof("control") == control
    assert read(message) == ("village", Device(id="ada/thing", member="ada", flexibility=KINDS[control]))


def test_every_kind_of_control_is_covered():
    known = {field.name for field in participant_pb2.Flexibility.DESCRIPTOR.oneofs_by_name["control"].fields}
    assert set(KINDS) == known


def test_what_is_absent_has_no_limit():
    for limit in (None, 0):
        relay = replace(KINDS["operation_mode"], max_starts_per_day=limit)
        assert read(message_of(relay))[1].flexibility.max_starts_per_day == limit
    programme = replace(KINDS["power_profile"], follows=None, max_delay_s=None)
    assert read(message_of(programme))[1].flexibility == programme


def test_a_pause_that_has_no_longest_is_the_shortest():
    message = message_of(KINDS["power_profile"])
    message.power_profile.phases[1].ClearField("max_pause_duration")
    assert read(message)[1].flexibility.phases[1].max_pause_s == 900


@pytest.mark.parametrize(
    ("control", "field", "value"),
    [
        ("operation_mode", "max_starts_per_day", -1),
        ("operation_mode", "min_on_duration", Duration(seconds=-1)),
        ("operation_mode", "min_off_duration", Duration(seconds=604_801)),
        ("fill_rate", "self_discharge_ppm_per_hour", 1_000_000),
        ("fill_rate", "reserve_wh", 4001),
        ("fill_rate", "final_value_micro_per_kwh", -1),
        ("power_envelope", "curtailment_cost_micro_per_kwh", -1),
        ("power_profile", "follows", "microgrids/village/members/bob/devices/washer"),
        ("power_profile", "follows", "microgrids/village/members/ada/devices/thing"),
        ("power_profile", "min_delay_duration", Duration(seconds=1)),
        ("power_profile", "max_delay_duration", Duration(seconds=0)),  # below the shortest
        ("electric_vehicle", "capacity_wh", 0),
        ("electric_vehicle", "stored_wh", 40_001),
        ("electric_vehicle", "required_wh", 40_001),
        ("electric_vehicle", "reserve_wh", 40_001),
        ("electric_vehicle", "charge_efficiency_ppm", 0),
        ("electric_vehicle", "max_discharge_w", -1),
        ("thermostat", "rated_power_w", 0),
        ("thermostat", "min_power_w", 2001),
        ("thermostat", "performance_ppm", 0),
        ("thermostat", "heat_capacity_wh_per_k", 0),
        ("thermostat", "loss_milli_w_per_k", -1),
        ("thermostat", "temperature_milli_c", 10**6 + 1),
        ("thermostat", "lower_milli_c", -3999),
        ("generator", "max_power_w", 999),
        ("generator", "quadratic_cost_micro_per_kw2_h", -1),
        ("generator", "linear_cost_micro_per_kwh", 10**9 + 1),
    ],
)
def test_a_number_out_of_range_is_named(control, field, value):
    message = message_of(KINDS[control])
    part = getattr(message, control)
    if isinstance(value, Duration):
        getattr(part, field).CopyFrom(value)
    else:
        setattr(part, field, value)
    wanted = "min_power_w" if field == "max_power_w" else field
    assert refused(message) == f"flexibility.{control}.{wanted}"


def test_only_what_modulates_has_a_least_power():
    message = message_of(KINDS["thermostat"])
    message.thermostat.modulating = False
    assert refused(message) == "flexibility.thermostat.min_power_w"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda p: p.ClearField("phases"), "phases"),
        (lambda p: p.phases.extend([p.phases[0]] * 15), "phases"),
        (lambda p: p.phases[0].ClearField("power_w"), "phases[0].power_w"),
        (lambda p: p.phases[0].power_w.extend([1] * 191), "phases[0].power_w"),
        (lambda p: p.phases[0].power_w.append(0), "phases[0].power_w[2]"),
        (lambda p: p.phases[1].min_pause_duration.FromSeconds(901), "phases[1].min_pause_duration"),
        (lambda p: p.phases[1].max_pause_duration.FromSeconds(0), "phases[1].max_pause_duration"),
        (lambda p: p.allowed.CopyFrom(fields.interval_message(START, START + 3 * MTU_S)), "phases"),
    ],
    ids=["none", "too many", "empty", "long", "a stretch without power", "part of an MTU", "max below min", "no room"],
)
def test_a_profile_that_cannot_be_run_is_named(change, field):
    message = message_of(KINDS["power_profile"])
    change(message.power_profile)
    assert refused(message) == f"flexibility.power_profile.{field}"


@pytest.mark.parametrize(
    ("levels", "field"),
    [
        ([], "levels"),
        ([(0, 1)] * 9, "levels"),
        ([(2000, 1000)], "levels[0].upper_w"),
        ([(0, 0)], "levels[0].upper_w"),
        ([(0, 2000), (1999, 3000)], "levels[1].lower_w"),
        ([(-1, 2000)], "levels[0].lower_w"),
    ],
)
def test_charging_levels_ascend_without_overlap(levels, field):
    message = message_of(KINDS["electric_vehicle"])
    message.electric_vehicle.ClearField("levels")
    for lower, upper in levels:
        message.electric_vehicle.levels.add(lower_w=lower, upper_w=upper)
    assert refused(message) == f"flexibility.electric_vehicle.{field}"


def test_comfort_periods_do_not_overlap():
    message = message_of(KINDS["thermostat"])
    message.thermostat.comfort.add(interval=fields.interval_message(END - 900, END + 900))
    assert refused(message) == "flexibility.thermostat.comfort[1].interval"
