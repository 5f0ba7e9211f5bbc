import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from optimization.community import (
    MAX_MAGNITUDE,
    MAX_MTUS,
    MTU_MINUTES,
    Battery,
    Community,
    Curtailable,
    Envelope,
    FixedLoad,
    Horizon,
    Interruptible,
    Link,
    Peer,
    Tariff,
)
from optimization.errors import OptimizationError, ProblemError

INFINITY, NAN = float("inf"), float("nan")


def legal_battery(**changes: Any) -> Battery:
    fields = {
        "id": "ann/battery",
        "max_charge_kw": 3.0,
        "max_discharge_kw": 2.0,
        "capacity_kwh": 10.0,
        "initial_kwh": 4.0,
        "final_kwh": 5.0,
    }
    return Battery(**(fields | changes))


def legal_washer(**changes: Any) -> Interruptible:
    fields = {"id": "ann/washer", "power_kw": 2.0, "first_mtu": 1, "end_mtu": 4, "required_mtus": 2}
    return Interruptible(**(fields | changes))


def legal_load(**changes: Any) -> FixedLoad:
    return FixedLoad(**({"id": "ann/load", "power_kw": [0.5, 0.5, 1.0, 1.0]} | changes))


def legal_plant(**changes: Any) -> Curtailable:
    return Curtailable(**({"id": "ben/pv", "available_kw": [0.0, 2.0, 3.0, 1.0]} | changes))


def legal_tariff(**changes: Any) -> Tariff:
    return Tariff(**({"import_price": [0.3, 0.3, 0.3, 0.3], "export_price": [0.1, 0.1, 0.1, 0.3]} | changes))


def legal_link(**changes: Any) -> Link:
    return Link(**({"seller": "ben", "buyer": "ann", "network_charge": 0.02} | changes))


def legal_envelope(**changes: Any) -> Envelope:
    fields = {"name": "street", "peers": frozenset({"ann", "ben"}), "lower_kw": [-INFINITY] * 4, "upper_kw": [5.0] * 4}
    return Envelope(**(fields | changes))


def legal_horizon(**changes: Any) -> Horizon:
    return Horizon(**({"mtus": 4} | changes))


def legal_community(**changes: Any) -> Community:
    fields = {
        "horizon": legal_horizon(),
        "tariff": legal_tariff(),
        "peers": (
            Peer(id="ann", section="street", devices=(legal_load(), legal_battery(), legal_washer())),
            Peer(id="ben", section="street", devices=(legal_plant(),)),
        ),
        "links": (legal_link(),),
        "envelopes": (legal_envelope(),),
    }
    return Community(**(fields | changes))


def with_device(device: Any) -> dict[str, Any]:
    return {"peers": (*legal_community().peers, Peer(id="cid", section="street", devices=(device,)))}


Make = Callable[..., Any]


LEGAL: list[tuple[Make, dict[str, Any]]] = [
    (legal_horizon, {"mtus": 1}),
    (legal_horizon, {"mtus": MAX_MTUS}),
    *[(legal_horizon, {"mtu_minutes": minutes}) for minutes in MTU_MINUTES],
    (legal_tariff, {"export_price": [0.3, 0.3, 0.3, 0.3]}),
    (legal_tariff, {"import_price": [-0.1], "export_price": [-0.2]}),
    (legal_tariff, {"import_price": [MAX_MAGNITUDE], "export_price": [-MAX_MAGNITUDE]}),
    (legal_load, {"power_kw": [0.0]}),
    (legal_load, {"power_kw": [1.0] * MAX_MTUS}),
    (legal_load, {"power_kw": [MAX_MAGNITUDE]}),
    (legal_plant, {"available_kw": [0.0]}),
    (legal_plant, {"available_kw": [MAX_MAGNITUDE]}),
    (legal_battery, {"initial_kwh": 0.0, "final_kwh": 10.0}),
    (legal_battery, {"initial_kwh": 10.0, "final_kwh": 0.0}),
    (legal_battery, {"max_charge_kw": 0.0, "max_discharge_kw": 0.0}),
    (legal_battery, {"charge_efficiency": 1.0, "discharge_efficiency": 0.01}),
    (legal_battery, {"cycle_cost": 0.0, "waiting_cost": 0.0}),
    (legal_washer, {"required_mtus": 0}),
    (legal_washer, {"required_mtus": 3}),
    (legal_washer, {"first_mtu": 1, "end_mtu": 4, "required_mtus": 4}),
    (legal_washer, {"running": True, "start_cost": 0.0}),
    (legal_washer, {"first_mtu": 4, "end_mtu": 4, "required_mtus": 0}),
    (legal_link, {"seller_preference": 0.0, "buyer_preference": 0.0, "network_charge": 0.0}),
    (legal_envelope, {"lower_kw": [5.0] * 4}),
    (legal_envelope, {"lower_kw": [-INFINITY] * 4, "upper_kw": [INFINITY] * 4}),
    (legal_envelope, {"peers": frozenset()}),
    (legal_community, {}),
    (legal_community, {"links": (), "envelopes": ()}),
    (legal_community, {"links": (legal_link(), legal_link(seller="ann", buyer="ben"))}),
    (legal_community, with_device(legal_washer(id="cid/washer", end_mtu=4))),
    (legal_community, with_device(legal_load(id="cid/load"))),
]


@pytest.mark.parametrize(("make", "changes"), LEGAL)
def test_what_keeps_the_rules_exists(make: Make, changes: dict[str, Any]) -> None:
    value = make(**changes)
    for name, wanted in changes.items():
        assert np.array_equal(getattr(value, name), wanted)


REFUSED: list[tuple[Make, dict[str, Any], str, str, str]] = [
    (legal_horizon, {"mtus": 0}, "horizon.mtus", "got 0", "1 to 192"),
    (legal_horizon, {"mtus": 193}, "horizon.mtus", "got 193", "1 to 192"),
    (legal_horizon, {"mtu_minutes": 10}, "horizon.mtu_minutes", "got 10", "one of (5, 15, 30, 60)"),
    (legal_tariff, {"import_price": [0.3, NAN, 0.3, 0.3]}, "tariff.import_price[1]", "got nan", "-1e+06 to 1e+06"),
    (legal_tariff, {"export_price": [0, 0, 0, -INFINITY]}, "tariff.export_price[3]", "got -inf", "-1e+06 to 1e+06"),
    (legal_tariff, {"import_price": [2e6]}, "tariff.import_price[0]", "got 2000000.0", "-1e+06 to 1e+06"),
    (legal_tariff, {"import_price": []}, "tariff.import_price", "got shape (0,)", "1 to 192 MTUs"),
    (legal_tariff, {"export_price": [[0.1]]}, "tariff.export_price", "got shape (1, 1)", "1 to 192 MTUs"),
    (legal_tariff, {"export_price": [0.1]}, "tariff.export_price", "got 1 MTUs", "wanted 4"),
    (legal_tariff, {"export_price": [0.1, 0.1, 0.31, 0]}, "tariff.export_price[2]", "got 0.31", "import price 0.3"),
    (legal_load, {"power_kw": [0.1, -0.1]}, "ann/load.power_kw[1]", "got -0.1", "0 to 1e+06"),
    (legal_load, {"power_kw": [1.0] * 193}, "ann/load.power_kw", "got shape (193,)", "1 to 192 MTUs"),
    (legal_load, {"power_kw": 1.0}, "ann/load.power_kw", "got shape ()", "1 to 192 MTUs"),
    (legal_plant, {"available_kw": [-1.0]}, "ben/pv.available_kw[0]", "got -1.0", "0 to 1e+06"),
    (legal_plant, {"available_kw": [INFINITY]}, "ben/pv.available_kw[0]", "got inf", "0 to 1e+06"),
    *[
        (legal_battery, {name: value}, f"ann/battery.{name}", f"got {value}", "wanted 0 to 1e+06")
        for name in ("max_charge_kw", "max_discharge_kw", "cycle_cost", "waiting_cost")
        for value in (-0.5, NAN, INFINITY, 2e6)
    ],
    (legal_battery, {"capacity_kwh": -1.0}, "ann/battery.capacity_kwh", "got -1.0", "wanted 0 to 1e+06"),
    (legal_battery, {"initial_kwh": -0.1}, "ann/battery.initial_kwh", "got -0.1", "wanted 0 to 10"),
    (legal_battery, {"initial_kwh": 10.1}, "ann/battery.initial_kwh", "got 10.1", "wanted 0 to 10"),
    (legal_battery, {"final_kwh": 11.0}, "ann/battery.final_kwh", "got 11.0", "wanted 0 to 10"),
    (legal_battery, {"final_kwh": NAN}, "ann/battery.final_kwh", "got nan", "wanted 0 to 10"),
    *[
        (legal_battery, {name: value}, f"ann/battery.{name}", f"got {value}", "wanted 0.01 to 1")
        for name in ("charge_efficiency", "discharge_efficiency")
        for value in (0.0, 1.01, NAN)
    ],
    (legal_washer, {"power_kw": -2.0}, "ann/washer.power_kw", "got -2.0", "wanted 0 to 1e+06"),
    (legal_washer, {"waiting_cost": NAN}, "ann/washer.waiting_cost", "got nan", "wanted 0 to 1e+06"),
    (legal_washer, {"start_cost": -0.1}, "ann/washer.start_cost", "got -0.1", "wanted 0 to 1e+06"),
    (legal_washer, {"first_mtu": -1}, "ann/washer", "got window [-1, 4)", "0 <= first <= end <= 192"),
    (legal_washer, {"first_mtu": 5}, "ann/washer", "got window [5, 4)", "0 <= first <= end <= 192"),
    (legal_washer, {"end_mtu": 193}, "ann/washer", "got window [1, 193)", "0 <= first <= end <= 192"),
    (legal_washer, {"required_mtus": -1}, "ann/washer.required_mtus", "got -1", "wanted a whole number from 0 to 192"),
    (legal_washer, {"required_mtus": 193}, "ann/washer.required_mtus", "got 193", "from 0 to 192"),
    *[
        (legal_link, {name: value}, f"link ben -> ann.{name}", f"got {value}", "wanted 0 to 1e+06")
        for name in ("seller_preference", "buyer_preference", "network_charge")
        for value in (-0.01, NAN)
    ],
    (legal_link, {"buyer": "ben"}, "link ben -> ben", "trade with itself", "cannot"),
    (legal_envelope, {"upper_kw": [1.0, NAN, 1.0, 1.0]}, "street.upper_kw", "got NaN", "one bound an MTU"),
    (legal_envelope, {"lower_kw": [[1.0]]}, "street.lower_kw", "shape (1, 1)", "one bound an MTU"),
    (legal_envelope, {"upper_kw": [1.0]}, "street", "got 4 lower", "1 upper"),
    (legal_envelope, {"lower_kw": [0, 0, 0, 5.1]}, "street[3]", "got lower 5.1", "upper 5.0 kW"),
    (legal_envelope, {"upper_kw": [-INFINITY] * 4}, "street.upper_kw", "got -inf", "or inf for no bound"),
    (
        legal_envelope,
        {"lower_kw": [INFINITY] * 4, "upper_kw": [INFINITY] * 4},
        "street.lower_kw",
        "got inf",
        "or -inf for no bound",
    ),
    (legal_community, {"peers": ()}, "community.peers", "got none", "at least one"),
    (legal_community, {"peers": legal_community().peers * 2}, "peer ann", "got 2 times", "wanted once"),
    (legal_community, with_device(legal_load()), "device ann/load", "got 2 times", "wanted once"),
    (legal_community, {"links": (legal_link(),) * 3}, "link ben -> ann", "got 3 times", "wanted once"),
    (legal_community, {"links": (legal_link(buyer="eve"),)}, "link ben -> eve", "got unknown peer", "eve"),
    (legal_community, {"links": (legal_link(seller="eve"),)}, "link eve -> ann", "got unknown peer", "eve"),
    (legal_community, {"envelopes": (legal_envelope(peers=frozenset({"eve"})),)}, "street", "unknown peers", "eve"),
    (
        legal_community,
        {"envelopes": (legal_envelope(lower_kw=[0], upper_kw=[1]),)},
        "street",
        "got 1 MTUs",
        "wanted 4",
    ),
    (legal_community, {"horizon": Horizon(mtus=5)}, "street", "got 4 MTUs", "wanted 5"),
    (legal_community, {"horizon": Horizon(mtus=5), "envelopes": ()}, "tariff", "got 4 MTUs", "wanted 5"),
    (legal_community, with_device(legal_load(id="x", power_kw=[1])), "x", "got 1 MTUs", "wanted 4"),
    (legal_community, with_device(legal_plant(id="x", available_kw=[1] * 5)), "x", "got 5 MTUs", "wanted 4"),
    (legal_community, with_device(legal_washer(id="x", end_mtu=5)), "x.end_mtu", "got 5", "at most 4"),
]


@pytest.mark.parametrize(("make", "changes", "element", "got", "wanted"), REFUSED)
def test_what_breaks_a_rule_is_refused_by_name_with_got_and_wanted(
    make: Make, changes: dict[str, Any], element: str, got: str, wanted: str
) -> None:
    assert make() is not None
    with pytest.raises(ProblemError) as refusal:
        make(**changes)
    message = str(refusal.value)
    assert message.startswith(element)
    assert got in message
    assert wanted in message


def test_a_problem_error_is_both_ours_and_a_value_error() -> None:
    assert issubclass(ProblemError, OptimizationError)
    assert issubclass(ProblemError, ValueError)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (legal_tariff, "import_price"),
        (legal_tariff, "export_price"),
        (legal_load, "power_kw"),
        (legal_plant, "available_kw"),
        (legal_envelope, "lower_kw"),
        (legal_envelope, "upper_kw"),
    ],
)
def test_a_series_is_a_read_only_copy(make: Make, name: str) -> None:
    given = np.array([0.3, 0.3, 0.3, 0.3])
    value = make(**{name: given})
    given[0] = 9.0
    series = getattr(value, name)
    assert series[0] == 0.3
    assert series.dtype == np.float64
    with pytest.raises(ValueError, match="read-only"):
        series[0] = 9.0


@pytest.mark.parametrize("make", [legal_horizon, legal_battery, legal_washer, legal_link, legal_community])
def test_a_value_is_frozen(make: Make) -> None:
    value = make()
    name = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, name, None)


@pytest.mark.parametrize(("minutes", "hours"), [(5, 1 / 12), (15, 0.25), (30, 0.5), (60, 1.0)])
def test_an_mtu_has_its_minutes_in_hours(minutes: int, hours: float) -> None:
    assert Horizon(mtus=1, mtu_minutes=minutes).hours == pytest.approx(hours, abs=1e-15)


def test_the_cost_of_a_link_is_both_preferences_and_the_charge() -> None:
    link = Link(seller="ben", buyer="ann", seller_preference=0.01, buyer_preference=0.02, network_charge=0.04)
    assert link.cost == pytest.approx(0.07)


def test_devices_come_with_their_peers_in_order() -> None:
    found = [(peer.id, device.id) for peer, device in legal_community().devices()]
    assert found == [("ann", "ann/load"), ("ann", "ann/battery"), ("ann", "ann/washer"), ("ben", "ben/pv")]


@pytest.mark.parametrize(("import_price", "shortfall_price"), [(0.3, 100.0), (250.0, 25_000.0), (-250.0, 25_000.0)])
def test_falling_short_costs_far_more_than_any_energy(import_price: float, shortfall_price: float) -> None:
    tariff = Tariff(import_price=[import_price], export_price=[min(import_price, 0.0)])
    peer = Peer(id="ann", section="feeder", devices=())
    assert Community(horizon=Horizon(mtus=1), tariff=tariff, peers=(peer,)).shortfall_price == shortfall_price
