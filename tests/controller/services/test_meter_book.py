"""What the operator declares of meters, and what happened to readings, over the API."""

import pytest
from grpc import StatusCode

from controller.wire import fields
from gridpact.v1 import metering_pb2 as pb
from gridpact.v1 import metering_pb2_grpc, participant_pb2

NAME = "microgrids/village"
ADA, BOB = f"{NAME}/members/ada", f"{NAME}/members/bob"


@pytest.fixture
def running(site):
    """The first quarter-hour is over; its start was reported."""
    site.clock.set(site.start)
    site.gateway.SubmitReadings(site.batch_request(site.batch(site.start)))
    site.clock.set(site.start + 900)
    return site


def stub(site, caller):
    return site.stub(metering_pb2_grpc.MeteringServiceStub, caller)


def operator(site):
    return stub(site, "operator/op")


def change(site, at, *, meter=ADA, final=None, first=None, **changes):
    return pb.DeclareMeterChangeRequest(
        change=pb.MeterChange(
            meter=meter,
            effective_time=fields.timestamp(site.start + at),
            final=None if final is None else {"import_wh": final[0], "export_wh": final[1]},
            first=None if first is None else {"import_wh": first[0], "export_wh": first[1]},
            **changes,
        ),
        request_id=site.request_id(),
    )


def submit(site, mtu, *, sequence, member="ada", **changes):
    batch = site.batch(site.start + 900 * mtu, members=[member], sequence=sequence)
    for name, value in changes.items():
        setattr(batch.readings[0], name, value)
    return site.gateway.SubmitReadings(site.batch_request(batch))


def events(site, caller="operator/op", parent=NAME):
    return stub(site, caller).ListMeterEvents(pb.ListMeterEventsRequest(parent=parent)).events


def kinds(found):
    return [pb.MeterEventKind.Name(event.kind).removeprefix("METER_EVENT_KIND_") for event in found]


def decide(site, number, decision, reason="looked at it"):
    return operator(site).DecideMeterEvent(
        pb.DecideMeterEventRequest(
            name=f"{NAME}/meter-events/e{number}",
            decision=pb.MeterEventDecision.Value(f"METER_EVENT_DECISION_{decision}"),
            reason=reason,
            request_id=site.request_id(),
        )
    )


class TestChanges:
    def test_a_register_may_begin_again_where_that_is_declared(self, running):
        operator(running).DeclareMeterChange(change(running, 0, rollover_wh=1010))
        submit(running, 1, sequence=50, import_wh=65)
        (event,) = events(running)
        assert (kinds([event]), event.reported.import_wh, event.known.import_wh) == (["ROLLOVER"], 65, 1000)

    def test_a_register_beyond_its_end_is_refused(self, running):
        operator(running).DeclareMeterChange(change(running, 0, rollover_wh=1010))
        batch = running.batch(running.start + 900, members=["ada"])
        batch.readings[0].import_wh = 1010
        answer = running.refused(running.gateway.SubmitReadings, running.batch_request(batch))
        assert (answer.code, answer.fields) == (StatusCode.OUT_OF_RANGE, ("readings[0].import_wh",))

    def test_a_replaced_meter_goes_on_at_its_own_registers(self, running):
        operator(running).DeclareMeterChange(change(running, 450, final=(1030, 500), first=(7, 0)))
        submit(running, 1, sequence=50, import_wh=52, export_wh=0)
        (event,) = events(running)
        assert (kinds([event]), event.reporter) == (["REPLACEMENT"], "operator:op")

    def test_it_is_settled_through_a_replacement(self, site, make_site):
        """75 Wh flow in the first quarter-hour: 30 through the old meter, 45 through the new one."""
        other = make_site("village")
        other.live(until=site.start + 1800)
        site.clock.set(site.start)
        operator(site).DeclareMeterChange(change(site, 0, meter=BOB, final=(0, 0), first=(1000, 500)))
        site.live(until=site.start)
        site.clock.set(site.start + 450)
        operator(site).DeclareMeterChange(change(site, 450, final=(1030, 500), first=(7, 0)))
        for mtu in (1, 2):
            site.clock.set(site.start + 900 * mtu)
            batch = site.batch(site.start + 900 * mtu)
            for reading in batch.readings:
                if reading.member == ADA:
                    reading.import_wh += 7 - 1030
                    reading.export_wh -= 500
            site.gateway.SubmitReadings(site.batch_request(batch))
            site.advance()
        assert site.states()[0] == "SETTLED"
        assert site.postings(0) == other.postings(0)

    @pytest.mark.parametrize(
        ("changes", "code", "field"),
        [
            ({"final": (999, 500), "first": (0, 0)}, StatusCode.OUT_OF_RANGE, "change.final.import_wh"),
            ({"final": (1000, 500)}, StatusCode.INVALID_ARGUMENT, "change.first"),
            ({"first": (1000, 500)}, StatusCode.INVALID_ARGUMENT, "change.final"),
            ({"rollover_wh": 999}, StatusCode.OUT_OF_RANGE, "change.rollover_wh"),
            ({"rollover_wh": 1000}, StatusCode.OUT_OF_RANGE, "change.rollover_wh"),
            ({"at": 900 + 121}, StatusCode.OUT_OF_RANGE, "change.effective_time"),
            ({"meter": "ada"}, StatusCode.INVALID_ARGUMENT, "change.meter"),
        ],
    )
    def test_what_does_not_fit_is_named(self, running, changes, code, field):
        request = change(running, changes.pop("at", 450), **changes)
        answer = running.refused(operator(running).DeclareMeterChange, request)
        assert (answer.code, answer.fields) == (code, (field,))

    def test_what_was_read_after_it_fits_too(self, running):
        submit(running, 1, sequence=50)
        request = change(running, 450, final=(1030, 500), first=(1076, 500))
        answer = running.refused(operator(running).DeclareMeterChange, request)
        assert answer.fields == ("change.first.import_wh",)

    def test_an_instant_has_one_change(self, running):
        operator(running).DeclareMeterChange(change(running, 450, rollover_wh=10**6))
        request = change(running, 450, rollover_wh=10**7)
        assert running.refused(operator(running).DeclareMeterChange, request).code is StatusCode.ALREADY_EXISTS

    @pytest.mark.parametrize("meter", [f"{NAME}/members/zoe", f"{NAME}/sections/moon", "microgrids/hamlet"])
    def test_of_a_meter_that_there_is_not_nothing_is_declared(self, running, meter):
        request = change(running, 450, meter=meter, rollover_wh=10**6)
        assert running.refused(operator(running).DeclareMeterChange, request).code is StatusCode.NOT_FOUND

    def test_they_are_listed_to_whom_they_concern(self, running):
        for meter in (BOB, ADA, NAME):
            operator(running).DeclareMeterChange(change(running, 450, meter=meter, rollover_wh=10**6))
        own = pb.ListMeterChangesRequest(parent=ADA)
        whole = pb.ListMeterChangesRequest(parent=NAME)
        assert [one.meter for one in operator(running).ListMeterChanges(whole).changes] == [NAME, ADA, BOB]
        ada, bob = stub(running, "participant/ada"), stub(running, "participant/bob")
        assert [one.rollover_wh for one in ada.ListMeterChanges(own).changes] == [10**6]
        for caller, request in ((bob, own), (ada, whole)):
            assert running.refused(caller.ListMeterChanges, request).code is StatusCode.NOT_FOUND


class TestRules:
    def test_nothing_is_estimated_unless_it_is_declared(self, site):
        rules = operator(site).GetMeteringRules(pb.GetMeteringRulesRequest(parent=NAME)).rules
        assert (rules.estimation, rules.HasField("loss_limit_permille")) == (pb.ESTIMATION_RULE_NONE, False)

    def test_what_is_set_holds(self, site):
        rules = pb.MeteringRules(
            estimation=pb.ESTIMATION_RULE_PROFILE, estimate_after={"seconds": 7200}, loss_limit_permille=0
        )
        request = pb.SetMeteringRulesRequest(parent=NAME, rules=rules, request_id="rules")
        assert operator(site).SetMeteringRules(request).rules == rules
        found = stub(site, "participant/ada").GetMeteringRules(pb.GetMeteringRulesRequest(parent=NAME)).rules
        assert found == rules

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"estimation": 0}, "rules.estimation"),
            ({"estimation": 9}, "rules.estimation"),
            ({"estimate_after": {"seconds": 61}}, "rules.estimate_after"),
            ({"estimate_after": {"seconds": 32 * 86_400}}, "rules.estimate_after"),
            ({"loss_limit_permille": 1001}, "rules.loss_limit_permille"),
            ({"loss_limit_permille": -1}, "rules.loss_limit_permille"),
        ],
    )
    def test_what_is_wrong_is_named(self, site, changes, field):
        rules = pb.MeteringRules(**{"estimation": pb.ESTIMATION_RULE_LINEAR} | changes)
        request = pb.SetMeteringRulesRequest(parent=NAME, rules=rules, request_id="rules")
        assert site.refused(operator(site).SetMeteringRules, request).fields == (field,)

    def test_who_rests_on_an_estimate_is_estimated_anew_by_another_rule(self, site):
        def rule(name):
            rules = pb.MeteringRules(estimation=pb.EstimationRule.Value(f"ESTIMATION_RULE_{name}"))
            request = pb.SetMeteringRulesRequest(parent=NAME, rules=rules, request_id=site.request_id())
            operator(site).SetMeteringRules(request)
            site.advance()

        rule("LINEAR")
        site.live(until=site.end, missing={("bob", 1), ("bob", 2)})
        before = site.rows("postings")
        rule("NONE")
        assert site.rows("postings") == before
        assert site.rows("corrections_due") == []


class TestEvents:
    @pytest.fixture
    def contradicted(self, running):
        """Of ada's and of bob's register at the start another value was reported: events 1 and 2."""
        submit(running, 0, sequence=50, import_wh=1010)
        submit(running, 0, sequence=51, member="bob", import_wh=1010)
        return running

    def test_the_operator_sees_all_of_it(self, contradicted):
        found = events(contradicted)
        assert [(event.name, event.meter) for event in found] == [
            (f"{NAME}/meter-events/e1", ADA),
            (f"{NAME}/meter-events/e2", BOB),
        ]
        assert (found[0].reported.import_wh, found[0].known.import_wh, found[0].reporter) == (1010, 1000, "gateway")
        assert found[0].instant == found[0].known_time == fields.timestamp(contradicted.start)

    def test_a_participant_sees_its_own_and_a_gateway_what_it_reported(self, contradicted):
        assert [event.meter for event in events(contradicted, "participant/ada", ADA)] == [ADA]
        assert [event.meter for event in events(contradicted, "meter/gateway")] == [ADA, BOB]
        assert list(events(contradicted, "meter/other")) == []
        for parent in (BOB, NAME):
            answer = contradicted.refused(
                stub(contradicted, "participant/ada").ListMeterEvents, pb.ListMeterEventsRequest(parent=parent)
            )
            assert answer.code is StatusCode.NOT_FOUND

    def test_a_dso_sees_the_registers_of_those_who_let_it(self, contradicted):
        consent = participant_pb2.Consent(
            grantee="dso/wires",
            scope=participant_pb2.CONSENT_SCOPE_METER_DATA,
            expire_time=fields.timestamp(contradicted.end),
        )
        request = participant_pb2.GrantConsentRequest(parent=ADA, consent=consent, request_id="let")
        contradicted.participant("ada").GrantConsent(request)
        found = events(contradicted, "dso/wires")
        assert [event.HasField("reported") for event in found] == [True, False]
        assert kinds(found) == ["CONTRADICTORY"] * 2

    def test_they_come_in_pages(self, contradicted):
        first = operator(contradicted).ListMeterEvents(pb.ListMeterEventsRequest(parent=NAME, page_size=1))
        request = pb.ListMeterEventsRequest(parent=NAME, page_size=1, page_token=first.next_page_token)
        second = operator(contradicted).ListMeterEvents(request)
        assert [event.meter for event in (*first.events, *second.events)] == [ADA, BOB]
        assert second.next_page_token == ""

    def registers(self, site, member="ada"):
        listed = stub(site, f"participant/{member}").ListReadings(
            pb.ListReadingsRequest(parent=f"{NAME}/members/{member}")
        )
        return [(reading.import_wh, pb.ReadingQuality.Name(reading.quality)[16:]) for reading in listed.readings]

    def test_until_it_is_decided_the_first_counts(self, contradicted):
        assert self.registers(contradicted) == [(1000, "MEASURED")]
        decide(contradicted, 1, "KEPT")
        assert self.registers(contradicted) == [(1000, "MEASURED")]

    def test_what_is_accepted_counts_and_no_gateway_takes_its_place(self, contradicted):
        event = decide(contradicted, 1, "ACCEPTED").event
        assert (event.decision, event.reason) == (pb.METER_EVENT_DECISION_ACCEPTED, "looked at it")
        assert self.registers(contradicted) == [(1010, "SUBSTITUTED")]
        assert submit(contradicted, 0, sequence=60).set_aside == 1
        assert self.registers(contradicted) == [(1010, "SUBSTITUTED")]

    def test_a_settled_window_is_corrected_with_what_is_accepted(self, site):
        site.live(until=site.start + 1800)
        submit(site, 1, sequence=500, import_wh=1070)
        decide(site, 1, "ACCEPTED")
        site.advance()
        assert [(row["window"], row["run"]) for row in site.rows("headers")] == [
            (site.window(0), 0),
            (site.window(0), 1),
        ]

    def test_it_is_decided_once(self, contradicted):
        decide(contradicted, 1, "KEPT")
        again = pb.DecideMeterEventRequest(
            name=f"{NAME}/meter-events/e1", decision=pb.METER_EVENT_DECISION_ACCEPTED, request_id="again"
        )
        answer = contradicted.refused(operator(contradicted).DecideMeterEvent, again)
        assert (answer.code, answer.reason) == (StatusCode.FAILED_PRECONDITION, "DECIDED")

    def test_what_does_not_fit_its_neighbours_is_not_accepted(self, running):
        submit(running, 1, sequence=50)
        submit(running, 0, sequence=51, import_wh=1076)
        request = pb.DecideMeterEventRequest(
            name=f"{NAME}/meter-events/e1", decision=pb.METER_EVENT_DECISION_ACCEPTED, request_id="one"
        )
        answer = running.refused(operator(running).DecideMeterEvent, request)
        assert (answer.code, answer.reason) == (StatusCode.FAILED_PRECONDITION, "DOES_NOT_FIT")

    def test_a_leap_may_be_true(self, running):
        batch = running.batch(running.start + 900, members=["ada"])
        batch.readings[0].import_wh = 10**9
        running.refused(running.gateway.SubmitReadings, running.batch_request(batch))
        decide(running, 1, "ACCEPTED")
        assert self.registers(running)[1] == (10**9, "SUBSTITUTED")

    def test_about_a_duplicate_there_is_nothing_to_decide(self, running):
        submit(running, 0, sequence=50)
        request = pb.DecideMeterEventRequest(
            name=f"{NAME}/meter-events/e1", decision=pb.METER_EVENT_DECISION_KEPT, request_id="one"
        )
        answer = running.refused(operator(running).DecideMeterEvent, request)
        assert (answer.code, answer.reason) == (StatusCode.FAILED_PRECONDITION, "NOTHING_TO_DECIDE")

    @pytest.mark.parametrize("event", ["e3", "e0", "x1", "e" + "9" * 19, "one"])
    def test_an_event_that_there_is_not_is_not_found(self, contradicted, event):
        request = pb.DecideMeterEventRequest(
            name=f"{NAME}/meter-events/{event}", decision=pb.METER_EVENT_DECISION_KEPT, request_id="one"
        )
        assert contradicted.refused(operator(contradicted).DecideMeterEvent, request).code is StatusCode.NOT_FOUND


class TestFeeders:
    """What the meters of the connection point and of sections counted, beside their members'."""

    def report(self, site, *, lost_wh, target=NAME, sequence=900):
        """Let a feeder's meter count what its members took, and what was lost in each MTU of the first window."""
        batch = site.batch(site.start, members=[], sequence=sequence)
        members = [m for m, s in (("ada", "east"), ("bob", "east"), ("eve", "west")) if target == NAME or s in target]
        for mtu in range(3):
            parts = site.batch(site.start + 900 * mtu, members=members).readings
            reading = batch.readings.add()
            reading.CopyFrom(parts[0])
            reading.member = target
            reading.import_wh = sum(part.import_wh for part in parts) + lost_wh * mtu
            reading.export_wh = sum(part.export_wh for part in parts)
        return site.gateway.SubmitReadings(site.batch_request(batch))

    def sums(self, site):
        answer = operator(site).ListFeederSums(pb.ListFeederSumsRequest(parent=NAME))
        return [(one.target, one.loss_wh, one.metered_wh - one.members_wh) for one in answer.sums]

    def limit(self, site, permille):
        rules = pb.MeteringRules(estimation=pb.ESTIMATION_RULE_NONE, loss_limit_permille=permille)
        operator(site).SetMeteringRules(
            pb.SetMeteringRulesRequest(parent=NAME, rules=rules, request_id=site.request_id())
        )

    def test_each_mtu_shows_what_was_lost_and_nothing_is_posted(self, site, make_site):
        other = make_site("village")
        other.live(until=site.start + 1800)
        site.live(until=site.start + 1799)
        site.clock.set(site.start + 1800)
        self.report(site, lost_wh=12, sequence=20)
        site.gateway.SubmitReadings(site.batch_request(site.batch(site.start + 1800)))
        site.advance()
        assert self.sums(site) == [(NAME, 12, 12)] * 2
        assert site.postings(0) == other.postings(0)

    def test_a_reading_that_comes_later_is_added_up_without_a_correction(self, site):
        site.live(until=site.start + 1800)
        before = site.rows("headers")
        self.report(site, lost_wh=3, target=f"{NAME}/sections/west")
        site.advance()
        assert self.sums(site) == [(f"{NAME}/sections/west", 3, 3)] * 2
        assert site.rows("headers") == before

    @pytest.mark.parametrize(("permille", "found"), [(None, []), (1000, []), (0, ["LOSS"])])
    def test_more_than_is_allowed_is_an_event(self, site, permille, found):
        self.limit(site, permille)
        site.live(until=site.start + 1800)
        self.report(site, lost_wh=5)
        site.advance()
        assert [kind for kind in kinds(events(site)) if kind == "LOSS"] == found

    def test_without_such_a_meter_nothing_is_added_up(self, site):
        site.live(until=site.start + 1800)
        assert self.sums(site) == []
        assert site.rows("feeder_sums") == []
