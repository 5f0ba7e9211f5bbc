from dataclasses import replace

import pytest

from controller.flexibility import Phase, Programme
from controller.microgrid import DeviceState
from controller.programmes import chained, progress, unfit
from controller.snapshot import Snapshot
from optimization.devices import Progress

MTU_S = 900
WASHER = Programme(
    phases=(Phase(power_w=(2000, 400, 150)), Phase(power_w=(300, 500), max_pause_s=2 * MTU_S)), start=0, end=10**10
)


def state(closed_mtus, *, closed=False, held_mtus=None, device="ada/washer"):
    return DeviceState(
        device=device,
        instant=0,
        power_w=0,
        closed_s=round(closed_mtus * MTU_S),
        stored_wh=None,
        closed=closed,
        held_s=None if held_mtus is None else round(held_mtus * MTU_S),
    )


class TestProgress:
    @pytest.mark.parametrize(
        ("known", "wanted"),
        [
            (None, None),
            (state(0), None),
            (state(0, closed=True), (0, 1, 0)),
            (state(0.01), (0, 1, 0)),  # never started twice, however soon it stopped
            (state(1, closed=True, held_mtus=1), (0, 1, 0)),
            (state(2.99, closed=True, held_mtus=3), (0, 3, 0)),  # a driver is some seconds late
            (state(3, held_mtus=2), (0, 3, 2)),
            (state(2, held_mtus=1), (0, 2, 0)),  # interrupted by a failsafe
            (state(4, closed=True, held_mtus=1), (1, 1, 0)),
            (state(5, held_mtus=4), (1, 2, 4)),
            (state(9, held_mtus=500), (1, 2, 192)),
            (state(3), (0, 3, 0)),
        ],
    )
    def test_it_follows_from_how_long_the_relay_has_been_closed(self, known, wanted):
        found = progress(WASHER, known, MTU_S)
        expected = wanted and Progress(phase=wanted[0], elapsed_mtus=wanted[1], paused_mtus=wanted[2])
        assert found == expected


class TestChained:
    def follow(self, **follows):
        return {id_: replace(WASHER, follows=before) for id_, before in follows.items()}

    def test_a_programme_waits_for_the_one_that_it_follows(self):
        assert chained(self.follow(dryer="washer", washer=None), {}) == {"dryer": "washer"}

    def test_one_that_was_begun_waits_no_more(self):
        assert chained(self.follow(dryer="washer", washer=None), {"dryer": state(1)}) == {}

    def test_what_follows_no_programme_waits_for_nothing(self):
        assert chained(self.follow(dryer="oven"), {}) == {}

    def test_of_two_followers_the_first_by_name_waits(self):
        assert chained(self.follow(dryer="washer", iron="washer", washer=None), {}) == {"dryer": "washer"}

    def test_a_ring_is_opened(self):
        chains = chained(self.follow(a="b", b="c", c="a"), {})
        assert chains == {"a": "b", "b": "c"}


class TestUnfit:
    @pytest.fixture
    def frozen(self, site):
        """The village's first window: eight quarter-hours."""
        site.advance(site.start - 300)
        return replace(Snapshot.from_json(site.row(0).snapshot), states={})

    def within(self, frozen, first, end, **changes):
        start = frozen.window.start
        return replace(WASHER, start=start + first * MTU_S, end=start + end * MTU_S, **changes)

    @pytest.mark.parametrize(("first", "end", "fits"), [(0, 5, True), (0, 4, False), (3, 8, True), (4, 12, False)])
    def test_what_is_longer_than_its_time_is_left_out(self, frozen, first, end, fits):
        programmes = {"ada/washer": self.within(frozen, first, end)}
        assert unfit(frozen, programmes, {}) == (frozenset() if fits else {"ada/washer"})

    def test_one_that_was_begun_is_never_left_out(self, frozen):
        frozen = replace(frozen, states={"ada/washer": state(1)})
        assert unfit(frozen, {"ada/washer": self.within(frozen, 0, 1)}, {}) == frozenset()

    @pytest.mark.parametrize(("length", "fits"), [(3, True), (4, False)])
    def test_a_follower_needs_time_after_the_soonest_end(self, frozen, length, fits):
        dryer = self.within(frozen, 0, 8, phases=(Phase(power_w=(1,) * length),), follows="ada/washer")
        programmes = {"ada/dryer": dryer, "ada/washer": self.within(frozen, 0, 8)}
        found = unfit(frozen, programmes, {"ada/dryer": "ada/washer"})
        assert found == (frozenset() if fits else {"ada/dryer"})

    def test_what_follows_one_that_is_left_out_is_left_out(self, frozen):
        dryer = self.within(frozen, 0, 8, phases=(Phase(power_w=(1,)),), follows="ada/washer")
        programmes = {"ada/dryer": dryer, "ada/washer": self.within(frozen, 0, 4)}
        assert unfit(frozen, programmes, {"ada/dryer": "ada/washer"}) == {"ada/dryer", "ada/washer"}

    @pytest.mark.parametrize(("paused", "fits"), [(2, True), (3, False)])
    def test_a_follower_whose_longest_delay_is_over_is_left_out(self, frozen, paused, fits):
        frozen = replace(frozen, states={"ada/washer": state(5, held_mtus=paused)})
        dryer = self.within(frozen, 0, 8, phases=(Phase(power_w=(1,)),), follows="ada/washer", max_delay_s=2 * MTU_S)
        programmes = {"ada/dryer": dryer, "ada/washer": self.within(frozen, 0, 8)}
        found = unfit(frozen, programmes, {"ada/dryer": "ada/washer"})
        assert found == (frozenset() if fits else {"ada/dryer"})
