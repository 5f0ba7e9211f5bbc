import pytest
from grpc import StatusCode

from gridpact.v1 import dso_pb2, types_pb2

NAME = "microgrids/village"


def get(site, id_):
    return site.dso.GetEnvelope(dso_pb2.GetEnvelopeRequest(name=f"{NAME}/envelopes/{id_}")).envelope


class TestCreateEnvelope:
    @pytest.mark.parametrize("target", [NAME, f"{NAME}/sections/east", f"{NAME}/members/eve"])
    def test_it_is_kept_as_it_was_signed(self, site, target):
        envelope = site.envelope("limit", (0, 4, -3000, None), (4, 8, None, 0), target=target)
        answer = site.dso.CreateEnvelope(site.envelope_request(envelope)).envelope
        assert answer.envelope == envelope
        assert answer.state == dso_pb2.ENVELOPE_STATE_ACTIVE
        assert answer.create_time.seconds == site.clock.now()
        assert get(site, "limit") == answer

    def test_zero_binds_and_an_absent_bound_does_not(self, site):
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("limit", (0, 8, None, 0))))
        bounds = get(site, "limit").envelope.periods[0].bounds
        assert (bounds.HasField("lower_w"), bounds.HasField("upper_w"), bounds.upper_w) == (False, True, 0)

    def test_a_second_one_of_the_name_is_refused(self, site):
        envelope = site.envelope("limit")
        site.dso.CreateEnvelope(site.envelope_request(envelope))
        refused = site.refused(site.dso.CreateEnvelope, site.envelope_request(envelope))
        assert (refused.code, refused.reason) == (StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS")

    @pytest.mark.parametrize(
        ("periods", "code", "field"),
        [
            ([(0, 2, 0, 1), (1, 3, 0, 1)], StatusCode.INVALID_ARGUMENT, "envelope.periods[1]"),
            ([(2, 4, 0, 1), (0, 2, 0, 1)], StatusCode.INVALID_ARGUMENT, "envelope.periods[1]"),
            ([(0, 2, 0, 1), (0, 2, 0, 1)], StatusCode.INVALID_ARGUMENT, "envelope.periods[1]"),
            ([(0, 0.5, 0, 1)], StatusCode.INVALID_ARGUMENT, "envelope.periods[0].interval"),
            ([(0, 1, 0, 1), (1.5, 2, 0, 1)], StatusCode.INVALID_ARGUMENT, "envelope.periods[1].interval"),
            ([(2, 2, 0, 1)], StatusCode.INVALID_ARGUMENT, "envelope.periods[0].interval"),
            ([(3, 2, 0, 1)], StatusCode.INVALID_ARGUMENT, "envelope.periods[0].interval"),
            ([(0, 2, 2, 1)], StatusCode.INVALID_ARGUMENT, "envelope.periods[0].bounds"),
            ([(0, 2, None, None)], StatusCode.INVALID_ARGUMENT, "envelope.periods[0].bounds"),
            ([(0, 2, None, 10**9 + 1)], StatusCode.OUT_OF_RANGE, "envelope.periods[0].bounds.upper_w"),
            ([(0, 2, -(10**9) - 1, None)], StatusCode.OUT_OF_RANGE, "envelope.periods[0].bounds.lower_w"),
            ([(-(10**7), 2, 0, 1)], StatusCode.OUT_OF_RANGE, "envelope.periods[0].interval.start_time"),
        ],
    )
    def test_a_malformed_period_is_named(self, site, periods, code, field):
        envelope = site.envelope("limit")
        del envelope.periods[:]
        for first, end, lower, upper in periods:
            period = envelope.periods.add()
            period.interval.start_time.seconds = site.start + round(first * 900)
            period.interval.end_time.seconds = site.start + round(end * 900)
            period.bounds.CopyFrom(types_pb2.PowerBounds(lower_w=lower, upper_w=upper))
        refused = site.refused(site.dso.CreateEnvelope, site.envelope_request(envelope))
        assert (refused.code, refused.fields) == (code, (field,))

    def test_touching_periods_do_not_overlap(self, site):
        envelope = site.envelope("limit", (0, 1, 0, 1), (1, 2, 0, 1))
        assert site.dso.CreateEnvelope(site.envelope_request(envelope)).envelope.envelope == envelope

    def test_equal_bounds_are_not_inverted(self, site):
        envelope = site.envelope("limit", (0, 1, 500, 500))
        assert site.dso.CreateEnvelope(site.envelope_request(envelope)).envelope.envelope == envelope

    def test_one_without_periods_is_refused(self, site):
        envelope = site.envelope("limit")
        del envelope.periods[:]
        refused = site.refused(site.dso.CreateEnvelope, site.envelope_request(envelope))
        assert refused.fields == ("envelope.periods",)

    @pytest.mark.parametrize(
        "target",
        [
            "microgrids/hamlet",
            "microgrids/hamlet/members/ada",
            f"{NAME}/members/zoe",
            f"{NAME}/sections/north",
        ],
    )
    def test_an_unknown_target_is_not_found(self, site, target):
        refused = site.refused(site.dso.CreateEnvelope, site.envelope_request(site.envelope("limit", target=target)))
        assert refused.code is StatusCode.NOT_FOUND

    @pytest.mark.parametrize("target", ["", "microgrids", f"{NAME}/members/ada/devices/pv", f"{NAME}/", f"{NAME}\n"])
    def test_a_malformed_target_is_invalid(self, site, target):
        refused = site.refused(site.dso.CreateEnvelope, site.envelope_request(site.envelope("limit", target=target)))
        assert (refused.code, refused.fields) == (StatusCode.INVALID_ARGUMENT, ("envelope.target",))

    @pytest.mark.parametrize("name", ["", "limit", f"{NAME}/envelopes/", f"{NAME}/envelopes/Limit", f"{NAME}/limits/a"])
    def test_a_malformed_name_is_invalid(self, site, name):
        refused = site.refused(site.dso.CreateEnvelope, site.envelope_request(site.envelope("limit", name=name)))
        assert (refused.code, refused.fields) == (StatusCode.INVALID_ARGUMENT, ("envelope.name",))

    def test_one_of_another_microgrid_than_the_parent_is_not_found(self, site):
        envelope = site.envelope("limit", name="microgrids/hamlet/envelopes/limit")
        assert site.refused(site.dso.CreateEnvelope, site.envelope_request(envelope)).code is StatusCode.NOT_FOUND


class TestGetEnvelope:
    def test_an_unknown_one_is_not_found(self, site):
        request = dso_pb2.GetEnvelopeRequest(name=f"{NAME}/envelopes/none")
        assert site.refused(site.dso.GetEnvelope, request).code is StatusCode.NOT_FOUND

    def test_a_malformed_name_is_invalid(self, site):
        refused = site.refused(site.dso.GetEnvelope, dso_pb2.GetEnvelopeRequest(name="none"))
        assert (refused.code, refused.fields) == (StatusCode.INVALID_ARGUMENT, ("name",))


def test_envelopes_are_listed_in_order_of_their_ids_page_by_page(site):
    for id_ in ("c", "a", "b"):
        site.dso.CreateEnvelope(site.envelope_request(site.envelope(id_)))
    first = site.dso.ListEnvelopes(dso_pb2.ListEnvelopesRequest(parent=NAME, page_size=2))
    rest = site.dso.ListEnvelopes(
        dso_pb2.ListEnvelopesRequest(parent=NAME, page_size=2, page_token=first.next_page_token)
    )
    names = [record.envelope.name.rpartition("/")[2] for record in (*first.envelopes, *rest.envelopes)]
    assert names == ["a", "b", "c"]
    assert rest.next_page_token == ""


class TestCancelEnvelope:
    def cancel(self, site, id_):
        return dso_pb2.CancelEnvelopeRequest(name=f"{NAME}/envelopes/{id_}", request_id=site.request_id())

    def test_it_is_kept_and_counts_no_longer(self, site):
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("limit", (0, 8, None, 1700))))
        answer = site.dso.CancelEnvelope(self.cancel(site, "limit")).envelope
        assert answer.state == dso_pb2.ENVELOPE_STATE_CANCELLED
        assert get(site, "limit") == answer
        site.live(until=site.start)
        assert '"limits":[]' in site.row(0).snapshot

    def test_an_unknown_one_is_not_found(self, site):
        assert site.refused(site.dso.CancelEnvelope, self.cancel(site, "none")).code is StatusCode.NOT_FOUND


class TestGetPlannedLoad:
    def ask(self, site):
        return site.dso.GetPlannedLoad(dso_pb2.GetPlannedLoadRequest(parent=NAME))

    def test_it_is_empty_before_the_first_clearing(self, site):
        assert self.ask(site) == dso_pb2.GetPlannedLoadResponse()

    def test_it_is_the_newest_plan_to_the_end_of_the_horizon(self, site):
        site.live(until=site.start + 1800)
        answer = self.ask(site)
        assert (answer.window, answer.start_time.seconds) == (site.window(1), site.start + 1800)
        assert len(answer.net_power_w) == 6

    def test_it_keeps_the_limits(self, site):
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("limit", (0, 8, -700, 1400))))
        site.live(until=site.start)
        assert all(-700 <= power <= 1400 for power in self.ask(site).net_power_w)
        assert len(self.ask(site).net_power_w) == 8
