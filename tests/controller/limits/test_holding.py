"""What limits hold back of whom, and for how long."""

import asyncio

import pytest

from controller.clamp import Cap, Device, Planned, ability_of
from controller.limits.enforcer import LONGEST_S
from controller.limits.holding import HeldBack, Holding, Tally, held_w
from controller.limits.values import Band
from controller.microgrid import SetpointKind
from tests.controller.limits.scenes import GRID, START, STORAGE, Scene


def held_back(member="ada", mtu=START, limit=f"{GRID}/envelopes/e1", holder="wires", taken=0, given=0):
    return HeldBack(
        microgrid="village",
        member=member,
        mtu_start=mtu,
        limit=limit,
        holder=holder,
        consumption_w_ms=taken,
        production_w_ms=given,
    )


class TestDevices:
    @pytest.mark.parametrize(
        ("planned", "cap", "measured", "held"),
        [
            (4000, 1000, None, 3000),
            (4000, 1000, 1000, 3000),
            (4000, 1000, 950, 3000),
            # It does not obey, or not yet.
            (4000, 1000, 2500, 1500),
            (4000, 1000, 4000, 0),
            # It takes less of its own accord.
            (4000, 1000, 200, 0),
            (4000, 5000, 4000, 0),
            (4000, None, 4000, 0),
        ],
    )
    @pytest.mark.parametrize("sign", [1, -1])
    def test_what_a_cap_holds_back_is_measured_too(self, planned, cap, measured, held, sign):
        device = Device(
            id="ada/battery",
            scope=GRID,
            ability=ability_of(STORAGE),
            planned=Planned(kind=SetpointKind.POWER, value=sign * planned),
            measured_w=None if measured is None else sign * measured,
        )
        one = Cap(
            max_consumption_w=cap if sign > 0 else None, max_production_w=cap if sign < 0 else None, binding=(GRID,)
        )
        assert held_w(device, one) == ((held, 0) if sign > 0 else (0, held))


class TestTally:
    HOLDING = Holding(member="ada", limit="l", holder="h", consumption_w=10, production_w=2)

    def test_each_part_counts_in_its_own_mtu(self):
        tally = Tally()
        tally.add("village", 900, [self.HOLDING], start_ms=899_000, end_ms=902_500)
        found = [(one.mtu_start, one.consumption_w_ms, one.production_w_ms) for one in tally.take()]
        assert found == [(0, 10_000, 2_000), (900, 25_000, 5_000)]
        assert tally.take() == ()

    def test_what_could_not_be_kept_is_here_again(self):
        tally = Tally()
        tally.add("village", 900, [self.HOLDING], start_ms=0, end_ms=1000)
        taken = tally.take()
        tally.add("village", 900, [self.HOLDING], start_ms=1000, end_ms=2000)
        tally.give_back(taken)
        assert [one.consumption_w_ms for one in tally.take()] == [20_000]


class TestEnforcer:
    @pytest.fixture
    def one(self):
        scene = Scene({"ada/battery": STORAGE})
        scene.plan("ada/battery", SetpointKind.POWER, 4000, measured=4000)
        return scene

    def test_what_is_held_back_adds_up_from_when_the_device_obeys(self, one):
        one.limit(1000)
        one.wait(1)
        assert one.tally.take() == ()
        one.see("ada/battery", 1000)
        one.wait(1)
        for _ in range(3):
            one.wait(2)
        assert one.tally.take() == (held_back(taken=3000 * 6000),)

    def test_nothing_is_counted_once_nothing_is_held(self, one):
        one.limit(1000)
        one.see("ada/battery", 1000)
        one.wait(1)
        asyncio.run(one.book.cancel("village", "e1"))
        one.wait(200)
        one.tally.take()
        one.wait(10)
        assert one.tally.take() == ()

    def test_of_a_gap_in_looking_no_more_is_believed_than_a_minute(self, one):
        one.limit(1000)
        one.see("ada/battery", 1000)
        one.wait(1)
        one.tally.take()
        one.wait(500)
        assert sum(held.consumption_w_ms for held in one.tally.take()) == 3000 * LONGEST_S * 1000

    def test_a_rating_is_nobodys(self, one):
        one.book.rate("village", {GRID: Band(upper_w=1000, binding_upper="rating")})
        one.see("ada/battery", 1000)
        one.wait(1)
        one.wait(1)
        assert one.tally.take() == (held_back(limit="rating", holder="", taken=3000 * 1000),)
