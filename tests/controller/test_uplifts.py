"""Regrets in whole micro-currency, from what was posted, and what makes them good."""

from dataclasses import replace

import numpy as np
import pytest

from controller.microgrid import Member, Microgrid, TariffPeriod, Trade, Window
from controller.snapshot import Snapshot
from controller.uplifts import Uplift, from_json, to_json, uplifts_of
from optimization.clearing import Clearing
from optimization.community import (
    Community,
    Curtailable,
    FixedLoad,
    Link,
    Peer,
    Tariff,
    Thermostatic,
)
from optimization.quantities import DeviceId, Horizon, PeerId, SectionId
from optimization.regret import standing as planned_standing
from optimization.scheduling import schedule
from optimization.uplift import Standing

MEMBERS = [PeerId(name) for name in ("ada", "bob", "eve")]
SNAPSHOT = Snapshot(
    microgrid=Microgrid(
        id="village",
        time_zone="UTC",
        mtu_minutes=15,
        window_minutes=15,
        lead_minutes=5,
        start=0,
        end=1800,
        network_charge_micro_per_kwh=5000,
        currency="EUR",
        tariff=(TariffPeriod(start=0, end=1800, import_price_micro_per_kwh=60_000, export_price_micro_per_kwh=39_000),),
    ),
    window=Window(name="w", start=0, end=900),
    members=tuple(Member(id=member, section="east") for member in MEMBERS),
    devices=(),
    states={},
    orders={},
    order_digests={},
    limits=(),
    carry={},
)
TRADES = [
    Trade(seller="ada", buyer="bob", mtu_start=0, energy_wh=1000, price_micro_per_kwh=50_000),
    Trade(seller="grid", buyer="eve", mtu_start=0, energy_wh=500, price_micro_per_kwh=60_000),
]
"""Ada gets 50,000, Bob pays 55,000, Eve 30,000 micro."""


NONE = (0.0, 0.0, 0.0)


def standing(*, alone=NONE, rest=NONE, own=NONE, short=NONE, rounding=NONE) -> Standing:
    values = {"alone": alone, "rest": rest, "own": own, "short": short, "rounding": rounding}
    return Standing(**{name: np.array(value) for name, value in values.items()})


def found(snapshot=SNAPSHOT, trades=TRADES, **values) -> list[Uplift]:
    return list(uplifts_of(snapshot, MEMBERS, trades, standing(**values)))


def test_what_a_member_paid_is_what_is_posted_for_its_trades_and_their_charges():
    assert [uplift.paid_micro for uplift in found()] == [-50_000, 55_000, 30_000]


def test_regret_is_what_was_paid_and_is_ahead_beyond_what_alone_would_have_cost():
    ada, bob, eve = found(alone=(-0.039, 0.06, 0.03), rest=(0.0, 0.015, 0.0), own=(0.001, 0.0, 0.0))
    assert (ada.regret_micro, bob.regret_micro, eve.regret_micro) == (-10_000, 10_000, 0)
    assert (ada.uplift_micro, bob.uplift_micro, eve.uplift_micro) == (-10_000, 10_000, 0)
    assert (bob.alone_micro, bob.ahead_micro) == (60_000, 15_000)


def test_who_pays_a_part_of_a_micro_more_is_made_whole_for_all_of_it():
    _, bob, _ = found(alone=(-0.039, 0.0549964, 0.03))
    assert bob.regret_micro == bob.uplift_micro == 4


def test_a_part_of_a_micro_is_none():
    ada, bob, eve = found(alone=(-0.05 + 9e-7, 0.055 - 9e-7, 0.03))
    assert [one.regret_micro for one in (ada, bob, eve)] == [0, 0, 0]


def test_what_was_received_before_goes_back_as_regret_shrinks():
    before = replace(SNAPSHOT, uplifts={"ada": (-40_000, -20_000), "bob": (20_000, 20_000), "eve": (0, 0)})
    ada, bob, eve = found(before, alone=(-0.05, 0.067, 0.03))
    assert (bob.regret_micro, bob.received_micro, bob.uplift_micro) == (8_000, 8_000, -12_000)
    assert (ada.regret_micro, ada.received_micro, ada.uplift_micro) == (-40_000, -8_000, 12_000)
    assert eve.uplift_micro == 0


def test_contributions_are_shared_anew_with_every_window():
    before = replace(SNAPSHOT, uplifts={"ada": (-40_000, -20_000), "bob": (20_000, 20_000), "eve": (0, 0)})
    ada, bob, eve = found(before, alone=(-0.05, 0.055, 0.07))
    assert (eve.regret_micro, eve.received_micro) == (-40_000, -10_000)
    assert (ada.received_micro, ada.uplift_micro) == (-10_000, 10_000)
    assert bob.uplift_micro == 0


def test_who_joins_later_begins_with_nothing():
    before = replace(SNAPSHOT, uplifts={"ada": (-40_000, 0)})
    assert [one.regret_micro for one in found(before, alone=(-0.05, 0.055, 0.03))] == [-40_000, 0, 0]


@pytest.mark.parametrize(
    ("short", "regret"), [(0.0, -20_000), (1e-9, -20_000), (1e-6, -19_999), (0.015, -5_000), (150.0, 0)]
)
def test_who_is_left_short_of_a_task_has_gained_less_by_what_it_stands_for(short, regret):
    _, _, eve = found(alone=(-0.05, 0.055, 0.05 - short), short=(0.0, 0.0, short))
    assert eve.regret_micro == regret
    assert eve.paid_micro + eve.ahead_micro - eve.alone_micro == regret


@pytest.mark.parametrize(("spared", "regret"), [(0.0, 20_000), (1e-9, 20_000), (0.015, 5_000), (150.0, 0)])
def test_who_pays_for_what_alone_it_would_leave_undone_regrets_less_by_what_that_stands_for(spared, regret):
    _, _, eve = found(alone=(-0.05, 0.055, 0.01 + spared), short=(0.0, 0.0, -spared))
    assert eve.regret_micro == regret


def a_seller_with_a_cool_room(discomfort_cost: float) -> Community:
    """One sells its sun to another; a heater of 50 W keeps a room at exactly 20 degrees, if that is worth it."""
    mtus = 12
    heater = Thermostatic(
        id=DeviceId("heater"), rated_kw=0.05, modulating=True, heat_capacity_kwh_per_k=0.02, loss_kw_per_k=0.004,
        performance=np.full(mtus, 3.0), ambient_c=np.full(mtus, 15.0), draw_kw=np.zeros(mtus),
        lower_c=np.full(mtus, 20.0), upper_c=np.full(mtus, 20.0), initial_c=20.0, discomfort_cost=discomfort_cost,
    )  # fmt: skip
    sun = Curtailable(id=DeviceId("pv"), available_kw=np.full(mtus, 2.0))
    load = FixedLoad(id=DeviceId("load"), power_kw=np.full(mtus, 4.0))
    return Community(
        horizon=Horizon(mtus=mtus, mtu_minutes=60),
        tariff=Tariff(import_price=np.full(mtus, 0.3), export_price=np.full(mtus, 0.08)),
        peers=(
            Peer(id=PeerId("ada"), section=SectionId("east"), devices=(sun, heater)),
            Peer(id=PeerId("bob"), section=SectionId("east"), devices=(load,)),
        ),
        links=(Link(seller=PeerId("ada"), buyer=PeerId("bob")),),
    )


@pytest.mark.parametrize("discomfort_cost", [0.0002, 0.0003])
def test_nobody_keeps_its_gains_by_a_trifle_of_discomfort(discomfort_cost):
    community = a_seller_with_a_cool_room(discomfort_cost)
    clearing = schedule(community)
    assert isinstance(clearing, Clearing)
    stand = planned_standing(community, clearing.device_kw, 1)
    assert stand.short[0] * 1e6 > 1.0
    sold = round(2000 - 1000 * float(clearing.device_kw[DeviceId("heater")][0]))
    trade = Trade(seller="ada", buyer="bob", mtu_start=0, energy_wh=sold, price_micro_per_kwh=300_000)
    ada, _ = sorted(uplifts_of(SNAPSHOT, MEMBERS[:2], [trade], stand), key=lambda uplift: uplift.member)
    # Sold at 0.30 what the grid pays 0.08 for; not heating is worth a thousandth of that.
    assert ada.regret_micro == pytest.approx(-0.22 * 1000 * sold, rel=2e-3)


def test_what_gains_do_not_cover_is_left_to_the_community():
    uplifts = found(alone=(-0.051, 0.05, 0.03))
    assert [one.uplift_micro for one in uplifts] == [1_000, 5_000, 0]


def test_they_read_back_as_they_were_stored():
    uplifts = tuple(found(alone=(-0.039, 0.06, 0.03)))
    assert from_json(to_json(uplifts)) == uplifts


def test_where_there_are_none_nothing_is_stored():
    assert to_json(()) is None
    assert from_json(None) == ()


@pytest.mark.parametrize(("rounding", "regret"), [(0.0, -5_000), (0.01, -5_000), (0.02, -20_000)])
def test_what_whole_watts_leave_open_of_a_task_makes_no_gain_smaller(rounding, regret):
    short = 0.015
    _, _, eve = found(alone=(-0.05, 0.055, 0.05 - short), short=(0.0, 0.0, short), rounding=(0.0, 0.0, rounding))
    assert eve.regret_micro == regret
