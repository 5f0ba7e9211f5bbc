import json

import pytest

from controller.flexibility import (
    ChargingLevel,
    ComfortPeriod,
    Generator,
    Phase,
    Plant,
    Programme,
    Relay,
    Storage,
    Thermostat,
    Vehicle,
    from_plain,
    to_plain,
)

STORAGE = Storage(
    max_charge_w=2000,
    max_discharge_w=1800,
    capacity_wh=3000,
    stored_wh=1000,
    final_wh=1200,
    charge_efficiency_ppm=950_000,
    discharge_efficiency_ppm=930_000,
    cycle_cost_micro_per_kwh=1000,
    reserve_wh=300,
)
KINDS = [
    Relay(rated_w=1500, start=0, end=7200, required_s=2700, min_on_s=900, max_starts_per_day=2),
    STORAGE,
    Plant(rated_w=4000, curtailment_cost_micro_per_kwh=7),
    Programme(
        phases=(Phase(power_w=(2000, 400)), Phase(power_w=(300,), min_pause_s=900, max_pause_s=1800)),
        start=0,
        end=7200,
        follows="ada/washer",
        max_delay_s=3600,
    ),
    Vehicle(
        arrival=0,
        departure=7200,
        capacity_wh=40_000,
        stored_wh=1000,
        required_wh=20_000,
        levels=(ChargingLevel(lower_w=1380, upper_w=3680), ChargingLevel(lower_w=4140, upper_w=11_040)),
        charge_efficiency_ppm=920_000,
        discharge_efficiency_ppm=920_000,
    ),
    Thermostat(
        rated_w=2000,
        heat_capacity_wh_per_k=175,
        loss_milli_w_per_k=2000,
        performance_ppm=-2_500_000,
        ambient_milli_c=18_000,
        temperature_milli_c=55_000,
        lower_milli_c=48_000,
        upper_milli_c=65_000,
        comfort=(ComfortPeriod(start=0, end=900, lower_milli_c=-1, upper_milli_c=1),),
    ),
    Generator(min_w=1000, max_w=4000, linear_cost_micro_per_kwh=-5),
]


@pytest.mark.parametrize("flexibility", KINDS, ids=lambda f: type(f).__name__)
def test_each_kind_comes_back_from_json_as_it_was(flexibility):
    again = from_plain(json.loads(json.dumps(to_plain(flexibility))))
    assert again == flexibility
    assert hash(again) == hash(flexibility)  # tuples all the way down


def test_what_an_earlier_version_wrote_is_read_with_defaults():
    relay = from_plain({"kind": "Relay", "rated_w": 1, "start": 2, "end": 3, "required_s": 4})
    assert relay == Relay(rated_w=1, start=2, end=3, required_s=4, min_on_s=0, min_off_s=0, max_starts_per_day=None)
    older = {name: value for name, value in to_plain(STORAGE).items() if name not in {"reserve_wh"}}
    assert from_plain(older).reserve_wh == 0


def test_a_programmes_profile_is_that_of_its_phases_without_the_pauses():
    assert KINDS[3].profile_w == (2000, 400, 300)
