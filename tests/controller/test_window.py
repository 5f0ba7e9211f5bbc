"""The life of a window: its states, each step once, whatever stops in between."""

import asyncio
from collections import defaultdict

import pytest
from grpc import RpcError

from contracts.outbox import AnchorState

KEPT = ("trades", "positions", "setpoints", "readings", "postings", "headers", "windows")
"""The tables in which a window's life ends up."""


class TestLife:
    def test_it_passes_through_every_state(self, anchored, crash):
        site = anchored
        seen = {}

        def advance(instant):
            site.advance(instant)
            site.anchor()
            seen[instant - site.start] = site.states()[0]

        site.advance(site.start - 301)
        assert site.states() == ["OPEN"] * 4
        site.database.commits_left = 1
        with pytest.raises(crash):
            site.advance(site.start - 300)
        assert site.states()[0] == "CLOSED"
        site.live(until=site.start + 1800, advance=advance)
        assert seen == {-300: "CLEARED", 0: "DELIVERING", 900: "DELIVERING", 1500: "DELIVERING", 1800: "ANCHORED"}

    def test_every_window_of_a_horizon_ends_anchored(self, anchored):
        anchored.live(until=anchored.end)
        assert anchored.states() == ["SETTLED"] * 4
        assert anchored.anchor().included == 1
        assert anchored.states() == ["ANCHORED"] * 4

    def test_without_a_chain_windows_end_settled(self, site):
        site.live(until=site.end)
        assert site.anchor() is None
        assert site.states() == ["SETTLED"] * 4
        assert {row["state"] for row in site.rows("outbox")} == {AnchorState.PENDING.name}

    def test_it_waits_for_its_gate_its_start_and_its_end(self, site):
        for instant, state in [(-301, "OPEN"), (-300, "CLEARED"), (-1, "CLEARED"), (0, "DELIVERING")]:
            site.advance(site.start + instant)
            assert site.states()[0] == state
        site.live(until=site.start + 1500)
        assert site.states()[:2] == ["DELIVERING", "CLEARED"]

    def test_a_late_gate_is_made_up_for_step_by_step(self, site):
        assert site.advance(site.start) == 3
        assert site.states() == ["DELIVERING", "OPEN", "OPEN", "OPEN"]

    def test_each_step_is_counted(self, site):
        steps = {}
        site.live(until=site.start + 1800, advance=lambda at: steps.update({at - site.start: site.advance(at)}))
        # Closing and clearing, beginning, closing and clearing the next; metering, settling, and the next begins.
        assert steps == {-300: 2, 0: 1, 900: 0, 1500: 2, 1800: 3}

    def test_two_communities_live_side_by_side(self, make_site):
        site = make_site("village", "hamlet")
        site.live(until=site.start + 1800)
        states = defaultdict(list)
        for row in sorted(site.rows("windows"), key=lambda row: row["start"]):
            states[row["microgrid"]].append(row["state"])
        assert states == {
            "village": ["SETTLED", "DELIVERING", "OPEN", "OPEN"],
            "hamlet": ["DELIVERING", "DELIVERING", "OPEN", "OPEN"],  # of which nobody reads the meters
        }


def story(site):
    return {table: site.rows(table) for table in KEPT}


class TestTwice:
    def test_every_step_taken_twice_has_one_effect(self, make_site):
        once, twice = make_site("village"), make_site("village")
        once.live(until=once.end)

        def advance(instant):
            twice.advance(instant)
            assert twice.advance(instant) == 0

        twice.live(until=twice.end, advance=advance)
        assert story(twice) == story(once)

    def test_two_at_a_time_take_each_step_once(self, make_site):
        once, both = make_site("village"), make_site("village")
        once.live(until=once.end)

        async def race():
            return await asyncio.gather(both.service.advance(), both.service.advance(), both.service.advance())

        both.live(until=both.end, advance=lambda _: both.loop.run(race()))
        assert story(both) == story(once)

    def test_anchoring_twice_sends_one_transaction_for_all_windows(self, anchored):
        anchored.live(until=anchored.end)
        assert anchored.anchor().included == 1
        raw = [row["raw"] for row in anchored.rows("outbox_attempts")]
        assert len(raw) == 1
        assert anchored.anchor().included == 0
        assert [row["raw"] for row in anchored.rows("outbox_attempts")] == raw


class TestCrash:
    @pytest.mark.slow
    def test_a_crash_after_every_single_commit_changes_nothing(self, make_site, make_anchored, crash):
        calm, hit = (make_site("village", anchored=make_anchored()) for _ in range(2))

        def advance(instant):
            calm.advance(instant)
            calm.anchor()

        calm.live(until=calm.end, advance=advance)
        crashes = 0

        def stumble(instant):
            nonlocal crashes
            while True:
                hit.database.commits_left = 1
                try:
                    hit.advance(instant)
                    hit.anchor()
                except crash:
                    crashes += 1
                    hit.crash()
                    hit.open()
                else:
                    hit.database.commits_left = None
                    return

        hit.live(until=hit.end, advance=stumble)
        # Of each window: closed, cleared, begun, metered, settled, batched, attested, signed, included, final; and once
        # that the account is this service's.
        assert crashes == 4 * 10 + 1
        assert story(hit) == story(calm)
        assert hit.rows("controllers")[0]["epoch"] == calm.rows("controllers")[0]["epoch"] + crashes

    def test_setpoints_that_were_committed_reach_the_drivers_after_a_crash(self, site, crash):
        site.database.commits_left = 2
        with pytest.raises(crash):
            site.advance(site.start - 300)
        assert site.states()[0] == "CLEARED"
        site.crash()
        site.open()
        site.clock.set(site.start)
        kept = [row["value"] for row in site.rows("setpoints") if row["device"] == "eve/battery"]
        assert site.told("eve/battery") == kept

    def test_a_crash_while_solving_leaves_the_window_closed_and_its_inputs_frozen(self, site, crash):
        site.database.commits_left = 1
        with pytest.raises(crash):
            site.advance(site.start - 300)
        snapshot = site.row(0).snapshot
        site.crash()
        site.open()
        assert site.states()[0] == "CLOSED"
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("late", (0, 8, -1, 1))))
        with pytest.raises(RpcError):
            site.participant("bob").SubmitOrder(site.order_request("bob"))
        site.advance()
        assert site.states()[0] == "CLEARED"
        assert site.row(0).snapshot == snapshot
