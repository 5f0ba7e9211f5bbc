from hypothesis import given
from hypothesis import strategies as st

from controller.capability import Excess, Means, Store, first_excess


def store(stored=4, charge=4, discharge=4, capacity=6, floor=0, efficiency=1_000_000, mtus=3):
    return Store(
        charge_w=[charge] * mtus,
        discharge_w=[discharge] * mtus,
        stored_wh=stored,
        floor_wh=floor,
        capacity_wh=capacity,
        charge_efficiency_ppm=efficiency,
        discharge_efficiency_ppm=1_000_000,
    )


def means(*stores, load=(0, 0, 0), produced=(0, 0, 0), flexible=(0, 0, 0)):
    return Means(mtu_s=3600, load_w=load, produced_w=produced, flexible_w=flexible, stores=stores)


def sells(*energies):
    return [(energy, 0) for energy in energies]


def buys(*energies):
    return [(0, energy) for energy in energies]


def test_what_is_sold_early_is_missing_later():
    assert first_excess(sells(3, 1, 0), means(store())) is None
    assert first_excess(sells(3, 2, 0), means(store())) == Excess(mtu=1, side="sell_wh", possible_wh=1)


def test_what_is_charged_between_can_be_sold_again():
    assert first_excess(sells(4, 0, 4), means(store())) is None
    assert first_excess(sells(4, 0, 3), means(store(efficiency=500_000))) == Excess(
        mtu=2, side="sell_wh", possible_wh=2
    )


def test_a_reserve_is_not_sold():
    assert first_excess(sells(2, 0, 0), means(store(floor=3))) == Excess(mtu=0, side="sell_wh", possible_wh=1)


def test_room_that_is_filled_takes_no_more():
    assert first_excess(buys(2, 1, 0), means(store())) == Excess(mtu=1, side="buy_wh", possible_wh=0)
    assert first_excess(buys(2, 0, 4), means(store())) is None


def test_nothing_offered_can_always_be_kept():
    assert first_excess(sells(0, 0, 0), means(load=(9, 9, 9))) is None


def keepable(offers, stored, load, produced):
    """By trying every whole Wh that a lossless store of 6 Wh and 4 W might hold after each MTU."""
    held = {stored}
    for k, (sell, _) in enumerate(offers):
        after = set()
        for before in held:
            for now in range(max(0, before - 4), min(6, before + 4) + 1):
                surplus = produced[k] - load[k] - (now - before)
                # Where something is offered it can be given, and what is left of the sun may be curtailed.
                if not sell or surplus >= sell:
                    after.add(now)
        held = after
    return bool(held)


@given(
    energies=st.lists(st.integers(0, 7), min_size=3, max_size=3),
    stored=st.integers(0, 6),
    load=st.lists(st.integers(0, 3), min_size=3, max_size=3),
    produced=st.lists(st.integers(0, 5), min_size=3, max_size=3),
)
def test_it_refuses_exactly_what_no_schedule_of_the_store_can_give(energies, stored, load, produced):
    found = first_excess(sells(*energies), means(store(stored=stored), load=load, produced=produced))
    assert (found is None) == keepable(sells(*energies), stored, load, produced)
    if found is not None:
        possible = [*energies[: found.mtu], found.possible_wh, *[0] * (2 - found.mtu)]
        assert keepable(sells(*possible), stored, load, produced)
