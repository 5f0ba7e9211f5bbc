import numpy as np
import pytest

from optimization.community import Community, Peer, Tariff
from optimization.devices import (
    Battery,
    Curtailable,
    Device,
    ElectricVehicle,
    FixedLoad,
    Generator,
    Interruptible,
    Phase,
    PowerRange,
    Programme,
    Thermostatic,
)
from optimization.devices.answers import best_response, prox
from optimization.devices.batches import batches, group
from optimization.devices.oracle import power_cost, priced
from optimization.errors import ProblemError
from optimization.quantities import DeviceId, Horizon, PeerId, SectionId

MTUS = 8
HORIZON = Horizon(mtus=MTUS, mtu_minutes=30)
M = 100.0


def programme(name: str, follows: str | None = None) -> Programme:
    return Programme(
        id=DeviceId(name),
        phases=(Phase(power_kw=np.array([1.0, 2.0])),),
        first_mtu=0,
        end_mtu=MTUS,
        follows=None if follows is None else DeviceId(follows),
    )


def thermostat(name: str, *, modulating: bool) -> Thermostatic:
    each = np.ones(MTUS)
    return Thermostatic(
        id=DeviceId(name), rated_kw=2.0, heat_capacity_kwh_per_k=0.5, loss_kw_per_k=0.05, performance=each,
        ambient_c=15 * each, draw_kw=0 * each, lower_c=20 * each, upper_c=23 * each, initial_c=21.0,
        modulating=modulating,
    )  # fmt: skip


def home(name: str) -> tuple[Device, ...]:
    """One device of every kind, in no order."""
    return (
        programme(f"{name} dryer", f"{name} washer"),
        Curtailable(id=DeviceId(f"{name} roof"), available_kw=np.ones(MTUS)),
        thermostat(f"{name} boiler", modulating=False),
        Battery(
            id=DeviceId(f"{name} battery"), max_charge_kw=2, max_discharge_kw=2, capacity_kwh=4, initial_kwh=1,
            final_kwh=1,
        ),
        programme(f"{name} washer"),
        Interruptible(id=DeviceId(f"{name} pump"), power_kw=1.0, first_mtu=0, end_mtu=MTUS, required_mtus=3),
        FixedLoad(id=DeviceId(f"{name} load"), power_kw=np.ones(MTUS)),
        Generator(id=DeviceId(f"{name} chp"), min_kw=1.0, max_kw=2.0, linear_cost=0.3),
        thermostat(f"{name} pump of heat", modulating=True),
        ElectricVehicle(
            id=DeviceId(f"{name} car"), arrival_mtu=1, departure_mtu=7, capacity_kwh=20, initial_kwh=10,
            required_kwh=13, levels=(PowerRange(lower_kw=1.4, upper_kw=3.7),),
        ),
    )  # fmt: skip


def community() -> Community:
    third = (*home("C")[1:6], programme("C late", "C washer"))
    return Community(
        horizon=HORIZON,
        tariff=Tariff(import_price=np.full(MTUS, 0.3), export_price=np.full(MTUS, 0.1)),
        peers=tuple(
            Peer(id=PeerId(name), section=SectionId("street"), devices=devices)
            for name, devices in (("A", home("A")), ("B", ()), ("C", third))
        ),
    )


def test_every_device_stands_in_one_batch_beside_its_kind_and_its_peer() -> None:
    whole = community()
    owned = list(whole.devices())
    seen = []
    for blocks in batches(whole):
        assert blocks.rows.size == len(blocks.batch.devices) == blocks.batch.block.size
        for device, row, block in zip(blocks.batch.devices, blocks.rows, blocks.batch.block, strict=True):
            peer, there = owned[row]
            assert there is device
            assert whole.peers[blocks.peer[block]] is peer
        assert list(np.unique(blocks.batch.block)) == list(range(blocks.peer.size))
        seen += list(blocks.rows)
    assert sorted(seen) == list(range(len(owned)))


def test_a_chain_is_one_block_and_every_other_device_its_own() -> None:
    for blocks in batches(community()):
        sizes = np.bincount(blocks.batch.block)
        chained = isinstance(blocks.batch.devices[0], Programme)
        assert list(sizes) == ([2, 2] if chained else [1] * len(blocks.batch.devices))


def test_a_community_without_a_kind_has_no_batch_of_it() -> None:
    (batch,) = group([FixedLoad(id=DeviceId("load"), power_kw=np.ones(MTUS))], HORIZON, M)
    assert [device.id for device in batch.devices] == ["load"]
    assert group([], HORIZON, M) == ()


@pytest.mark.parametrize("place", range(10))
def test_every_kind_answers_alone_as_in_its_batch(place: int) -> None:
    price = np.random.default_rng(2).normal(0.2, 0.2, MTUS)
    device = home("A")[place]
    chain = [d for d in home("A") if isinstance(d, Programme)] if isinstance(device, Programme) else []
    alone = best_response(device, HORIZON, price, shortfall_price=M, chain=chain)
    for batch in group(home("A"), HORIZON, M):
        names = [d.id for d in batch.devices]
        if device.id in names:
            whole = batch.respond(priced(np.tile(price, (int(batch.block.max()) + 1, 1))))
            rows = batch.block == batch.block[names.index(device.id)]
            assert alone.power_kw == pytest.approx(whole.power_kw[rows], abs=1e-9)
            spent = alone.own_cost + power_cost(priced(price[None]), alone.power_kw.sum(axis=0)[None], HORIZON.hours)
            assert alone.bound[0] <= spent[0] + 1e-9
            assert alone.bound[0] == pytest.approx(spent[0], rel=5e-3, abs=1e-6)
            break
    else:
        pytest.fail("no batch has it")


def test_one_price_stands_for_all_mtus_and_a_pull_draws_to_its_target() -> None:
    roof = home("A")[1]
    assert list(best_response(roof, HORIZON, 0.2, shortfall_price=M).power_kw[0]) == [-1.0] * MTUS
    assert prox(roof, HORIZON, -0.25, 1.0, shortfall_price=M).power_kw[0] == pytest.approx([-0.25] * MTUS)


def test_a_follower_is_answered_for_with_its_chain_only() -> None:
    dryer, washer = programme("dryer", "washer"), programme("washer")
    with pytest.raises(ProblemError, match=r"dryer\.follows: got washer"):
        best_response(dryer, HORIZON, 0.2, shortfall_price=M)
    with pytest.raises(ProblemError, match="wanted one with it"):
        best_response(dryer, HORIZON, 0.2, shortfall_price=M, chain=[washer])
    both = best_response(dryer, HORIZON, 0.2, shortfall_price=M, chain=[dryer, washer])
    assert [list(row) for row in both.power_kw] == [[1, 2, 0, 0, 0, 0, 0, 0], [0, 0, 1, 2, 0, 0, 0, 0]]


def test_what_does_not_fit_the_horizon_is_refused() -> None:
    roof = home("A")[1]
    with pytest.raises(ProblemError, match="roof: got 8 MTUs, wanted 6"):
        best_response(roof, Horizon(mtus=6), 0.2, shortfall_price=M)
    with pytest.raises(ProblemError, match=r"price: got shape \(3,\)"):
        best_response(roof, HORIZON, np.ones(3), shortfall_price=M)
    with pytest.raises(ProblemError, match="weight: got -1"):
        prox(roof, HORIZON, 0.0, -1.0, shortfall_price=M)
