"""Prices that no trade beats, and the bounds they prove."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from optimization.community import (
    Battery,
    Community,
    Curtailable,
    DeviceId,
    Envelope,
    FixedLoad,
    Interruptible,
    Link,
    PeerId,
    Programme,
)
from optimization.devices import Phase
from optimization.devices.batches import batches
from optimization.dual_prices import lower_bound, project, with_envelopes
from optimization.errors import ProblemError
from optimization.trading import Network, trade

MakeCommunity = Callable[..., Community]
MakeEnvelope = Callable[..., Envelope]


def load(name: str, power_kw: list[float]) -> FixedLoad:
    return FixedLoad(id=DeviceId(name), power_kw=np.array(power_kw))


def roof(name: str, available_kw: list[float]) -> Curtailable:
    return Curtailable(id=DeviceId(name), available_kw=np.array(available_kw))


def link(seller: str, buyer: str, cost: float) -> Link:
    return Link(seller=PeerId(seller), buyer=PeerId(buyer), network_charge=cost)


@pytest.fixture
def chain(make_community: MakeCommunity) -> Community:
    """Three peers in a row, the first with a roof, the last with a load."""
    return make_community(
        {"a": [roof("pv", [3.0, 0.0])], "b": [load("middle", [1.0, 1.0])], "c": [load("end", [1.0, 2.0])]},
        import_price=[0.3, 0.25],
        export_price=[0.1, 0.1],
        links=[link("a", "b", 0.02), link("b", "c", 0.03)],
        mtu_minutes=30,
    )


def test_a_price_falls_to_what_a_chain_of_neighbours_would_sell_for(chain: Community) -> None:
    price = project(Network.of(chain), np.array([[0.0, 0.2], [0.2, 0.24], [0.4, 0.4]]))
    np.testing.assert_allclose(price, [[0.1, 0.2], [0.12, 0.22], [0.15, 0.25]])


@pytest.mark.parametrize("seed", range(20))
def test_projected_prices_are_dual_feasible_and_stay(make_community: MakeCommunity, seed: int) -> None:
    random = np.random.default_rng(seed)
    peers, mtus = int(random.integers(2, 30)), 5
    network = Network.of(
        make_community(
            {f"p{n}": [] for n in range(peers)},
            import_price=random.uniform(0.2, 0.4, mtus),
            export_price=random.uniform(-0.1, 0.2, mtus),
            links=[
                link(f"p{s}", f"p{b}", float(random.choice([0.0, random.random() / 10])))
                for s in range(peers)
                for b in range(peers)
                if s != b and random.random() < 0.2
            ],
        )
    )
    given = random.normal(size=(peers, mtus))
    price = project(network, given)
    assert (price <= network.import_price).all()
    assert (price >= network.export_price).all()
    assert (price[network.buyer] <= price[network.seller] + network.cost[:, None] + 1e-12).all()
    assert (price <= np.clip(given, network.export_price, network.import_price)).all()
    np.testing.assert_array_equal(project(network, price), price)
    best = trade(network, random.normal(size=(peers, mtus)))
    np.testing.assert_allclose(project(network, best.price), best.price, atol=1e-12)


def test_prices_that_are_none_are_refused(chain: Community) -> None:
    with pytest.raises(ProblemError, match="got shape"):
        project(Network.of(chain), np.zeros((2, 2)))
    with pytest.raises(ProblemError, match="NaN"):
        project(Network.of(chain), np.full((3, 2), np.nan))
    with pytest.raises(ProblemError, match="envelope_price: got shape"):
        lower_bound(chain, batches(chain), np.zeros((3, 2)), np.zeros((1, 2)))


def test_the_prices_of_the_best_trades_prove_that_they_are_best(chain: Community) -> None:
    net = np.array([[-3.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
    trades = trade(Network.of(chain), net)
    bound = lower_bound(chain, batches(chain), trades.price, np.zeros((0, 2)))
    assert bound == pytest.approx(float(trades.cost.sum()), abs=1e-9)


def test_other_prices_prove_less_and_never_more(chain: Community) -> None:
    random = np.random.default_rng(0)
    network, parts = Network.of(chain), batches(chain)
    best = float(trade(network, np.array([[-3.0, 0.0], [1.0, 1.0], [1.0, 2.0]])).cost.sum())
    bounds = [
        lower_bound(chain, parts, project(network, random.uniform(0.0, 0.4, (3, 2))), np.zeros((0, 2)))
        for _ in range(20)
    ]
    assert max(bounds) <= best + 1e-9
    assert min(bounds) < best - 1e-3


def test_the_price_of_an_envelope_proves_what_curtailing_costs(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    community = make_community(
        {"a": [roof("pv", [5.0, 5.0])], "b": [load("load", [1.0, 1.0])]},
        import_price=[0.3, 0.3],
        export_price=[0.1, 0.2],
        links=[link("a", "b", 0.0)],
        envelopes=[make_envelope("a", "b", lower_kw=[-2.0, -np.inf])],
    )
    # In the first MTU 2 kW leave and 2 kW are curtailed: energy is worth nothing inside, the envelope 0.1.
    cost = -2.0 * 0.1 - 4.0 * 0.2
    price = np.array([[0.1, 0.2], [0.1, 0.2]])
    assert lower_bound(community, batches(community), price, np.array([[-0.1, 0.0]])) == pytest.approx(cost)
    assert lower_bound(community, batches(community), price, np.zeros((1, 2))) == pytest.approx(cost - 2 * 0.1)
    # A price on a bound that does not exist counts as none.
    assert lower_bound(community, batches(community), price, np.array([[-0.1, -0.05]])) == pytest.approx(cost)
    assert lower_bound(community, batches(community), price, np.array([[-0.1, 0.05]])) == pytest.approx(cost)


def test_members_of_several_envelopes_pay_for_each(make_community: MakeCommunity, make_envelope: MakeEnvelope) -> None:
    community = make_community(
        {"a": [], "b": []},
        import_price=[0.3],
        export_price=[0.1],
        envelopes=[
            make_envelope("a", upper_kw=[2.0]),
            make_envelope("a", "b", name="transformer", lower_kw=[-3.0], upper_kw=[5.0]),
        ],
        mtu_minutes=30,
    )
    paid, rent = with_envelopes(community, np.full((2, 1), 0.2), np.array([[0.01], [-0.02]]))
    np.testing.assert_allclose(paid, [[0.19], [0.18]])
    assert rent == pytest.approx(0.5 * (0.01 * 2.0 + 0.02 * 3.0))


def test_a_planned_device_is_bound_by_the_price_of_changing_it(make_community: MakeCommunity) -> None:
    washer = Interruptible(
        id=DeviceId("washer"), power_kw=2.0, first_mtu=0, end_mtu=2, required_mtus=1, start_cost=0.0, waiting_cost=0.0
    )
    community = make_community({"a": [washer]}, import_price=[0.1, 0.3], export_price=[0.0, 0.0])
    price = np.array([[0.1, 0.3]])

    def bound(change_price: float, planned: list[float]) -> float:
        changed = replace(community, change_price=change_price, planned_kw={washer.id: np.array(planned)})
        return lower_bound(changed, batches(changed), price, np.zeros((0, 2)))

    assert bound(0.0, [0.0, 2.0]) == pytest.approx(0.2)
    assert bound(0.04, [0.0, 2.0]) == pytest.approx(0.2 + 0.04 * 4.0)  # moving it costs less than the dear MTU
    assert bound(0.2, [0.0, 2.0]) == pytest.approx(0.6)
    assert bound(0.04, [2.0, 0.0]) == pytest.approx(0.2)


def test_a_chain_is_bound_by_the_change_of_its_sum_where_all_of_it_was_planned(make_community: MakeCommunity) -> None:
    def programme(name: str, follows: str | None) -> Programme:
        return Programme(
            id=DeviceId(name),
            phases=(Phase(power_kw=np.array([1.0])),),
            first_mtu=0,
            end_mtu=3,
            follows=None if follows is None else DeviceId(follows),
            waiting_cost=0.0,
        )

    washer, dryer = programme("washer", None), programme("dryer", "washer")
    community = make_community({"a": [washer, dryer]}, import_price=[0.1, 0.2, 0.3], export_price=[0.0] * 3)
    price = np.array([[0.1, 0.2, 0.3]])

    def bound(planned: dict[str, list[float]]) -> float:
        powers = {DeviceId(name): np.array(power) for name, power in planned.items()}
        changed = replace(community, change_price=0.02, planned_kw=powers)
        return lower_bound(changed, batches(changed), price, np.zeros((0, 3)))

    assert bound({"washer": [1.0, 0.0, 0.0], "dryer": [0.0, 0.0, 1.0]}) == pytest.approx(0.3 + 2 * 0.02)
    assert bound({"washer": [1.0, 0.0, 0.0]}) == pytest.approx(0.3)


def test_a_battery_earns_no_more_than_its_bound_says(make_community: MakeCommunity) -> None:
    battery = Battery(
        id=DeviceId("battery"),
        max_charge_kw=1.0,
        max_discharge_kw=1.0,
        capacity_kwh=1.0,
        initial_kwh=0.0,
        final_kwh=0.0,
        charge_efficiency=1.0,
        discharge_efficiency=0.5,
        cycle_cost=0.0,
        waiting_cost=0.0,
    )
    community = make_community({"a": [battery]}, import_price=[0.1, 0.5], export_price=[0.1, 0.5])
    bound = lower_bound(community, batches(community), np.array([[0.1, 0.5]]), np.zeros((0, 2)))
    assert bound == pytest.approx(0.1 - 0.5 * 0.5)
