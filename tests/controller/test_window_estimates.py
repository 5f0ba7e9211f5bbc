"""Windows whose meters are silent, and what happens when they are heard."""

from collections import Counter
from itertools import count

import pytest

from controller.estimating import Estimation, EstimationRule
from controller.store import evidence, market, meter_events

SEQUENCES = count(1000)


def declare(site, rule, after_minutes=30):
    estimation = Estimation(rule=EstimationRule[rule], after_minutes=after_minutes)
    site.database.run(meter_events.put_estimation, "village", estimation)


def report(site, member, mtu, **changes):
    batch = site.batch(site.start + 900 * mtu, members=[member], sequence=next(SEQUENCES))
    for name, value in changes.items():
        setattr(batch.readings[0], name, value)
    return site.gateway.SubmitReadings(site.batch_request(batch))


def nets(site):
    """What each account comes to in each window, by kind."""
    totals = Counter()
    for row in site.rows("postings"):
        totals[row["window"], row["account"], row["kind"]] += row["amount_micro"]
    return {place: amount for place, amount in totals.items() if amount}


def runs(site):
    return [(h.window[-16:], h.run) for h in site.database.run(evidence.headers, "village")]


def sealed(site, window, member):
    """The qualities of a member's sealed registers by the run that seals them."""
    rows = [row for row in site.of_window("readings", window) if row["meter"] == member]
    return [(row["run"], (row["instant"] - site.start) // 900, row["quality"]) for row in rows]


MISSING = {("bob", 1), ("bob", 2)}


@pytest.fixture
def complete(make_site):
    """The village's night with every reading in its time."""
    site = make_site("village")
    site.live(until=site.end)
    return site


def test_without_a_rule_a_silent_meter_holds_back_all_windows(site):
    site.live(until=site.end, missing=MISSING)
    site.advance(site.end + 86_400)
    assert site.states() == ["DELIVERING"] * 1 + ["DELIVERING"] + ["METERED"] * 2


def test_before_its_time_nothing_is_estimated(site):
    declare(site, "LINEAR", after_minutes=30)
    site.live(until=site.start + 3600 - 1, missing=MISSING)
    assert site.states()[0] == "DELIVERING"
    site.live(until=site.start + 3600, missing=MISSING)
    assert site.states()[0] == "SETTLED"


def test_a_silent_meter_is_estimated_and_marked(site):
    declare(site, "LINEAR")
    site.live(until=site.end + 1800, missing=MISSING)
    site.advance(site.end + 3600)
    assert site.states() == ["SETTLED"] * 4
    assert sealed(site, 0, "bob") == [(0, 0, "MEASURED"), (0, 1, "ESTIMATED"), (0, 2, "ESTIMATED")]
    assert {row["window"] for row in site.rows("estimated")} == {site.window(0), site.window(1)}


def test_nobodys_reputation_rests_on_an_estimate(site, complete):
    declare(site, "LINEAR")
    site.live(until=site.end, missing=MISSING)
    site.advance(site.end + 3600)
    first = [row["member"] for row in site.of_window("performances", 0)]
    assert first == [row["member"] for row in complete.of_window("performances", 0) if row["member"] != "bob"]


@pytest.mark.parametrize("rule", ["LINEAR", "PROFILE"])
@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_when_the_true_registers_come_the_books_are_what_they_would_have_been(site, complete, rule, order):
    declare(site, rule)
    site.live(until=site.end, missing=MISSING)
    site.advance(site.end + 3600)
    assert nets(site) != nets(complete)
    for mtu in order:
        report(site, "bob", mtu)
        site.advance()
    assert nets(site) == nets(complete)
    assert site.rows("estimated") == []
    assert all(amount == 0 for amount in window_sums(site).values())


def window_sums(site):
    totals = Counter()
    for row in site.rows("postings"):
        totals[row["window"], row["run"]] += row["amount_micro"]
    return totals


def test_an_estimate_that_was_right_needs_no_correction(site):
    declare(site, "LINEAR")
    site.live(until=site.end, missing=MISSING)
    site.advance(site.end + 3600)
    before = runs(site)
    known = {row["instant"]: row for row in site.rows("readings") if row["meter"] == "bob" and row["run"] == 0}
    for mtu in (1, 2):
        row = known[site.start + 900 * mtu]
        report(site, "bob", mtu, import_wh=row["import_wh"], export_wh=row["export_wh"])
    site.advance()
    assert runs(site) == before
    assert site.rows("estimated") == []


def test_a_dead_meter_is_estimated_by_its_profile_and_by_nothing_else(site):
    dead = {("bob", mtu) for mtu in range(3, 9)}
    declare(site, "LINEAR")
    site.live(until=site.end, missing=dead)
    site.advance(site.end + 86_400)
    assert site.states()[1] == "DELIVERING"
    declare(site, "PROFILE")
    site.advance(site.end + 86_460)
    assert site.states() == ["SETTLED"] * 4


def test_a_reading_of_after_the_gap_moves_none_of_its_estimates(site):
    declare(site, "LINEAR")
    site.live(until=site.end, missing=MISSING)
    site.advance(site.end + 3600)
    assert len(site.rows("estimated")) == 2
    report(site, "bob", 9)
    assert site.rows("corrections_due") == []
    report(site, "bob", 1)
    assert [row["window"] for row in site.rows("corrections_due")] == [site.window(0), site.window(1)]


def test_the_first_reading_after_a_gap_moves_all_of_its_estimates_and_none_before(site):
    declare(site, "PROFILE")
    site.live(until=site.end, missing={("bob", 1), *(("bob", mtu) for mtu in range(4, 9))})
    site.advance(site.end + 86_400)
    assert {row["window"] for row in site.rows("estimated")} == {site.window(number) for number in range(4)}
    report(site, "bob", 9)
    assert [row["window"] for row in site.rows("corrections_due")] == [site.window(number) for number in (1, 2, 3)]


def test_windows_that_wait_are_not_looked_at_until_something_is_heard(site, monkeypatch):
    site.live(until=site.end, missing=MISSING)
    site.advance(site.end + 86_400)
    looked = []
    window = market.window
    monkeypatch.setattr(market, "window", lambda connection, name: looked.append(name) or window(connection, name))
    site.advance()
    assert looked == []
    report(site, "bob", 1)
    site.advance()
    assert {*looked} == {site.window(0), site.window(1)}
    looked.clear()
    declare(site, "LINEAR")
    site.advance()
    assert site.states() == ["SETTLED"] * 4
