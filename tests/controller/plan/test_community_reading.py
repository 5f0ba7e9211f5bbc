"""What a community file says becomes a problem; what is wrong in it is said in one line."""

import io
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller.errors import InputError
from controller.plan.reading import read_community
from optimization.devices import ElectricVehicle, Interruptible, PowerRange, Programme, Thermostatic

Write = Callable[[Any], Path]

VEHICLE: dict[str, Any] = {
    **{"id": "a/car", "kind": "electric_vehicle", "capacity_kwh": 40, "initial_kwh": 10, "required_kwh": 20},
    "levels": [{"lower_kw": 1.4, "upper_kw": 3.7}, {"lower_kw": 4.2, "upper_kw": 11}],
}
WASHER: dict[str, Any] = {
    **{"id": "a/washer", "kind": "programme", "phases": [{"power_kw": [2, 1]}, {"power_kw": 0.5, "mtus": 2}]},
    "progress": {"phase": 0, "elapsed_mtus": 1},
}
HEATER: dict[str, Any] = {
    **{"id": "a/heater", "kind": "thermostatic", "rated_kw": 2, "heat_capacity_kwh_per_k": 0.2},
    **{"loss_kw_per_k": 0.002, "performance": 1, "ambient_c": 18, "draw_kw": 0, "initial_c": 55},
    **{"lower_c": {"periods": [{"from": "17:00", "to": "19:00", "value": 50}], "otherwise": 45}, "upper_c": 65},
}
POOL: dict[str, Any] = {"id": "a/pool", "kind": "interruptible", "power_kw": 1, "required_mtus": 2}


def test_devices_are_read_with_their_own_defaults(small: dict[str, Any], write: Write) -> None:
    small["peers"][0]["devices"] += [VEHICLE, WASHER, HEATER]
    community = read_community(str(write(small))).community
    pump, car, washer, heater = community.peers[0].devices[2:]
    assert isinstance(pump, Interruptible)
    assert (pump.first_mtu, pump.end_mtu, pump.max_starts, pump.min_on_mtus) == (0, 6, None, 1)
    assert isinstance(car, ElectricVehicle)
    assert car.levels == (PowerRange(lower_kw=1.4, upper_kw=3.7), PowerRange(lower_kw=4.2, upper_kw=11))
    assert (car.arrival_mtu, car.departure_mtu, car.charge_efficiency) == (0, 6, 0.92)
    assert isinstance(washer, Programme)
    assert [phase.power_kw.tolist() for phase in washer.phases] == [[2, 1], [0.5, 0.5]]
    assert washer.progress is not None
    assert washer.progress.paused_mtus == 0
    assert isinstance(heater, Thermostatic)
    assert heater.lower_c.tolist() == [45, 50, 50, 45, 45, 45]


def test_the_whole_community_is_read(small: dict[str, Any], write: Write) -> None:
    small |= {"planned_kw": {"a/pump": [0, 0, 0, 1, 1, 0]}, "change_price": 0.02, "currency": "CHF"}
    given = read_community(str(write(small)))
    community = given.community
    assert (given.id, given.currency, given.document) == ("small", "CHF", small)
    assert community.tariff.import_price.tolist() == [0.3, 0.3, 0.3, 0.2, 0.2, 0.3]
    assert [(link.seller, link.buyer, link.network_charge) for link in community.links] == [
        ("a", "b", 0.01),
        ("b", "a", 0.01),
    ]
    (envelope,) = community.envelopes
    assert (envelope.name, envelope.peers) == ("connection point", {"a", "b"})
    assert (envelope.upper_kw.tolist(), envelope.lower_kw.tolist()) == ([3] * 6, [-math.inf] * 6)
    assert community.change_price == 0.02
    assert community.planned_kw["a/pump"].tolist() == [0, 0, 0, 1, 1, 0]


@pytest.mark.parametrize(
    ("start", "window", "mtus"),
    [
        ("2026-03-28T20:00:00Z", {"first": "23:00", "end": "02:30"}, (2, 5)),
        ("2026-03-28T20:00:00Z", {"first": "02:30", "end": "06:00"}, (5, 8)),
        ("2026-03-28T20:00:00Z", {"first": "02:00", "end": "03:00"}, (5, 5)),
        ("2026-03-28T20:00:00Z", {"first": "02:10+1", "end": "02:40+1"}, (5, 5)),
        ("2026-10-24T20:00:00Z", {"first": "23:00", "end": "02:30"}, (1, 4)),
        ("2026-10-24T20:00:00Z", {"first": "02:00", "end": "03:00"}, (4, 6)),
    ],
)
def test_windows_that_end_while_the_clocks_change_are_read(
    small: dict[str, Any], write: Write, start: str, window: dict[str, str], mtus: tuple[int, int]
) -> None:
    small["horizon"] |= {"start": start, "mtus": 12}
    small["tariff"] = 0.3
    small["peers"][0]["devices"][1]["available_kw"] = 1
    small["peers"][0]["devices"][2] |= window
    pump = read_community(str(write(small))).community.peers[0].devices[2]
    assert isinstance(pump, Interruptible)
    assert (pump.first_mtu, pump.end_mtu) == mtus


@pytest.mark.parametrize(
    ("value", "series"),
    [
        (0.25, [0.25] * 6),
        ([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]),
        ("day", [1, 2, 3, 4, 5, 6]),
        ({"profile": "day"}, [1, 2, 3, 4, 5, 6]),
        ({"profile": "day", "times": 0.5}, [0.5, 1, 1.5, 2, 2.5, 3]),
        ({"periods": [{"from": "16:00", "to": "18:00", "value": 1}], "otherwise": 2}, [1, 1, 2, 2, 2, 2]),
        ({"periods": [{"from": "20:00", "to": "17:00", "value": 1}], "otherwise": 2}, [1, 2, 2, 2, 1, 1]),
        (
            {"periods": [{"from": "17:00", "to": "19:00", "value": 1}, {"from": "00:00", "to": "24:00", "value": 3}]},
            [3, 1, 1, 3, 3, 3],
        ),
    ],
)
def test_a_series_has_four_forms(small: dict[str, Any], write: Write, value: Any, series: list[float]) -> None:
    small["profiles"] = {"day": [1, 2, 3, 4, 5, 6]}
    small["peers"][1]["devices"][0]["power_kw"] = value
    device = read_community(str(write(small))).community.peers[1].devices[0]
    assert np.array_equal(getattr(device, "power_kw"), series)  # noqa: B009


@pytest.mark.parametrize(
    ("links", "pairs"),
    [
        ({"all_pairs": {"network_charge": 0.02}}, {("a", "b"), ("b", "a")}),
        ({"same_section": {}}, set()),
        ([{"seller": "b", "buyer": "a"}], {("b", "a")}),
        ([], set()),
    ],
)
def test_links_are_listed_or_compact(
    small: dict[str, Any], write: Write, links: Any, pairs: set[tuple[str, str]]
) -> None:
    small["links"] = links
    community = read_community(str(write(small))).community
    assert {(str(link.seller), str(link.buyer)) for link in community.links} == pairs


@pytest.mark.parametrize(
    ("target", "members"),
    [({"peer": "b"}, {"b"}), ({"section": "s"}, {"a"}), ({"peers": ["a", "b"]}, {"a", "b"})],
)
def test_an_envelope_has_one_target(
    small: dict[str, Any], write: Write, target: dict[str, Any], members: set[str]
) -> None:
    small["envelopes"] = [{**target, "lower_kw": [None, -1, -1, -1, -1, None]}]
    (envelope,) = read_community(str(write(small))).community.envelopes
    assert envelope.peers == members
    assert envelope.lower_kw.tolist() == [-math.inf, -1, -1, -1, -1, -math.inf]


def put(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(community: dict[str, Any]) -> None:
        place: Any = community
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


PUMP = ("peers", 0, "devices", 2)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (put("pears", value=1), "got field 'pears', wanted one of version"),
        (put("version", value=2), "version: got 2, wanted 1"),
        (put("version", value=True), "version: got True, wanted 1"),
        (put("horizon", "start", value="2026-03-18T15:00:00"), "horizon.start: got '2026-03-18T15:00:00', wanted"),
        (put("horizon", "start", value="2026-03-18T15:07:00Z"), "wanted a whole number of 60 minutes"),
        (put("horizon", "mtus", value=193), "horizon.mtus: got 193, wanted a whole number from 1 to 192"),
        (put("horizon", "mtu_minutes", value=10), "horizon.mtu_minutes: got 10, wanted one of 5, 15, 30, 60"),
        (put("horizon", "time_zone", value="Mars/Olympus"), "wanted an IANA time zone"),
        (put("tariff", value={"import_price": 0.1, "export_price": 0.2}), "wanted at most the import price"),
        (put("tariff", value="night"), "got 'night', wanted a number, a list, or one of the profiles (none)"),
        (put("peers", value=[]), "peers: got 0 peers, wanted 1 to 100000"),
        (put("peers", 1, "devices", 0, "id", value="a/pv"), "device a/pv: got 2 times, wanted once"),
        (put("peers", 1, "id", value="a\u0007"), "wanted a printable text"),
        (put(*PUMP, "kind", value="pump"), "peers[0].devices[2].kind: got 'pump', wanted one of fixed_load"),
        (put(*PUMP, "power", value=1), "got field 'power', wanted one of id, kind"),
        (put(*PUMP, "power_kw", value=-1), "peers[0].devices[2].power_kw: got -1, wanted a number from 0 to 1e+06"),
        (put(*PUMP, "power_kw", value="1"), "peers[0].devices[2].power_kw: got '1', wanted a number"),
        (put(*PUMP, "required_mtus", value=1.5), "peers[0].devices[2].required_mtus: got 1.5, wanted a whole number"),
        (put(*PUMP, "required_mtus", value=None), "peers[0].devices[2].required_mtus: got None, wanted a whole number"),
        (put(*PUMP, "running", value=0), "peers[0].devices[2].running: got 0, wanted true or false"),
        (put(*PUMP, "end_mtu", value=7), "peers[0].devices[2].end_mtu: got 7, wanted a whole number from 0 to 6"),
        (put(*PUMP, "first", value="8 pm"), "peers[0].devices[2].first: got '8 pm', wanted a local time"),
        (put("peers", 0, "devices", 0, "power_kw", value=[1, 2]), "power_kw: got 2 values, wanted 6"),
        (put("peers", 0, "devices", 0, "power_kw", value=[1, 2, 3, 4, 5, -6]), "power_kw[5]: got -6, wanted a number"),
        (put("peers", 0, "devices", 0, "power_kw", value=[1, 2, 3, 4, 5, 10**400]), "power_kw[5]: got 1000"),
        (put("peers", 0, "devices", 0, "power_kw", value=[True] * 6), "power_kw[0]: got True, wanted a number"),
        (
            put("peers", 0, "devices", 0, "power_kw", value={"periods": []}),
            "got no value for 16:00",
        ),
        (put("links", 0, "peers", value=["a", "c"]), "links[0].peers[1]: got 'c', wanted the id of a peer"),
        (put("links", value=[{"seller": "a", "buyer": "b"}] * 2), "got a -> b a second time"),
        (put("links", value={"all_pairs": {}, "same_section": {}}), "wanted a list of links, or one of"),
        (put("links", 0, "network_charge", value=-1), "links[0].network_charge: got -1, wanted"),
        (put("envelopes", 0, "peers", value=["a", "a"]), "wanted at least one peer, and each once"),
        (put("envelopes", 0, "section", value="s"), "wanted one of peer, section, peers"),
        (put("envelopes", 0, "lower_kw", value=4), "got lower 4.0 above upper 3.0 kW"),
        (put("profiles", value={"a\nb": -1e9}), "profiles: got name 'a\\nb', wanted a printable text"),
        (put("planned_kw", value={"a/boiler": 0}), "planned_kw: got unknown device a/boiler"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    small: dict[str, Any], write: Write, change: Callable[[dict[str, Any]], None], told: str
) -> None:
    change(small)
    path = write(small)
    with pytest.raises(InputError) as raised:
        read_community(str(path))
    message = str(raised.value)
    assert told in message
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 700


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", '{"version": NaN}', '{"version": 1, "version": 1}', "[" * 100])
def test_what_is_no_community_is_refused(write: Write, text: str) -> None:
    with pytest.raises(InputError):
        read_community(str(write(text)))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "1e7"])
def test_numbers_that_are_none_are_refused_everywhere(write: Write, small: dict[str, Any], number: str) -> None:
    text = json.dumps(small)
    for place in ('"power_kw": 1', '"network_charge": 0.01', '"upper_kw": 3', '"export_price": 0.1'):
        assert place in text
        with pytest.raises(InputError):
            read_community(str(write(text.replace(place, f"{place.split(':')[0]}: {number}", 1))))


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: cannot be read"):
        read_community(str(tmp_path / "none.json"))


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch, small: dict[str, Any]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(small)))
    assert read_community("-").id == "small"


def test_both_forms_of_a_window_are_refused_together(small: dict[str, Any], write: Write) -> None:
    small["peers"][0]["devices"][2] |= {"first": "18:00", "first_mtu": 2}
    with pytest.raises(InputError, match="got both 'first_mtu' and 'first', wanted one of them"):
        read_community(str(write(small)))


def test_windows_may_be_clock_times(small: dict[str, Any], write: Write) -> None:
    small["peers"][0]["devices"][2] |= {"first": "18:00", "end": "21:00"}
    small["peers"][0]["devices"].append({**VEHICLE, "arrival": "17:00", "departure": "07:00"})
    pump, car = read_community(str(write(small))).community.peers[0].devices[2:]
    assert isinstance(pump, Interruptible)
    assert isinstance(car, ElectricVehicle)
    assert (pump.first_mtu, pump.end_mtu, car.arrival_mtu, car.departure_mtu) == (2, 5, 1, 6)


GENERATOR: dict[str, Any] = {"id": "a/generator", "kind": "generator", "min_kw": 1, "max_kw": 2}


@pytest.mark.parametrize(
    ("device", "told"),
    [
        (POOL | {"power_kw": 0}, "a/pool.power_kw: got 0 kW, wanted at least 0.001"),
        (POOL | {"power_kw": 1e-6}, "a/pool.power_kw: got 1e-06 kW, wanted at least 0.001"),
        (WASHER | {"phases": [{"power_kw": [0, 1e-6]}]}, "a/washer.phases: got 1e-06 kW, wanted at least 0.001"),
        (HEATER | {"rated_kw": 0}, "a/heater.rated_kw: got 0 kW, wanted at least 0.001"),
        (
            HEATER | {"modulating": True, "min_kw": 1e-5},
            "a/heater.min_kw: got 1e-05 kW, wanted 0 or at least 0.001",
        ),
        (GENERATOR | {"min_kw": 0, "max_kw": 5e-4}, "a/generator.max_kw: got 0.0005 kW, wanted at least 0.001"),
        (GENERATOR | {"min_kw": 5e-4}, "a/generator.min_kw: got 0.0005 kW, wanted 0 or at least 0.001"),
        (
            VEHICLE | {"levels": [{"lower_kw": 0, "upper_kw": 0}, {"lower_kw": 1, "upper_kw": 2}]},
            "a/car.levels[0].upper_kw: got 0 kW, wanted at least 0.001",
        ),
        (
            VEHICLE | {"levels": [{"lower_kw": 1e-9, "upper_kw": 2}]},
            "a/car.levels[0].lower_kw: got 1e-09 kW, wanted 0 or at least 0.001",
        ),
    ],
)
def test_a_device_too_weak_to_tell_on_from_off_is_refused(
    small: dict[str, Any], write: Write, device: dict[str, Any], told: str
) -> None:
    small["peers"][0]["devices"].append(device)
    with pytest.raises(InputError, match=re.escape(f"peers[0].devices[3]: {told}")):
        read_community(str(write(small)))


@pytest.mark.parametrize(
    "device",
    [
        POOL | {"power_kw": 0.001},
        WASHER | {"phases": [{"power_kw": [2, 0]}, {"power_kw": 0, "mtus": 2}]},
        HEATER | {"modulating": True, "min_kw": 0},
        GENERATOR | {"min_kw": 0, "max_kw": 0.001},
        VEHICLE | {"levels": [{"lower_kw": 0, "upper_kw": 2}]},
    ],
)
def test_phases_without_power_and_least_powers_of_nothing_are_fine(
    small: dict[str, Any], write: Write, device: dict[str, Any]
) -> None:
    small["peers"][0]["devices"].append(device)
    assert read_community(str(write(small))).community.peers[0].devices[3].id == device["id"]


def test_what_is_wrong_in_a_device_names_it(small: dict[str, Any], write: Write) -> None:
    small["peers"][0]["devices"][2]["power_kw"] = "much"
    with pytest.raises(InputError, match=r"devices\[2\].power_kw: got 'much', wanted a number \(device 'a/pump'\)$"):
        read_community(str(write(small)))
    small["peers"][0]["devices"][2]["id"] = 5
    with pytest.raises(InputError, match=r"devices\[2\].id: got 5, wanted a text$"):
        read_community(str(write(small)))


@pytest.mark.parametrize(
    ("tariff", "wanted"),
    [
        ({"export_price": 0.1}, "an object with import_price, or a series"),
        ({}, "an object with import_price, or a series"),
        ({"import_price": {"otherwise": 0.3}}, "an object with 'profile' or 'periods'"),
    ],
)
def test_prices_that_are_none_are_told_from_series(
    small: dict[str, Any], write: Write, tariff: Any, wanted: str
) -> None:
    small["tariff"] = tariff
    with pytest.raises(InputError, match=f"tariff.*, wanted .*{wanted}$"):
        read_community(str(write(small)))
