"""A case that breaks a rule is refused with file, field, got and wanted."""

import copy
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.case.reading import read_case
from controller.errors import InputError
from tests.controller.market_cases import changed

Write = Callable[..., Path]


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
