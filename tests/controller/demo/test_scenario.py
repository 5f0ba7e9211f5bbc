"""Who lives in a day: drawn from data and a seed, the same each time, and valid for the service."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.demo.catalogue import load_catalogue
from controller.demo.grid import ALIASES, DATA, load_grid
from controller.demo.scenario import MTUS, PARTNERS, SELLERS, Scenario, Tariff, build_scenario
from controller.errors import InputError
from controller.flexibility import Plant, Relay, Storage
from controller.wire import fields

Write = Callable[..., Path]

DAYS = ("2016-01-20", "2016-04-20", "2016-07-20", "2016-10-19")
CATALOGUE = load_catalogue(DATA / "appliances.json")
APPLIANCES = {appliance.name: appliance for appliance in CATALOGUE}
QUARTER_S = 900


@cache
def scenario_of(name: str = "rural1", day: str = DAYS[0], *, seed: int = 1, tariff: Tariff | None = None) -> Scenario:
    return build_scenario(load_grid(name, day), CATALOGUE, tariff or Tariff(), seed=seed)


shipped = pytest.mark.parametrize(("name", "day"), [(name, day) for name in ALIASES for day in DAYS])


def test_the_same_seed_draws_the_same_day() -> None:
    grid = load_grid("rural1", DAYS[0])
    assert build_scenario(grid, CATALOGUE, Tariff(), seed=7) == build_scenario(grid, CATALOGUE, Tariff(), seed=7)


def test_another_seed_draws_other_appliances_partners_and_errors() -> None:
    one, other = scenario_of(seed=1).participants, scenario_of(seed=2).participants
    assert [p.member for p in one] == [p.member for p in other]
    assert [p.load_w for p in one] == [p.load_w for p in other]
    assert [p.devices for p in one] != [p.devices for p in other]
    assert [p.partners for p in one] != [p.partners for p in other]
    assert [p.actual_load_w for p in one] != [p.actual_load_w for p in other]


def test_another_day_draws_other_errors_from_the_same_seed() -> None:
    one, other = scenario_of(day=DAYS[0]).participants, scenario_of(day=DAYS[1]).participants
    assert [p.partners for p in one] != [p.partners for p in other]


@shipped
def test_partners_are_mutual_few_and_never_oneself(name: str, day: str) -> None:
    participants = {p.member.id: p for p in scenario_of(name, day).participants}
    for id_, participant in participants.items():
        assert id_ not in participant.partners
        assert len(participant.partners) <= PARTNERS == 6
        for other, preference in participant.partners.items():
            assert id_ in participants[other].partners
            assert 0 <= preference <= 10_000


@shipped
def test_everybody_has_a_neighbour_to_trade_with_and_at_most_four_sellers_of_choice(name: str, day: str) -> None:
    participants = scenario_of(name, day).participants
    producers = {p.member.id for p in participants if any(not isinstance(d.flexibility, Relay) for d in p.devices)}
    for participant in participants:
        if participant.member.id not in producers:
            assert len(participant.partners) <= SELLERS == 4
            assert participant.partners.keys() <= producers
    alone = [p.member.id for p in participants if not p.partners]
    assert len(alone) < len(participants) / 2


@shipped
def test_the_day_runs_from_six_to_six_on_the_wall_clock(name: str, day: str) -> None:
    microgrid = scenario_of(name, day).microgrid
    zone = scenario_of(name, day).grid.time_zone
    start, end = (datetime.fromtimestamp(instant, zone) for instant in (microgrid.start, microgrid.end))
    assert start.isoformat()[:16] == f"{day}T06:00"
    assert (end.hour, end.minute, (end.date() - start.date()).days) == (6, 0, 1)
    assert len(microgrid.mtus(microgrid.start, microgrid.end)) == MTUS == 96
    assert len(microgrid.windows()) == 24


@shipped
def test_each_appliance_may_run_in_its_own_hours_inside_the_day(name: str, day: str) -> None:
    scenario = scenario_of(name, day)
    count = 0
    for participant in scenario.participants:
        for device in participant.devices:
            if not isinstance(device.flexibility, Relay):
                continue
            relay, appliance = device.flexibility, APPLIANCES[participant.names[device.id]]
            count += 1
            assert appliance.flexible
            assert scenario.microgrid.start <= relay.start < relay.end <= scenario.microgrid.end
            assert relay.required_s == appliance.minutes * 60 <= relay.end - relay.start
            assert relay.rated_w == appliance.power_w
            opens, closes = (datetime.fromtimestamp(at, scenario.grid.time_zone) for at in (relay.start, relay.end))
            assert opens.hour * 60 + opens.minute == appliance.from_minute
            assert closes.hour * 60 + closes.minute == appliance.to_minute % 1440
    assert count >= 20


def test_only_houses_own_appliances() -> None:
    for participant in scenario_of("rural3").participants:
        relays = [device for device in participant.devices if isinstance(device.flexibility, Relay)]
        if relays:
            assert re.match(r"H0|L[012]|G\d", participant.profile)


@shipped
def test_every_plant_and_battery_belongs_to_one_member(name: str, day: str) -> None:
    scenario = scenario_of(name, day)
    kinds = [type(device.flexibility) for p in scenario.participants for device in p.devices]
    assert kinds.count(Plant) == len(scenario.grid.plants)
    assert kinds.count(Storage) == len(scenario.grid.stores)


@shipped
def test_ids_are_those_that_the_service_accepts(name: str, day: str) -> None:
    scenario = scenario_of(name, day)
    assert scenario.microgrid.id == f"lv-{name}"
    assert fields.identifier("microgrid", scenario.microgrid.id)
    ids = [device.id for p in scenario.participants for device in p.devices]
    assert len(set(ids)) == len(ids)
    for participant in scenario.participants:
        assert fields.identifier("member", participant.member.id)
        assert fields.identifier("key", f"order-{participant.member.id}")
        assert fields.identifier("section", participant.member.section)
        for device in participant.devices:
            member, _, own = device.id.partition("/")
            assert member == participant.member.id == device.member
            assert fields.identifier("device", own)
            assert fields.request_id(f"device-{device.id.replace('/', '-')}")


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("1-LV-rural1--2-sw", "lv-rural1"),
        ("Ünterdorf", "nterdorf"),
        ("20kV", "microgrid-20kv"),
        ("---", "microgrid"),
        ("7", "microgrid"),
        ("n" * 200, "n" * 63),
        ("<b>&", "b"),
        ("x/../y", "x-y"),
    ],
)
def test_any_name_of_a_grid_gives_an_id_that_the_service_accepts(name: str, id_: str) -> None:
    grid = replace(load_grid("rural1", None), name=name)
    assert build_scenario(grid, (), Tariff(), seed=1).microgrid.id == id_
    assert fields.identifier("microgrid", id_)


def test_forecast_and_truth_cover_the_day_and_differ_a_little() -> None:
    for participant in scenario_of().participants:
        assert len(participant.load_w) == len(participant.actual_load_w) == MTUS
        assert min(participant.actual_load_w) >= 0
        for device, series in participant.available_w.items():
            actual = participant.actual_available_w[device]
            rated = next(d.flexibility for d in participant.devices if d.id == device)
            assert isinstance(rated, Plant)
            assert len(series) == len(actual) == MTUS
            assert 0 <= min(actual) <= max(actual) <= rated.rated_w
    forecast = sum(sum(p.load_w) for p in scenario_of().participants)
    actual = sum(sum(p.actual_load_w) for p in scenario_of().participants)
    assert forecast != actual
    assert abs(forecast - actual) < 0.1 * forecast


def test_the_profiles_are_those_of_the_hours_after_six() -> None:
    grid = load_grid("rural1", DAYS[2])
    for participant in scenario_of(day=DAYS[2]).participants:
        assert participant.load_w == grid.load_w[participant.member.id][24:120]


@pytest.mark.parametrize(
    ("first", "last", "peak_hours"),
    [(13, 23, set(range(13, 23))), (0, 24, set(range(24))), (12, 12, set()), (0, 1, {0}), (23, 24, {23})],
)
def test_the_peak_price_holds_in_the_peak_hours_of_the_wall_clock(first: int, last: int, peak_hours: set[int]) -> None:
    scenario = scenario_of(tariff=Tariff(peak_from_hour=first, peak_to_hour=last))
    dear = set()
    for period in scenario.microgrid.tariff:
        assert period.import_price_micro_per_kwh in {95_000, 60_000}
        assert period.export_price_micro_per_kwh == 39_000
        if period.import_price_micro_per_kwh == 95_000:
            dear.add(datetime.fromtimestamp(period.start, scenario.grid.time_zone).hour)
    assert dear == peak_hours


def test_the_tariff_covers_the_day_without_gap_or_overlap() -> None:
    microgrid = scenario_of().microgrid
    edges = [period.start for period in microgrid.tariff] + [microgrid.tariff[-1].end]
    assert edges == list(range(microgrid.start, microgrid.end + 1, 3600))


@pytest.mark.parametrize("name", ["export", "peak", "off_peak", "network_charge"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -0.001, 100.1])
def test_a_price_out_of_bounds_is_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=rf": got {value}, wanted 0 to 100 per kWh"):
        Tariff(**{name: value})


@pytest.mark.parametrize(
    ("prices", "accepted"),
    [
        ({"export": 0.06}, True),
        ({"export": 0.0601}, False),
        ({"export": 0.1, "off_peak": 0.2}, False),
        ({"export": 0.095, "off_peak": 0.2}, True),
        ({"export": 0, "peak": 0, "off_peak": 0}, True),
    ],
)
def test_an_export_price_above_an_import_price_is_refused(prices: dict[str, float], accepted: bool) -> None:
    if accepted:
        assert Tariff(**prices).export == prices["export"]  # type: ignore[arg-type]
    else:
        with pytest.raises(InputError, match=r"--export-price: got .* wanted at most the import price"):
            Tariff(**prices)  # type: ignore[arg-type]


@given(first=st.integers(-2, 26), last=st.integers(-2, 26))
def test_peak_hours_are_hours_of_a_day_in_order(first: int, last: int) -> None:
    if 0 <= first <= last <= 24:
        assert Tariff(peak_from_hour=first, peak_to_hour=last).peak_to_hour == last
    else:
        with pytest.raises(InputError, match="--peak-hours: got"):
            Tariff(peak_from_hour=first, peak_to_hour=last)


@pytest.mark.parametrize(
    ("row", "left"),
    [
        ({"from": "04:00", "to": "08:00", "hours": 2.25}, "2"),
        ({"from": "00:00", "to": "06:00", "hours": 0.25}, "0"),
        ({"from": "00:00", "to": "24:00", "hours": 24}, "18"),
    ],
)
def test_an_appliance_whose_hours_do_not_fit_between_six_and_six_is_refused(
    write: Write, row: dict[str, object], left: str
) -> None:
    catalogue = load_catalogue(write("catalogue", lambda content: content["appliances"][0].update(row)))
    with pytest.raises(InputError) as caught:
        build_scenario(load_grid("rural1", None), catalogue, Tariff(), seed=1)
    assert str(caught.value).startswith(f"appliance 'water heater': got {row['hours']:g} hours")
    assert f"wanted at most the {left} hours of its window" in str(caught.value)


def test_an_appliance_with_the_id_of_a_plant_is_refused(write: Write) -> None:
    def rename(extract: Any) -> None:
        extract["pv"][0]["id"] = "water-heater"
        profiles = extract["days"]["2016-07-20"]["pv_w"]
        profiles["water-heater"] = profiles.pop("roof")

    catalogue = load_catalogue(write("catalogue"))
    with pytest.raises(InputError, match="'water heater': got the id of a plant or battery of anna, wanted another"):
        build_scenario(load_grid(str(write("grid", rename)), None), catalogue, Tariff(), seed=1)


def test_shares_of_none_and_all_are_kept(write: Write) -> None:
    grid = load_grid(str(write("grid")), None)
    for share, owners in ((0.0, 0), (1.0, 3)):
        path = write("catalogue", lambda content, share=share: content["appliances"][0].update(share=share))
        devices = [
            d for p in build_scenario(grid, load_catalogue(path), Tariff(), seed=1).participants for d in p.devices
        ]
        assert sum(isinstance(device.flexibility, Relay) for device in devices) == owners


def test_a_battery_loses_its_stated_share_on_the_round_trip(write: Write) -> None:
    scenario = build_scenario(load_grid(str(write("grid")), None), (), Tariff(), seed=1)
    battery = next(
        d.flexibility for p in scenario.participants for d in p.devices if isinstance(d.flexibility, Storage)
    )
    stated = json.loads(write("grid").read_text())["storages"][0]["efficiency"]
    round_trip = battery.charge_efficiency_ppm * battery.discharge_efficiency_ppm / 10**12
    assert round_trip == pytest.approx(stated, abs=1e-5)
    assert battery.stored_wh == battery.final_wh == battery.capacity_wh // 2
