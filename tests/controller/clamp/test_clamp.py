"""The clamp in cases worked out by hand."""

from dataclasses import replace

import pytest

from controller.clamp import (
    Ability,
    Cap,
    Curtailment,
    Device,
    Level,
    Margin,
    Planned,
    Policy,
    Scope,
    Situation,
    Span,
    clamp,
)
from controller.microgrid import SetpointKind

BATTERY = Ability(consumption=(Level(min_w=0, max_w=5_000),), production=(Level(min_w=0, max_w=5_000),))
BOILER = Ability(consumption=(Level(min_w=3_000, max_w=3_000),))
CHARGER = Ability(consumption=(Level(min_w=1_380, max_w=11_000),))
PLANT = Ability(production=(Level(min_w=0, max_w=8_000),))
CLOSED = Planned(kind=SetpointKind.RELAY, value=1)


def power(value: int) -> Planned:
    return Planned(kind=SetpointKind.POWER, value=value)


def home(
    *devices: Device, upper_w: int | None = None, lower_w: int | None = None, measured_w: int | None = 0
) -> Situation:
    scope = Scope(name="m", parent=None, upper_w=upper_w, lower_w=lower_w, measured_w=measured_w)
    return Situation(scopes=(scope,), devices=devices)


def charger(id_: str = "car", value: int = 11_000, measured_w: int | None = 0, **more: object) -> Device:
    return Device(id=id_, scope="m", ability=CHARGER, planned=power(value), measured_w=measured_w, **more)  # type: ignore[arg-type]


def boiler(id_: str = "boiler", measured_w: int | None = 0, **more: object) -> Device:
    return Device(id=id_, scope="m", ability=BOILER, planned=CLOSED, measured_w=measured_w, **more)  # type: ignore[arg-type]


def battery(value: int, measured_w: int | None = 0) -> Device:
    return Device(id="battery", scope="m", ability=BATTERY, planned=power(value), measured_w=measured_w)


def consumption(found: Curtailment) -> dict[str, int | None]:
    return {id_: None if cap is None else cap.max_consumption_w for id_, cap in found.caps.items()}


def production(found: Curtailment) -> dict[str, int | None]:
    return {id_: None if cap is None else cap.max_production_w for id_, cap in found.caps.items()}


def test_what_uncontrolled_power_and_the_margin_leave_is_what_devices_may_draw() -> None:
    found = clamp(home(charger(), upper_w=9_000, measured_w=2_000), margin=Margin(fixed_w=100, share_ppm=50_000))
    assert found.caps == {"car": Cap(max_consumption_w=6_800, max_production_w=None, binding=("m",))}


def test_a_plan_that_fits_is_not_capped() -> None:
    found = clamp(home(charger(), upper_w=13_000, measured_w=2_000))
    assert found.caps == {"car": None}
    assert not found.scopes["m"].binds_upper


def test_a_device_that_fits_is_capped_at_its_plan_where_others_had_to_give() -> None:
    found = clamp(home(boiler(), charger(), upper_w=6_000))
    assert consumption(found) == {"boiler": 3_000, "car": 3_000}


def test_a_relay_that_does_not_fit_is_off_and_its_room_is_given_back() -> None:
    assert consumption(clamp(home(boiler(), charger(), upper_w=2_900))) == {"boiler": 0, "car": 2_900}


def test_a_relay_is_on_or_off_whatever_levels_its_device_has() -> None:
    levels = Ability(consumption=(Level(min_w=1_000, max_w=1_000), Level(min_w=2_000, max_w=2_000)))
    device = Device(id="heater", scope="m", ability=levels, planned=CLOSED, measured_w=0)
    assert consumption(clamp(home(device, upper_w=1_999))) == {"heater": 0}
    assert consumption(clamp(home(replace(device, planned=power(2_000)), upper_w=1_999))) == {"heater": 1_000}


def test_a_charger_below_its_least_power_is_off() -> None:
    assert consumption(clamp(home(charger(), upper_w=1_379))) == {"car": 0}
    assert consumption(clamp(home(charger(), upper_w=1_380))) == {"car": 1_380}


def test_the_lower_priority_gives_first() -> None:
    devices = charger(priority=5), boiler(priority=1)
    assert consumption(clamp(home(*devices, upper_w=12_000), policy=Policy.PRIORITY)) == {"car": 11_000, "boiler": 0}
    assert consumption(clamp(home(*devices, upper_w=12_000))) == {"car": 9_000, "boiler": 3_000}


def test_a_lower_limit_cuts_feed_in_only() -> None:
    limit = Planned(kind=SetpointKind.PRODUCTION_LIMIT, value=8_000)
    plant = Device(id="roof", scope="m", ability=PLANT, planned=limit, measured_w=-7_000)
    found = clamp(home(plant, charger(), lower_w=-4_000, measured_w=-6_500))
    assert production(found) == {"roof": 4_500, "car": 0}
    assert consumption(found) == {"roof": None, "car": None}


def test_measured_discharge_makes_room_for_a_charger_planned_discharge_does_not() -> None:
    assert clamp(home(charger(), battery(-5_000, -5_000), upper_w=6_000, measured_w=-5_000)).caps["car"] is None
    assert consumption(clamp(home(charger(), battery(-5_000, 0), upper_w=6_000)))["car"] == 6_000
    assert (
        consumption(clamp(home(charger(), battery(-2_000, -5_000), upper_w=6_000, measured_w=-5_000)))["car"] == 8_000
    )


def test_a_discharge_that_a_lower_limit_forbids_makes_no_room() -> None:
    outer = Scope(name="m", parent=None, upper_w=6_000, measured_w=-5_000)
    inner = Scope(name="h", parent="m", lower_w=-1_000, measured_w=-5_000)
    device = Device(id="battery", scope="h", ability=BATTERY, planned=power(-5_000), measured_w=-5_000)
    found = clamp(Situation(scopes=(outer, inner), devices=(charger(), device)))
    assert production(found)["battery"] == 1_000
    assert consumption(found)["car"] == 7_000


def test_a_stale_charger_leaves_its_scope_at_its_worst_case() -> None:
    scope = Scope(name="m", parent=None, upper_w=9_000, measured_w=500, uncontrolled=Span(low_w=-2_000, high_w=4_000))
    found = clamp(Situation(scopes=(scope,), devices=(charger(measured_w=None),)))
    assert consumption(found) == {"car": 5_000}
    assert found.scopes["m"].uncontrolled == Span(low_w=-2_000, high_w=4_000)


def test_a_hard_minimum_time_leaves_the_rest_to_others_and_the_excess_is_told_with_its_end() -> None:
    running = boiler("pump", 3_000, controllable=False, ends=1_700.0)
    found = clamp(home(running, charger(measured_w=1_000), upper_w=2_000, measured_w=4_500))
    assert found.caps == {"car": Cap(max_consumption_w=0, max_production_w=None, binding=("m",))}
    outcome = found.scopes["m"]
    assert (outcome.excess_upper_w, outcome.excess_lower_w, outcome.ends) == (1_500, 0, 1_700.0)


def test_an_excess_that_no_known_end_cures_has_no_end() -> None:
    running = boiler("pump", 3_000, controllable=False, ends=1_700.0)
    assert clamp(home(running, upper_w=2_000, measured_w=8_500)).scopes["m"].ends is None


def test_several_ends_are_waited_for_until_they_are_enough() -> None:
    running = [boiler(f"pump{n}", 3_000, controllable=False, ends=float(n)) for n in (3, 1, 2)]
    assert clamp(home(*running, upper_w=4_000, measured_w=9_000)).scopes["m"].ends == 2.0


def test_what_is_within_the_margin_alone_is_no_excess() -> None:
    outcome = clamp(home(charger(), upper_w=2_000, measured_w=1_950), margin=Margin(fixed_w=100)).scopes["m"]
    assert (outcome.consumption_w, outcome.excess_upper_w, outcome.binds_upper) == (0, 0, True)


def test_a_device_outside_the_tight_section_is_left_alone() -> None:
    scopes = (
        Scope(name="m", parent=None, upper_w=20_000, measured_w=0),
        Scope(name="a", parent="m", upper_w=2_000, measured_w=0),
        Scope(name="b", parent="m", measured_w=0),
    )
    devices = tuple(
        Device(id=f"in {name}", scope=name, ability=CHARGER, planned=power(11_000), measured_w=0) for name in "ab"
    )
    found = clamp(Situation(scopes=scopes, devices=devices))
    assert found.caps == {"in a": Cap(max_consumption_w=2_000, max_production_w=None, binding=("a",)), "in b": None}


def test_both_scopes_that_bind_are_named_the_inner_first() -> None:
    scopes = (
        Scope(name="m", parent=None, upper_w=5_000, measured_w=0),
        Scope(name="a", parent="m", upper_w=2_000, measured_w=0),
    )
    devices = tuple(
        Device(id=f"in {name}", scope=name, ability=CHARGER, planned=power(11_000), measured_w=0) for name in "am"
    )
    found = clamp(Situation(scopes=scopes, devices=devices))
    assert found.caps["in a"] == Cap(max_consumption_w=2_000, max_production_w=None, binding=("a", "m"))
    assert found.caps["in m"] == Cap(max_consumption_w=3_000, max_production_w=None, binding=("m",))


def test_a_failsafe_that_draws_counts_as_a_plan() -> None:
    device = Device(id="car", scope="m", ability=CHARGER, failsafe_w=1_400, measured_w=1_400)
    assert consumption(clamp(home(device, upper_w=1_000, measured_w=1_400))) == {"car": 0}


def test_who_is_turned_off_changes_with_the_salt_and_nobody_is_favoured() -> None:
    devices = [boiler(f"boiler{n}") for n in range(3)]
    kept = [
        next(
            id_
            for id_, cap in clamp(home(*devices, upper_w=3_000), salt=str(n)).caps.items()
            if cap and cap.max_consumption_w
        )
        for n in range(300)
    ]
    assert all(60 <= kept.count(device.id) <= 140 for device in devices)


@pytest.mark.parametrize("upper_w", [-(10**15), 10**30])
def test_limits_beyond_all_power_do_no_harm(upper_w: int) -> None:
    cap = clamp(home(charger(), upper_w=upper_w)).caps["car"]
    assert cap == (None if upper_w > 0 else Cap(max_consumption_w=0, max_production_w=None, binding=("m",)))
