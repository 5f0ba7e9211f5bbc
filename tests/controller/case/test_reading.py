"""A case becomes the market that it describes."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller.case.reading import read_case
from controller.errors import InputError
from tests.controller.market_cases import CASES, changed

Write = Callable[..., Path]


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
