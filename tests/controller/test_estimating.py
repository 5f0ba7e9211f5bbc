from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.estimating import EstimationRule, Grid, Trace
from controller.microgrid import MeterReading
from controller.registers import Meter, MeterChange, Registers

MTU_S = 900
DAY_S = 86_400
MONDAY = 1_772_409_600
"""2026-03-02T00:00:00Z, a Monday."""
GRID = Grid(start=MONDAY, mtu_seconds=MTU_S, time_zone="UTC")


def reading(instant, import_wh, export_wh=0, quality="MEASURED"):
    return MeterReading(member="ada", instant=instant, import_wh=import_wh, export_wh=export_wh, quality=quality)


def trace(*readings, rule=EstimationRule.LINEAR, meter=None, grid=GRID):
    return Trace(member="ada", readings=readings, meter=meter or Meter(), rule=rule, grid=grid)


def test_what_was_read_is_no_estimate():
    known = reading(MONDAY, 5)
    assert trace(known, rule=EstimationRule.PROFILE).at(MONDAY) is known


def test_without_a_rule_a_missing_register_is_none():
    assert trace(reading(0, 5), reading(1800, 9), rule=EstimationRule.NONE).at(900) is None


class TestLinear:
    def test_it_shares_out_evenly_what_flowed_and_says_so(self):
        known = trace(reading(0, 100, 7), reading(2700, 131, 7))
        assert [known.at(instant) for instant in (900, 1800)] == [
            reading(900, 110, 7, "ESTIMATED"),
            reading(1800, 120, 7, "ESTIMATED"),
        ]

    def test_it_knows_nothing_before_the_first_and_after_the_last(self):
        known = trace(reading(900, 100), reading(2700, 131))
        assert (known.at(0), known.at(3600)) == (None, None)

    def test_a_faulty_reading_is_as_good_as_none(self):
        known = trace(reading(0, 100), reading(900, 999_999, quality="FAULTY"), reading(1800, 120))
        assert known.at(900) == reading(900, 110, quality="ESTIMATED")

    def test_it_goes_through_a_rollover(self):
        meter = Meter((MeterChange(instant=0, rollover_wh=1000),))
        known = trace(reading(0, 980), reading(2700, 40), meter=meter)
        assert [known.at(instant).import_wh for instant in (900, 1800)] == [0, 20]

    def test_a_replacement_is_a_known_register(self):
        first = Registers(import_wh=5, export_wh=0)
        change = MeterChange(instant=900, rollover_wh=None, final=Registers(import_wh=130, export_wh=0), first=first)
        known = trace(reading(0, 100), reading(2700, 25), meter=Meter((change,)))
        assert [known.at(instant).import_wh for instant in (450, 900, 1800)] == [115, 5, 15]


class TestProfile:
    @pytest.fixture
    def days(self):
        """Ten days from a Monday on: 10 Wh in each quarter-hour of working days, 30 Wh at weekends; at noon 50 more."""
        total, found = 0, []
        for k in range(10 * 96 + 1):
            found.append(reading(MONDAY + k * MTU_S, total))
            total += (30 if k // 96 % 7 >= 5 else 10) + 50 * (k % 96 == 48)
        return found

    def test_after_the_last_reading_it_goes_on_as_on_comparable_days(self, days):
        known = trace(*days, rule=EstimationRule.PROFILE)
        # The eleventh day is a Thursday.
        last = days[-1]
        assert known.at(last.instant + 48 * MTU_S) == reading(
            last.instant + 48 * MTU_S, last.import_wh + 480, quality="ESTIMATED"
        )
        assert known.at(last.instant + 49 * MTU_S).import_wh == last.import_wh + 540
        # Two days later it is Saturday.
        at = [known.at(last.instant + (192 + k) * MTU_S).import_wh for k in (0, 1, 2)]
        assert [b - a for a, b in pairwise(at)] == [30, 30]

    def test_between_readings_it_has_the_days_shape_and_their_total(self, days):
        kept = [one for one in days if not 9 * 96 < (one.instant - MONDAY) // MTU_S < 10 * 96]
        kept[-1] = reading(kept[-1].instant, kept[-2].import_wh + 2 * (960 + 50))
        known = trace(*kept, rule=EstimationRule.PROFILE)
        at = [known.at(MONDAY + (9 * 96 + k) * MTU_S).import_wh for k in range(97)]
        assert [b - a for a, b in pairwise(at)] == [120 if k == 48 else 20 for k in range(96)]

    def test_who_has_no_days_is_estimated_evenly_between_readings_and_at_a_standstill_after_them(self):
        known = trace(reading(0, 100), reading(1800, 110), rule=EstimationRule.PROFILE)
        assert (known.at(900).import_wh, known.at(2700).import_wh) == (105, 110)

    def test_before_the_first_reading_nothing_flowed(self):
        known = trace(reading(1800, 110, 3), rule=EstimationRule.PROFILE)
        assert known.at(0) == reading(0, 110, 3, "ESTIMATED")
        assert trace(rule=EstimationRule.PROFILE).at(900) == reading(900, 0, quality="ESTIMATED")

    def test_days_are_those_of_the_time_zone(self, days):
        """By Auckland's clock, thirteen hours ahead, the weekend is another."""
        grid = Grid(start=MONDAY, mtu_seconds=MTU_S, time_zone="Pacific/Auckland")
        friday = [one for one in days if one.instant <= MONDAY + 4 * DAY_S + 13 * 3600]
        known, other = (trace(*friday, rule=EstimationRule.PROFILE, grid=one) for one in (GRID, grid))
        at = friday[-1].instant + MTU_S
        assert known.at(at).import_wh == other.at(at).import_wh == friday[-1].import_wh + 10

    def test_a_reported_estimate_counts_where_it_fits_and_not_where_it_does_not(self):
        ends = reading(0, 100), reading(2700, 130)
        fits = trace(ends[0], reading(900, 125, quality="ESTIMATED"), ends[1])
        wrong = trace(ends[0], reading(900, 131, quality="ESTIMATED"), ends[1])
        assert [fits.at(instant).import_wh for instant in (900, 1800)] == [125, 127]
        assert [wrong.at(instant).import_wh for instant in (900, 1800)] == [110, 120]


@given(
    flows=st.lists(st.integers(0, 4000), min_size=1, max_size=10),
    missing=st.sets(st.integers(1, 9)),
    rule=st.sampled_from([EstimationRule.LINEAR, EstimationRule.PROFILE]),
)
def test_estimates_between_readings_never_go_back_and_add_up_to_what_flowed(flows, missing, rule):
    totals = [sum(flows[:k]) for k in range(len(flows) + 1)]
    missing -= {len(flows)}
    known = trace(
        *(reading(MONDAY + k * MTU_S, total) for k, total in enumerate(totals) if k not in missing), rule=rule
    )
    found = [known.at(MONDAY + k * MTU_S) for k in range(len(totals))]
    energies = [after.import_wh - before.import_wh for before, after in pairwise(found)]
    assert min(energies) >= 0
    assert sum(energies) == sum(flows)
    assert [one.quality for one in found] == ["ESTIMATED" if k in missing else "MEASURED" for k in range(len(totals))]
    for k, total in enumerate(totals):
        assert k in missing or found[k].import_wh == total
