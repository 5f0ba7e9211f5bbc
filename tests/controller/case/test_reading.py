"""A case becomes the market that it describes; one that breaks a rule is refused with file, field, got and wanted."""

import copy
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.case.reading import read_case
from controller.errors import InputError

Write = Callable[..., Path]
CASES = Path(__file__).parents[2] / "vectors" / "cases"


def changed(case: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of a case with one place set, or removed where the value is ``...``."""
    case = copy.deepcopy(case)
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place: Any = case
    for step in steps:
        place = place[step]
    if value is ...:
        del place[last]
    elif isinstance(place, list) and last == len(place):
        place.append(value)
    else:
        place[last] = value
    return case


def test_injections_become_consumption(two: dict[str, Any], write: Write) -> None:
    market = read_case(str(write(two))).market
    assert market.peers == ("home", "plant")
    np.testing.assert_array_equal(market.assets.lower[:, 0], [0, -60])
    np.testing.assert_array_equal(market.assets.upper[:, 0], [30, 0])
    np.testing.assert_array_equal(market.assets.slope[:, 0], [-8, -4])
    np.testing.assert_array_equal(market.assets.curvature[:, 0], [1, 1])


def test_a_case_that_counts_consumption_says_so(two: dict[str, Any], write: Write) -> None:
    injecting = read_case(str(write(two))).market
    two["sign"] = "consumption"
    for peer in two["peers"]:
        asset = peer["assets"][0]
        asset["p_min"], asset["p_max"], asset["b"] = -asset["p_max"], -asset["p_min"], -asset["b"]
    consuming = read_case(str(write(two))).market
    for name in ("lower", "upper", "slope", "curvature"):
        np.testing.assert_array_equal(getattr(injecting.assets, name), getattr(consuming.assets, name))


@pytest.mark.parametrize(
    ("file", "name", "peers", "assets", "pairs", "unit"),
    [
        ("unit-cases.json", "two-peers", 2, 2, 1, "MW"),
        ("unit-cases.json", "four-peers", 4, 4, 6, "MW"),
        ("prosumer-markets-51.json", None, 51, 62, 751, "kW"),
        ("new-england-39-31-peers.json", None, 31, 31, 210, "MW"),
    ],
)
def test_published_cases_have_the_published_size(
    file: str, name: str | None, peers: int, assets: int, pairs: int, unit: str
) -> None:
    case = read_case(str(CASES / file), name)
    assert len(case.market.peers) == peers
    assert len(case.market.assets.names) == assets
    assert case.market.links.size == 2 * pairs
    assert case.unit == unit


def test_a_name_that_a_peer_gives_two_assets_is_numbered() -> None:
    market = read_case(str(CASES / "prosumer-markets-51.json")).market
    plant = market.peers.index("Plant 1 #21")
    names = [name for name, owner in zip(market.assets.names, market.assets.peer, strict=True) if owner == plant]
    assert names == ["Fossil", "Fossil (2)"]


def test_a_curve_is_one_piece_for_each_segment_from_the_power_nearest_to_zero(
    two: dict[str, Any], write: Write
) -> None:
    two["peers"][0]["assets"][0] = {"name": "both", "curve": [[-4, -7], [-1, -4], [2, 2], [3, 5]]}
    two["peers"][1]["assets"][0] = {"name": "must", "curve": [[1, 5], [2, 7]]}
    case = read_case(str(write(two)))
    assets = case.market.assets
    np.testing.assert_array_equal(assets.piece_asset, [0, 0, 0, 0, 0, 1, 1])
    # Injection turned into consumption: (0 fixed), -4 to -1, -1 to 0, 0 to 2, 2 to 3; (1 fixed), 1 to 2.
    np.testing.assert_allclose(assets.lower[:, 0], [0, 0, 0, -2, -1, -1, -1])
    np.testing.assert_allclose(assets.upper[:, 0], [0, 3, 1, 0, 0, -1, 0])
    np.testing.assert_allclose(assets.slope[:, 0], [0, -1, -2, -2, -3, 0, -2])
    # The cost at 0 on the first curve and at 1 on the second.
    assert case.constant == pytest.approx(-2 + 5)


def test_one_number_stands_for_every_mtu(two: dict[str, Any], write: Write) -> None:
    two["horizon"] = {"mtus": 3, "mtu_minutes": 15}
    two["peers"][0]["assets"][0]["p_min"] = [-1, -2, -3]
    market = read_case(str(write(two))).market
    assert (market.mtus, market.hours) == (3, 0.25)
    np.testing.assert_array_equal(market.assets.upper, [[1, 2, 3], [0, 0, 0]])
    np.testing.assert_array_equal(market.assets.slope, [[-8] * 3, [-4] * 3])


def test_roles_take_the_direction_away_that_they_forbid(two: dict[str, Any], write: Write) -> None:
    two["peers"].append({"id": "shop", "role": "prosumer", "assets": [{"p_min": -1, "p_max": 1}]})
    two["peers"][0]["role"] = "consumer"
    two["peers"][1]["role"] = "producer"
    two["links"] = "all pairs"
    links = read_case(str(write(two))).market.links
    assert set(zip(links.seller.tolist(), links.buyer.tolist(), strict=True)) == {(1, 0), (2, 0), (1, 2)}


def test_roles_hold_towards_the_grid_as_well(two: dict[str, Any], write: Write) -> None:
    two["grid"] = {"import_price": 10, "export_price": 1}
    two["peers"][0]["role"] = "consumer"
    two["peers"][1]["role"] = "producer"
    market = read_case(str(write(two))).market
    np.testing.assert_array_equal(market.import_price[:, 0], [10, np.inf])
    np.testing.assert_array_equal(market.export_price[:, 0], [-np.inf, 1])


def test_grid_prices_may_differ_by_peer_and_mtu(two: dict[str, Any], write: Write) -> None:
    two["horizon"] = {"mtus": 2}
    two["grid"] = {"import_price": [10, None], "peers": ["home"]}
    two["peers"][1]["grid"] = {"export_price": 1}
    market = read_case(str(write(two))).market
    np.testing.assert_array_equal(market.import_price, [[10, np.inf], [np.inf, np.inf]])
    np.testing.assert_array_equal(market.export_price, [[-np.inf, -np.inf], [1, 1]])
    two["peers"][0]["grid"] = None
    assert np.isinf(read_case(str(write(two))).market.import_price).all()


def test_links_state_sides_charges_capacities_and_directions(two: dict[str, Any], write: Write) -> None:
    two["peers"].append({"id": "shop", "assets": []})
    two["network_charge"] = 0.5
    two["links"] = [
        {"peers": ["home", "plant"], "preference": [1, 2], "capacity": 7},
        {"seller": "plant", "buyer": "shop", "preference": 3, "network_charge": 0},
        ["home", "shop"],
    ]
    links = read_case(str(write(two))).market.links
    rows = {
        (seller, buyer): (mine, theirs, charge, capacity)
        for seller, buyer, mine, theirs, charge, capacity in zip(
            links.seller.tolist(),
            links.buyer.tolist(),
            links.seller_preference.tolist(),
            links.buyer_preference.tolist(),
            links.network_charge.tolist(),
            links.capacity.tolist(),
            strict=True,
        )
    }
    assert rows == {
        (0, 1): (1, 2, 0.5, 7),
        (1, 0): (2, 1, 0.5, 7),
        (1, 2): (3, 3, 0, np.inf),
        (0, 2): (0, 0, 0.5, np.inf),
        (2, 0): (0, 0, 0.5, np.inf),
    }


def test_storages_and_limits_are_read(two: dict[str, Any], write: Write) -> None:
    two["horizon"] = {"mtus": 2}
    two["peers"][0]["storages"] = [
        {"name": "cellar", "max_charge": 2, "max_discharge": 3, "capacity": 9, "initial": 1, "final": 4}
        | {"charge_efficiency": 0.9, "cycle_cost": 0.1, "final_value": 5}
    ]
    two["peers"][0]["limit"] = {"p_min": -6}
    two["limits"] = [{"name": "feeder", "peers": "all", "p_max": [1, None]}]
    market = read_case(str(write(two))).market
    stores = market.stores
    np.testing.assert_array_equal(stores.lower, [[0, 4]])
    np.testing.assert_array_equal(stores.state_cost, [[0, -5]])
    assert (stores.charge_efficiency[0], stores.discharge_efficiency[0]) == (0.9, 1)
    own, feeder = market.limits
    assert (own.name, own.members.tolist()) == ("home", [0])
    np.testing.assert_array_equal(own.upper, [6, 6])
    assert np.isinf(own.lower).all()
    assert feeder.members.tolist() == [0, 1]
    np.testing.assert_array_equal(feeder.lower, [-1, -np.inf])


def test_every_consumer_is_linked_with_every_generator_and_with_nobody_else() -> None:
    links = read_case(str(CASES / "new-england-39-31-peers.json")).market.links
    forth = links.seller < 21
    assert (links.buyer[forth] >= 21).all()
    assert (links.buyer[~forth] < 21).all()


def test_standard_input_is_read_for_a_dash(two: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(two)))
    assert read_case("-").name == "two"
    monkeypatch.setattr("sys.stdin", io.StringIO("{"))
    with pytest.raises(InputError, match=r"^standard input: got '\{', wanted JSON"):
        read_case("-")


@pytest.mark.parametrize(
    "legal",
    [
        ("peers.0.assets.0.p_max", -30),
        ("peers.0.assets.0.a", 0),
        ("peers.0.assets.0.b", ...),
        ("peers.0.assets.0.b", 1e9),
        ("peers.0.assets.0.b", 1e-9),
        ("links", []),
        ("peers.2", {"id": "alone", "assets": [{"p_min": -1, "p_max": 0}]}),
        ("peers.2", {"id": "hub", "assets": []}),
        ("peers.0.bus", {"any": 1}),
        ("note", ["any"]),
        ("units", {"power": "GW", "price": "EUR"}),
        ("grid", None),
        ("links.0", {"peers": ["home", "plant"], "capacity": None}),
    ],
)
def test_what_is_legal_is_read(two: dict[str, Any], write: Write, legal: tuple[str, Any]) -> None:
    read_case(str(write(changed(two, *legal))))


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("peers", [], "peers: got [], wanted at least one peer"),
        ("peers", {}, "peers: got {}, wanted a list"),
        ("peers", ..., "field 'peers': got none beside ['links', 'name'], wanted one"),
        ("links", ..., "field 'links': got none beside ['name', 'peers'], wanted one"),
        ("peers.0.assets.0.p_mni", 1, "got field 'p_mni', wanted one of "),
        ("peers.0.assets.0.p_mni", 1, "; did you mean 'p_min'?"),
        ("peers.0.asets", [], "got field 'asets', wanted one of "),
        ("link", [], "got field 'link', wanted one of "),
        ("peers.0.assets.0.a", -1, "peers[0].assets[0].a: got -1, wanted a number from 0 to 1e+09"),
        ("peers.0.assets.0.a", 1e12, "peers[0].assets[0].a: got 1000000000000.0, wanted a number from 0 to 1e+09"),
        ("peers.0.assets.0.b", True, "peers[0].assets[0].b: got True, wanted a number"),
        ("peers.0.assets.0.b", "8", "peers[0].assets[0].b: got '8', wanted a number"),
        ("peers.0.assets.0.b", None, "peers[0].assets[0].b: got None, wanted a number"),
        ("peers.0.assets.0.b", [], "peers[0].assets[0].b: got 0 values, wanted one number, or 1, one for each MTU"),
        ("peers.0.assets.0.p_max", 10**12, "got 1000000000000, wanted a number from -1e+09 to 1e+09"),
        ("peers.0.assets.0.p_max", -31, "peers[0].assets[0].p_min: got -30 above p_max -31, wanted at most that"),
        ("peers.0.assets.0.p_max", ..., "peers[0].assets[0]: field 'p_max': got none beside"),
        ("peers.0.assets.0.curve", [[0, 0], [1, 1]], "got both curve and a, wanted one way to say the cost"),
        ("peers.0.assets.0", {"curve": [[0, 0]]}, "wanted a list of two or more [power, cost]"),
        ("peers.0.assets.0", {"curve": [[0, 0], [0, 1]]}, "got power 0 after 0, wanted ascending powers"),
        ("peers.0.assets.0", {"curve": [[0, 0], [1]]}, "assets[0].curve[1]: got [1], wanted [power, cost]"),
        (
            "peers.0.assets.0",
            {"curve": [[0, 0], [1, 5], [2, 9]]},
            "curve[2]: got marginal cost 4 after 5, wanted a convex curve: marginal costs that do not fall",
        ),
        ("peers.1.id", "home", "peers[1].id: got 'home' a second time, wanted every id once"),
        ("peers.1.id", "", "peers[1].id: got '', wanted a text"),
        ("peers.1.id", "a\x1b[2J", "wanted a printable text"),
        ("peers.1.id", 7, "peers[1].id: got 7, wanted a text"),
        ("peers.0.role", "boss", "peers[0].role: got 'boss', wanted one of producer, consumer, prosumer"),
        ("peers.0.assets", ..., "field 'assets': got none"),
        ("links.0", ["home", "home"], "links[0]: got ['home', 'home'], wanted two different peers"),
        ("links.0", ["home", "nobody"], "links[0][1]: got 'nobody', wanted the id of a peer"),
        ("links.0", ["home"], "links[0]: got ['home'], wanted a pair of peers"),
        ("links.0", ["home", 1], "links[0][1]: got 1, wanted the id of a peer"),
        ("links.0", 5, "links[0]: got 5, wanted an object"),
        (
            "links.1",
            ["plant", "home"],
            "links[1]: got the link of 'home' and 'plant' again after case.json: links[0], wanted every link once",
        ),
        ("links.1", {"seller": "plant", "buyer": "home"}, "links[1]: got the link of 'plant' and 'home' again"),
        ("links.0", {"peers": ["home", "plant"], "capacity": -1}, "capacity: got -1, wanted a number from 0"),
        ("links.0", {"peers": ["home", "plant"], "preference": [1]}, "wanted a number, or two, one for each side"),
        ("links.0", {"peers": ["home", "plant"], "preference": -1}, "preference: got -1, wanted a number from 0"),
        ("links.0", {"peers": ["home", "plant"], "seller": "home"}, "wanted either peers, or seller and buyer"),
        ("links.0", {"seller": "home"}, "field 'buyer': got none"),
        ("links.0", {}, "links[0]: got {}, wanted either peers, or seller and buyer"),
        ("links", "some", "links: got 'some', wanted a list of pairs, 'all pairs' or 'every consumer with"),
        ("links", None, "links: got None, wanted a list of pairs"),
        ("fee_per_side", -0.1, "fee_per_side: got -0.1, wanted a number from 0 to 1e+09"),
        ("network_charge", -0.1, "network_charge: got -0.1, wanted a number from 0"),
        ("units", {"power": "hp"}, "units.power: got 'hp', wanted one of W, kW, MW, GW"),
        ("sign", "both", "sign: got 'both', wanted one of injection, consumption"),
        ("horizon", {"mtus": 0}, "horizon.mtus: got 0, wanted a whole number from 1 to 192"),
        ("horizon", {"mtus": 193}, "horizon.mtus: got 193, wanted a whole number from 1 to 192"),
        ("horizon", {"mtus": 2, "mtu_minutes": 20}, "mtu_minutes: got 20, wanted one of 5, 15, 30, 60"),
        ("grid", {"import_price": 1, "export_price": 2}, "grid.export_price: got 2 above import_price 1"),
        ("grid", {"import_price": 1, "peers": ["nobody"]}, "grid.peers[0]: got 'nobody', wanted the id of a peer"),
        ("grid", {"price": 1}, "grid: got field 'price', wanted one of import_price"),
        ("limits", [{"peers": "all", "p_min": 2, "p_max": 1}], "limits[0].p_min: got 2 above p_max 1"),
        ("limits", [{"peers": ["nobody"]}], "limits[0].peers[0]: got 'nobody', wanted the id of a peer"),
        ("limits", [{"peers": ["home", "home"]}], "limits[0].peers: got ['home', 'home'], wanted every peer once"),
        ("limits", [{"peers": []}], "limits[0].peers: got [], wanted 'all', or a list of peers' ids"),
        ("limits", [{"name": "x", "peers": "all"}] * 2, "limits[1]: got limit 'x' a second time"),
        ("expected", [{"objctive": 1}], "expected[0]: got field 'objctive', wanted one of "),
        ("expected", [{"powers": [1]}], "expected[0].powers: got 1 values, wanted 2, one for each peer"),
        ("expected", [{"powers": {"nobody": 1}}], "expected[0].powers: got peer 'nobody', wanted peers of the case"),
        ("expected", [{"price": "high"}], "expected[0].price: got 'high', wanted a number"),
    ],
)
def test_what_breaks_a_rule_is_refused(
    two: dict[str, Any], write: Write, path: str, value: Any, complaint: str
) -> None:
    file = write(changed(two, path, value))
    with pytest.raises(InputError) as refused:
        read_case(str(file))
    said = str(refused.value)
    assert said.startswith(str(file)), said
    assert complaint in said.replace(str(file), "case.json"), said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("capacity", ..., "field 'capacity': got none"),
        ("capacity", -1, "capacity: got -1, wanted a number from 0"),
        ("minimum", 10, "minimum: got 10 above capacity 9, wanted at most that"),
        ("final", 10, "final: got 10 above capacity 9, wanted at most that"),
        ("charge_efficiency", 1.1, "charge_efficiency: got 1.1, wanted a number from 0.01 to 1"),
        ("discharge_efficiency", 0, "discharge_efficiency: got 0, wanted a number from 0.01 to 1"),
        ("name", "load", "storages[0]: got name 'load' a second time"),
        ("size", 1, "got field 'size', wanted one of"),
    ],
)
def test_a_storage_that_breaks_a_rule_is_refused(
    two: dict[str, Any], write: Write, path: str, value: Any, complaint: str
) -> None:
    two["peers"][0]["storages"] = [{"name": "cellar", "max_charge": 2, "max_discharge": 3, "capacity": 9}]
    with pytest.raises(InputError) as refused:
        read_case(str(write(changed(two, f"peers.0.storages.0.{path}", value))))
    assert complaint in str(refused.value)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_what_is_no_finite_number_is_refused(two: dict[str, Any], write: Write, number: str) -> None:
    text = json.dumps(changed(two, "peers.0.assets.0.b", "HERE")).replace('"HERE"', number)
    with pytest.raises(InputError, match="wanted"):
        read_case(str(write(text)))


def test_a_key_given_twice_is_refused(write: Write) -> None:
    with pytest.raises(InputError, match="repeats one of its keys"):
        read_case(str(write('{"name": "x", "name": "y"}')))


@pytest.mark.parametrize(
    ("content", "name", "complaint"),
    [
        ([], None, "got [], wanted a case or a list of cases"),
        (5, None, "got 5, wanted an object"),
        ([{"peers": []}], None, "field 'name': got none"),
        ([{"name": "a"}, {"name": "a"}], None, "got case 'a' a second time, wanted every name once"),
        ([{"name": "a"}, {"name": "b"}], None, "got 2 cases, wanted --case with one of 'a', 'b'"),
        ([{"name": "a"}, {"name": "b"}], "c", "got no case 'c', wanted one of 'a', 'b'"),
        ({"name": "a"}, "c", "got no case 'c', wanted 'a'"),
    ],
)
def test_a_case_that_is_not_there_is_refused(write: Write, content: Any, name: str | None, complaint: str) -> None:
    with pytest.raises(InputError) as refused:
        read_case(str(write(content)), name)
    assert complaint in str(refused.value)


def test_a_link_against_a_role_is_refused_only_where_it_is_said(two: dict[str, Any], write: Write) -> None:
    two["peers"][0]["role"] = "consumer"
    assert read_case(str(write(two))).market.links.size == 1
    two["links"] = [{"seller": "home", "buyer": "plant"}]
    with pytest.raises(InputError, match=r"links\[0\].seller: got a consumer, wanted a peer whose role allows it"):
        read_case(str(write(two)))


def test_free_money_is_refused(two: dict[str, Any], write: Write) -> None:
    two["peers"][0]["grid"] = {"import_price": 1}
    two["peers"][1]["grid"] = {"export_price": 2}
    with pytest.raises(InputError, match="wanted no source of free money"):
        read_case(str(write(two)))


def test_words_for_too_many_links_are_refused(write: Write) -> None:
    peers = [{"id": str(n), "assets": [{"p_min": 0, "p_max": 1}]} for n in range(5000)]
    with pytest.raises(InputError, match="got 12497500 pairs from 'all pairs', wanted at most 10000000"):
        read_case(str(write({"peers": peers, "links": "all pairs"})))


WHOLE: dict[str, Any] = {
    "name": "whole",
    "units": {"power": "kW"},
    "sign": "consumption",
    "horizon": {"mtus": 2, "mtu_minutes": 15},
    "grid": {"import_price": [0.3, None], "export_price": 0.1, "peers": ["a"]},
    "network_charge": 0.01,
    "fee_per_side": 0.01,
    "peers": [
        {"id": "a", "role": "consumer", "assets": [{"name": "x", "a": 1, "b": [1, 2], "p_min": 0, "p_max": [1, 2]}]},
        {
            "id": "b",
            "grid": None,
            "limit": {"p_max": 3},
            "assets": [{"curve": [[-2, 0], [0, 0.5]]}],
            "storages": [{"name": "s", "max_charge": 1, "max_discharge": 1, "capacity": 2, "final": 0.25}],
        },
    ],
    "links": [{"peers": ["a", "b"], "preference": [0, 0.1], "capacity": None}],
    "limits": [{"name": "feeder", "peers": ["a", "b"], "p_max": [5, None]}],
    "expected": [{"objective": 1, "powers": {"a": [0, 0]}, "published": {"any": 1}}],
}
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**13), 10**13),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "a", "b", "all", "all pairs", "every consumer with every generator", "\x00"]),
    st.sampled_from([[], {}, [[]], [None], [0], [0, 1], [0, 1, 2], ["a"], ["a", "b"], [["a", "b"]], {"a": 1}, [{}]]),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything in a JSON value."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in below for found in places(item, (*path, key)))]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.sampled_from(places(WHOLE)[1:]), JUNK), min_size=1, max_size=3))
def test_whatever_a_file_holds_is_read_or_refused(
    monkeypatch: pytest.MonkeyPatch, changes: list[tuple[tuple[Any, ...], Any]]
) -> None:
    case = copy.deepcopy(WHOLE)
    for path, junk in changes:
        place: Any = case
        try:
            for step in path[:-1]:
                place = place[step]
            place[path[-1]] = copy.deepcopy(junk)
        except (TypeError, KeyError, IndexError):
            # An earlier change took the place away.
            continue
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(case)))
    try:
        read = read_case("-")
    except InputError as err:
        said = str(err)
        assert said.startswith("standard input")
        assert "got" in said or "wanted" in said
        assert "\n" not in said
    else:
        assert read.market.peers
