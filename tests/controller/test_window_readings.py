"""Windows that wait for readings."""

from controller.store import evidence
from gridpact.v1 import operator_pb2
from tests.controller.stand_ins import FAULT


class TestMissingReadings:
    def test_a_gap_holds_its_window_back_and_the_settlement_of_those_behind_it(self, site):
        site.live(until=site.end, missing={("bob", 1)})
        assert site.states() == ["DELIVERING", "METERED", "METERED", "METERED"]
        assert site.of_window("postings", 1) == []

    def test_a_gap_on_the_border_holds_both_windows_back(self, site):
        site.live(until=site.end, missing={("bob", 4)})
        assert site.states() == ["SETTLED", "DELIVERING", "DELIVERING", "METERED"]

    def test_a_gap_that_is_filled_long_after_lets_all_go_on_in_their_order(self, site):
        site.live(until=site.end, missing={("bob", 1)})
        late = site.batch(site.start + 900, members=["bob"], sequence=1000)
        site.gateway.SubmitReadings(site.batch_request(late))
        site.advance(site.end + 60)
        assert site.states() == ["SETTLED"] * 4
        headers = site.database.run(evidence.headers, "village")
        assert [header.window for header in headers] == [site.window(number) for number in range(4)]

    def test_who_joins_after_gate_closure_holds_nothing_back(self, site):
        site.live(until=site.start)
        name = "microgrids/village"
        site.operator.CreateMember(
            operator_pb2.CreateMemberRequest(
                parent=name,
                member=operator_pb2.Member(name=f"{name}/members/zoe", section="north"),
                request_id="zoe",
            )
        )
        site.live(until=site.start + 1800)
        assert site.states()[0] == "SETTLED"

    def test_a_window_whose_start_has_passed_before_it_could_be_cleared_fails(self, site):
        site.advance(site.start + 1)
        assert site.states()[0] == "FAILED"
        assert "its start had passed" in site.row(0).failure

    def test_the_next_windows_clear_all_the_same(self, site):
        site.live(until=site.end, missing={(member, mtu) for member in ("bob", "eve") for mtu in range(9)})
        assert site.states() == ["DELIVERING"] * 4
        assert [site.row(number).source for number in range(4)] == ["CLEARING"] * 4

    def test_a_late_reading_lets_it_go_on(self, site):
        site.live(until=site.start + 1800, missing={("bob", 2)})
        assert site.states()[:2] == ["DELIVERING", "DELIVERING"]
        late = site.batch(site.start + 1800, members=["bob"], sequence=22)
        site.gateway.SubmitReadings(site.batch_request(late))
        assert site.advance(site.start + 1900) == 2
        assert site.states()[:2] == ["SETTLED", "DELIVERING"]

    def test_a_window_that_settles_late_goes_behind_in_the_chain(self, site):
        others = frozenset(("bob", mtu) for mtu in range(2, 5))
        site.live(until=site.start + 3600, missing=others)
        assert site.states()[:2] == ["DELIVERING", "DELIVERING"]
        for mtu in (4, 3, 2):
            batch = site.batch(site.start + 900 * mtu, members=["bob"], sequence=104 - mtu)
            site.gateway.SubmitReadings(site.batch_request(batch))
        site.advance(site.start + 3700)
        headers = site.database.run(evidence.headers, "village")
        assert [header.window for header in headers] == [site.window(0), site.window(1)]
        assert headers[1].previous == headers[0].hash

    def test_a_failed_window_waits_for_its_readings_too(self, site):
        site.solver.script.append(FAULT)
        site.live(until=site.end, missing={("eve", 2)})
        assert site.states()[0] == "FAILED"
