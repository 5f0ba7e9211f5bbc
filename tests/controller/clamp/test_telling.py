"""What a device is told under a cap, and which powers it can run at."""

import pytest

from controller.clamp import Ability, Cap, Level, Planned, ability_of, capped
from controller.errors import InputError
from controller.flexibility import (
    ChargingLevel,
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
from controller.microgrid import SetpointKind
from tests.controller.flexibility_cases import vehicle

RELAY = Ability(consumption=(Level(min_w=3_000, max_w=3_000),))
CHARGER = Ability(
    consumption=(Level(min_w=1_380, max_w=3_680), Level(min_w=4_140, max_w=11_000)),
    production=(Level(min_w=0, max_w=5_000),),
)


@pytest.mark.parametrize(
    ("ability", "kind", "value", "most", "told"),
    [
        (RELAY, SetpointKind.RELAY, 1, (3_000, None), 1),
        (RELAY, SetpointKind.RELAY, 1, (2_999, None), 0),
        (RELAY, SetpointKind.RELAY, 1, (None, 0), 1),
        (RELAY, SetpointKind.RELAY, 0, (0, 0), 0),
        (CHARGER, SetpointKind.POWER, 9_000, (None, 0), 9_000),
        (CHARGER, SetpointKind.POWER, 9_000, (9_000, None), 9_000),
        (CHARGER, SetpointKind.POWER, 9_000, (5_000, None), 5_000),
        (CHARGER, SetpointKind.POWER, 9_000, (4_139, None), 3_680),
        (CHARGER, SetpointKind.POWER, 9_000, (1_379, None), 0),
        (CHARGER, SetpointKind.POWER, 3_000, (5_000, None), 3_000),
        (CHARGER, SetpointKind.POWER, 4_000, (3_999, None), 3_680),
        (CHARGER, SetpointKind.POWER, -4_000, (0, None), -4_000),
        (CHARGER, SetpointKind.POWER, -4_000, (None, 1_234), -1_234),
        (CHARGER, SetpointKind.PRODUCTION_LIMIT, 4_000, (None, 0), 0),
        (CHARGER, SetpointKind.PRODUCTION_LIMIT, 4_000, (0, 4_500), 4_000),
    ],
)
def test_a_device_is_told_the_most_of_its_plan_that_it_can_do_under_the_cap(
    ability: Ability, kind: SetpointKind, value: int, most: tuple[int | None, int | None], told: int
) -> None:
    cap = Cap(max_consumption_w=most[0], max_production_w=most[1])
    assert capped(Planned(kind=kind, value=value), cap, ability) == Planned(kind=kind, value=told)


@pytest.mark.parametrize(
    ("flexibility", "consumption", "production"),
    [
        (Relay(rated_w=2_000, start=0, end=1, required_s=1), ((2_000, 2_000),), ()),
        (Plant(rated_w=8_000), (), ((0, 8_000),)),
        (Generator(min_w=500, max_w=2_000), (), ((500, 2_000),)),
        (Programme(phases=(Phase(power_w=(100, 900)), Phase(power_w=(400,))), start=0, end=1), ((900, 900),), ()),
        (
            Storage(
                max_charge_w=3_000,
                max_discharge_w=2_500,
                capacity_wh=1,
                stored_wh=0,
                final_wh=0,
                charge_efficiency_ppm=900_000,
                discharge_efficiency_ppm=900_000,
                cycle_cost_micro_per_kwh=0,
            ),
            ((0, 3_000),),
            ((0, 2_500),),
        ),
        (
            Vehicle(
                arrival=0,
                departure=1,
                capacity_wh=1,
                stored_wh=0,
                required_wh=0,
                levels=(ChargingLevel(lower_w=1_380, upper_w=3_680), ChargingLevel(lower_w=4_140, upper_w=11_000)),
                charge_efficiency_ppm=900_000,
                discharge_efficiency_ppm=900_000,
                max_discharge_w=5_000,
            ),
            ((1_380, 3_680), (4_140, 11_000)),
            ((0, 5_000),),
        ),
    ],
)
def test_every_kind_has_its_powers(
    flexibility: Flexibility, consumption: tuple[tuple[int, int], ...], production: tuple[tuple[int, int], ...]
) -> None:
    found = ability_of(flexibility)
    assert tuple((level.min_w, level.max_w) for level in found.consumption) == consumption
    assert tuple((level.min_w, level.max_w) for level in found.production) == production
    assert found.max_consumption_w == max((most for _, most in consumption), default=0)
    assert found.max_production_w == max((most for _, most in production), default=0)


@pytest.mark.parametrize(
    ("levels", "powers"),
    [
        (((0, 1_380), (1_380, 3_680)), ((0, 3_680),)),
        (((1_380, 1_380), (1_380, 3_680), (3_680, 3_680), (4_140, 11_000)), ((1_380, 3_680), (4_140, 11_000))),
    ],
)
def test_charging_levels_that_touch_are_one(
    levels: tuple[tuple[int, int], ...], powers: tuple[tuple[int, int], ...]
) -> None:
    car = vehicle(0, 1, levels=tuple(ChargingLevel(lower_w=lower, upper_w=upper) for lower, upper in levels))
    assert tuple((level.min_w, level.max_w) for level in ability_of(car).consumption) == powers


@pytest.mark.parametrize(("modulating", "least"), [(False, 1_500), (True, 300)])
def test_a_thermostat_runs_at_its_rated_power_unless_it_modulates(modulating: bool, least: int) -> None:
    thermostat = Thermostat(
        rated_w=1_500,
        min_w=300,
        modulating=modulating,
        heat_capacity_wh_per_k=1,
        loss_milli_w_per_k=1,
        performance_ppm=1,
        ambient_milli_c=0,
        temperature_milli_c=0,
        lower_milli_c=0,
        upper_milli_c=1,
    )
    assert ability_of(thermostat).consumption == (Level(min_w=least, max_w=1_500),)


@pytest.mark.parametrize("ends", [(-1, 0), (2, 1), (0, 10**9 + 1)])
def test_a_level_that_cannot_be_is_refused(ends: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="level: got"):
        Level(min_w=ends[0], max_w=ends[1])


def test_levels_that_overlap_are_refused() -> None:
    with pytest.raises(InputError, match=r"ability.production: got .* wanted ascending"):
        Ability(production=(Level(min_w=0, max_w=10), Level(min_w=10, max_w=20)))
