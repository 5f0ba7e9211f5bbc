"""Regrets in whole micro-currency, from what was posted, and what makes them good."""

from dataclasses import replace

import numpy as np
import pytest

from controller.microgrid import Member, Microgrid, TariffPeriod, Trade, Window
from controller.snapshot import Snapshot
from controller.uplifts import Uplift, from_json, to_json, uplifts_of
from optimization.quantities import PeerId
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


def standing(*, alone=(0.0, 0.0, 0.0), rest=(0.0, 0.0, 0.0), own=(0.0, 0.0, 0.0), short=(0.0, 0.0, 0.0)) -> Standing:
    return Standing(alone=np.array(alone), rest=np.array(rest), own=np.array(own), short=np.array(short))


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


@pytest.mark.parametrize(("short", "regret"), [(0.0, -20_000), (1e-9, -20_000), (150.0, 0)])
def test_who_is_left_short_of_a_task_has_not_gained_by_it(short, regret):
    _, _, eve = found(alone=(-0.05, 0.055, 0.05 - short), short=(0.0, 0.0, short))
    assert eve.regret_micro == regret
    assert eve.paid_micro + eve.ahead_micro - eve.alone_micro == regret


def test_what_gains_do_not_cover_is_left_to_the_community():
    uplifts = found(alone=(-0.051, 0.05, 0.03))
    assert [one.uplift_micro for one in uplifts] == [1_000, 5_000, 0]


def test_they_read_back_as_they_were_stored():
    uplifts = tuple(found(alone=(-0.039, 0.06, 0.03)))
    assert from_json(to_json(uplifts)) == uplifts


def test_where_there_are_none_nothing_is_stored():
    assert to_json(()) is None
    assert from_json(None) == ()
