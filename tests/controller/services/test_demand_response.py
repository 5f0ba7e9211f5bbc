import hashlib
import json
from dataclasses import replace
from functools import partial

import pytest
import sqlalchemy
from grpc import RpcError, StatusCode

from controller.baseline import Wanted, baselines
from controller.baseline import usual as usual_of
from controller.demand_response import Direction
from controller.store import demand, registry, schema
from controller.wire import fields
from gridpact.v1 import demand_response_pb2 as pb
from gridpact.v1 import demand_response_pb2_grpc, dso_pb2, operator_pb2, participant_pb2
from tests.controller.test_demand_response import EVENT as EARLIER
from tests.controller.test_demand_response import OFFER as TAKEN
from tests.controller.village import NET_WH

NAME = "microgrids/village"
EVENT = f"{NAME}/events/e"


def members(*ids):
    return [f"{NAME}/members/{id_}" for id_ in ids]


def event(site, id_="e", first=4, end=6, **changes):
    values = {
        "name": f"{NAME}/events/{id_}",
        "target": NAME,
        "interval": fields.interval_message(site.start + 900 * first, site.start + 900 * end),
        "direction": pb.DEMAND_DIRECTION_REDUCE,
        "power_w": 2000,
        "price_cap_micro_per_kwh": 500_000,
        "offer_deadline": fields.timestamp(site.start + 2700),
        "reason": "the line is hot",
    }
    return pb.DemandEvent(**values | changes)


def offer(id_="o", parent=EVENT, **changes):
    values = {
        "name": f"{parent}/offers/{id_}",
        "members": members("bob"),
        "power_w": 1400,
        "price_micro_per_kwh": 300_000,
    }
    return pb.DemandOffer(**values | changes)


class Parties:
    """The DSO and the aggregator of the village."""

    def __init__(self, site):
        self.site = site
        self.dso = self.stub("dso/wires")
        self.aggregator = self.stub("aggregator/agg")

    def stub(self, who):
        return self.site.stub(demand_response_pb2_grpc.DemandResponseServiceStub, who)

    def event_request(self, message):
        signed = self.site.signed("wires", "envelope-wires", message)
        return pb.CreateEventRequest(parent=NAME, event=signed, request_id=self.site.request_id())

    def offer_request(self, message, parent=EVENT):
        signed = self.site.signed("agg", "offer-agg", message)
        return pb.SubmitOfferRequest(parent=parent, offer=signed, request_id=self.site.request_id())

    def accept_request(self, id_="o", parent=EVENT, power_w=0):
        name = f"{parent}/offers/{id_}"
        return pb.AcceptOfferRequest(name=name, power_w=power_w, request_id=self.site.request_id())

    def ask(self, *args, **changes):
        return self.dso.CreateEvent(self.event_request(event(self.site, *args, **changes))).event

    def bid(self, *args, parent=EVENT, **changes):
        message = offer(*args, parent=parent, **changes)
        return self.aggregator.SubmitOffer(self.offer_request(message, parent)).offer

    def accept(self, *args, **values):
        accepted = self.dso.AcceptOffer(self.accept_request(*args, **values)).offer
        self.site.advance()  # the store has seen what the book of limits holds
        return accepted

    def cancel(self, name=EVENT):
        return self.dso.CancelEvent(pb.CancelEventRequest(name=name, request_id=self.site.request_id())).event

    def get(self, name=EVENT, who=None):
        return (who or self.dso).GetEvent(pb.GetEventRequest(name=name)).event

    def state(self, name=EVENT):
        return pb.EventState.Name(self.get(name).state).removeprefix("EVENT_STATE_")

    def offers(self, who=None):
        return (who or self.dso).ListOffers(pb.ListOffersRequest(parent=EVENT)).offers

    def refused(self, call, request):
        return self.site.refused(call, request)


@pytest.fixture
def parties(settled):
    return Parties(settled)


class TestWholeEvent:
    def test_it_is_asked_offered_accepted_kept_verified_and_paid(self, parties):
        site = parties.site
        parties.ask()
        assert parties.state() == "REQUESTED"
        parties.bid()
        assert parties.state() == "OFFERED"
        assert parties.accept(power_w=700).accepted_w == 700
        assert (parties.state(), parties.get().accepted_w) == ("ACCEPTED", 700)
        planned = list(parties.get().planned_wh)
        site.live(until=site.start + 3600)
        assert parties.state() == "ACTIVE"
        plan = json.loads(site.row(2).plan)["net_w"]
        assert all(net <= base * 4 - 700 for net, base in zip(plan[:2], planned, strict=True))
        site.live(until=site.start + 4500)
        assert parties.state() == "ACTIVE"
        site.live(until=site.start + 5400)
        assert parties.state() == "VERIFIED"
        (seen,) = parties.offers()
        assert not [d for d in seen.deliveries if d.metered_wh or d.baseline_wh], "bob consented to nothing"
        assert [d.paid_wh for d in seen.deliveries] == [175, 175]
        (kept,) = parties.offers(who=parties.stub("auditor/aud"))
        assert [d.metered_wh for d in kept.deliveries] == list(NET_WH["bob"][4:6])
        assert [d.baseline_wh for d in kept.deliveries] == list(kept.baseline_wh)
        for one in kept.deliveries:
            assert one.delivered_wh == max(0, one.baseline_wh - one.metered_wh) > 175
            assert (one.paid_wh, one.amount_micro) == (175, 52_500)
        posted = [p for p in site.postings(2) if p[1] == "DEMAND_RESPONSE"]
        assert posted == [("dso:wires", "DEMAND_RESPONSE", -52_500), ("aggregator:agg", "DEMAND_RESPONSE", 52_500)] * 2
        assert sum(amount for _, _, amount in site.postings(2)) == 0
        assert not [p for n in (0, 1) for p in site.postings(n) if p[1] == "DEMAND_RESPONSE"]

    def test_who_took_its_mandate_back_is_bound_by_nobody(self, parties):
        parties.ask()
        parties.bid()
        parties.site.clock.set(parties.site.clock.now() + 1)
        bob = parties.site.participant("bob")
        name = "microgrids/village/members/bob"
        for consent in bob.ListConsents(participant_pb2.ListConsentsRequest(parent=name)).consents:
            request_id = parties.site.request_id()
            bob.RevokeConsent(participant_pb2.RevokeConsentRequest(name=consent.name, request_id=request_id))
        refused = parties.refused(parties.dso.AcceptOffer, parties.accept_request())
        assert (refused.code, refused.reason) == (StatusCode.FAILED_PRECONDITION, "MANDATE_REVOKED")

    def test_less_than_accepted_is_paid_as_it_was(self, parties):
        site = parties.site
        parties.ask()
        parties.bid(members=members("eve"), power_w=1700)
        parties.accept()
        site.live(until=site.start + 5400)
        (kept,) = parties.offers(who=parties.stub("auditor/aud"))
        found = [d.delivered_wh for d in kept.deliveries]
        assert found == [max(0, b - m) for b, m in zip(kept.baseline_wh, NET_WH["eve"][4:6], strict=True)]
        assert [d.paid_wh for d in kept.deliveries] == found
        assert found[1] == 0 < found[0] < 500

    def test_late_readings_leave_it_ended_until_they_come(self, parties):
        site = parties.site
        parties.ask()
        parties.bid()
        parties.accept()
        site.live(until=site.start + 5400, missing={("bob", 5)})
        assert parties.state() == "ENDED"
        assert not parties.offers()[0].deliveries
        late = site.batch(site.start + 4500, members=["bob"], sequence=99)
        site.gateway.SubmitReadings(site.batch_request(late))
        site.advance()
        assert parties.state() == "VERIFIED"

    def test_it_goes_on_after_a_restart_and_the_limits_with_it(self, parties):
        parties.ask()
        parties.bid()
        request = parties.accept_request()
        first = parties.dso.AcceptOffer(request)
        parties.site.restart()
        again = Parties(parties.site)
        assert again.dso.AcceptOffer(request) == first
        assert again.state() == "ACCEPTED"
        again.site.advance()
        book = again.site.service._limits.book
        held = book.limits_for_window("village", again.site.start, again.site.end)
        assert [limit.id for limit in held] == ["demand-response/e/1400"]

    def test_two_windows_are_paid_each_with_its_own_settlement(self, parties):
        site = parties.site
        parties.ask(first=5, end=7)
        parties.bid(members=members("eve"), power_w=100)
        parties.accept()
        site.live(until=site.start + 5400)
        assert (parties.state(), len(parties.offers()[0].deliveries)) == ("ACTIVE", 1)
        site.live(until=site.start + 7200)
        assert (parties.state(), len(parties.offers()[0].deliveries)) == ("VERIFIED", 2)


class TestDeliverable:
    """eve's battery gives 1800 W of what it holds; bob has a load of 503 W and a boiler that is on or off."""

    def planned(self, parties, member):
        parties.ask(power_w=9000, end=5)
        kept = parties.site.database.run(demand.event, "village", "e")
        return (kept.planned or kept.baseline)[member]

    def refused(self, parties, most_w, **changes):
        """What a Wh more than the most is refused with, and that the most is taken."""
        above = parties.offer_request(offer("above", **changes | {"power_w": most_w + 4}))
        answer = parties.refused(parties.aggregator.SubmitOffer, above)
        parties.bid(**changes | {"power_w": most_w})
        return answer

    def test_no_more_than_devices_can_do_is_offered(self, parties):
        most_w = self.planned(parties, "eve")[0] * 4 - (707 - 1800)  # its whole power
        answer = self.refused(parties, most_w, members=members("eve"))
        assert (answer.code, answer.fields) == (StatusCode.OUT_OF_RANGE, ("offer.power_w",))
        assert f"at most {most_w} W" in answer.message

    def test_no_less_than_the_load_is_taken(self, parties):
        most_w = min(energy * 4 - 503 for energy in self.planned(parties, "bob"))
        self.refused(parties, most_w, members=members("bob"))

    def most_w(self, parties, event_, number=0):
        """The most that may be offered of eve's battery."""
        low, high = 0, 5000
        while high - low > 1:
            number, power_w = number + 1, (low + high) // 2
            message = offer(f"try{number}", event_, members=members("eve"), power_w=power_w)
            try:
                parties.aggregator.SubmitOffer(parties.offer_request(message, event_))
                low = power_w
            except RpcError:
                high = power_w
        return low

    def test_what_is_given_before_is_not_given_again(self, parties):
        """A battery that hardly charges holds enough for either half-hour and not for both."""
        slow = participant_pb2.FillRateBasedControl(
            max_charge_w=1,
            max_discharge_w=1800,
            capacity_wh=3001,
            stored_wh=1000,
            charge_efficiency_ppm=950_000,
            discharge_efficiency_ppm=930_000,
        )
        early, late = f"{NAME}/events/early", f"{NAME}/events/late"
        parties.ask("early", first=4, end=6, power_w=9000)
        parties.ask("late", first=6, end=8, power_w=9000)
        flexibility = participant_pb2.Flexibility(device=f"{members('eve')[0]}/devices/battery", fill_rate=slow)
        parties.site.participant("eve").UpdateFlexibility(
            participant_pb2.UpdateFlexibilityRequest(flexibility=flexibility, request_id="slow")
        )
        first, second = self.most_w(parties, early), self.most_w(parties, late)
        parties.bid("o", parent=early, members=members("eve"), power_w=first)
        parties.bid("o", parent=late, members=members("eve"), power_w=second)
        parties.accept("o", parent=early)
        answer = parties.refused(parties.dso.AcceptOffer, parties.accept_request(parent=late))
        assert (answer.code, answer.reason) == (StatusCode.FAILED_PRECONDITION, "NOT_DELIVERABLE")
        assert self.most_w(parties, late, number=100) < second


class TestLimits:
    def limits(self, parties):
        book = parties.site.service._limits.book
        return book.limits_for_window("village", parties.site.start, parties.site.end)

    def test_what_is_accepted_bounds_the_target_and_what_is_taken_back_does_not(self, parties):
        planned = list(parties.ask().planned_wh)
        parties.bid()
        assert self.limits(parties) == ()
        parties.accept(power_w=400)
        (limit,) = self.limits(parties)
        assert (limit.target, [p.upper_w for p in limit.periods]) == (NAME, [wh * 4 - 400 for wh in planned])
        assert [p.start for p in limit.periods] == [parties.site.start + 3600, parties.site.start + 4500]
        assert parties.cancel().state == pb.EVENT_STATE_CANCELLED
        assert self.limits(parties) == ()

    def test_what_is_accepted_later_comes_on_top(self, parties):
        planned = list(parties.ask(direction=pb.DEMAND_DIRECTION_INCREASE).planned_wh)
        parties.bid("a", members=members("ada"), power_w=300)
        parties.bid("b", members=members("eve"), power_w=300)
        parties.accept("a", power_w=300)
        parties.accept("b", power_w=200)
        (limit,) = self.limits(parties)
        assert [(p.lower_w, p.upper_w) for p in limit.periods] == [(wh * 4 + 500, None) for wh in planned]

    def test_a_book_that_missed_it_catches_up(self, parties):
        parties.ask()
        parties.bid()
        site = parties.site
        site.database.run(lambda c: c.execute(schema.demand_offers.update().values(accepted_w=100)))
        assert self.limits(parties) == ()
        site.advance()
        assert [limit.id for limit in self.limits(parties)] == ["demand-response/e/100"]
        before = len(site.service._limits.book.records())
        site.advance()
        assert len(site.service._limits.book.records()) == before


class TestBaseline:
    def kept(self, site, name="baseline"):
        return json.loads(site.rows("demand_events")[0][name])

    def test_what_was_planned_before_anybody_asked_is_kept_beside_it(self, parties):
        record = parties.ask()
        kept = self.kept(parties.site)
        assert record.baseline_digest == hashlib.sha256(json.dumps(kept, separators=(",", ":")).encode()).digest()
        assert list(record.baseline_wh) == [sum(column) for column in zip(*kept.values(), strict=True)]
        plan = json.loads(parties.site.row(1).plan)
        for energy, net in zip(record.planned_wh, plan["net_w"][2:4], strict=True):
            assert abs(energy * 4 - net) <= 6  # three members, each rounded to whole Wh

    @pytest.mark.parametrize(("direction", "least"), [("REDUCE", True), ("INCREASE", False)])
    def test_beyond_clearings_forecasts_alone_raise_nothing(self, parties, direction, least):
        """Nobody lived here yesterday: what members took since, as metered or cleared, says what is usual."""
        site = parties.site
        parties.ask(direction=pb.DemandDirection.Value(f"DEMAND_DIRECTION_{direction}"))
        kept, planned = self.kept(site), self.kept(site, "planned")
        for member, series in kept.items():
            taken = list(NET_WH[member][:2])
            usual = sum(taken) // 2 if least else -(-sum(taken) // 2)
            assert series == [(min if least else max)(wh, usual) for wh in planned[member]]
        assert kept != planned

    def test_who_inflates_a_forecast_is_paid_no_more(self, parties):
        """Bob orders 5 kW more, which the clearing's plan foresees and nobody has cleared."""
        site = parties.site
        site.participant("bob").SubmitOrder(site.order_request("bob", 2, load_w=[5503] * 4))
        site.live(until=site.start + 3300)
        parties.ask(first=6, end=8, offer_deadline=fields.timestamp(site.start + 5400))
        assert all(wh > 1300 for wh in self.kept(site, "planned")["bob"])
        assert self.kept(site)["bob"] == [sum(NET_WH["bob"][:3]) // 3] * 2

    def test_a_connection_bounds_what_can_have_been_meant(self, parties):
        site = parties.site
        mask = {"paths": ["connection_w"]}
        member = operator_pb2.Member(name=members("bob")[0], connection_w=800)
        site.operator.UpdateMember(
            operator_pb2.UpdateMemberRequest(member=member, update_mask=mask, request_id="rated")
        )
        parties.ask()
        assert all(wh <= 200 for wh in self.kept(site)["bob"])

    @pytest.mark.parametrize(("direction", "usual"), [("REDUCE", 108), ("INCREASE", 109)])
    def test_ten_comparable_days_say_what_is_usual(self, parties, direction, usual):
        """The event is on a Monday: of working days the newest ten; without those in which bob gave, nine are left."""
        site, day = parties.site, 86_400

        def look_back(connection):
            for days in range(1, 15):
                weekend = days in (1, 2, 8, 9)
                for k in range(3):
                    register = k * (9000 if weekend else 100 + days)
                    values = {"instant": site.start + 3600 + 900 * k - day * days, "import_wh": 10**6 + register}
                    connection.execute(
                        schema.meter_readings.insert().values(
                            microgrid="village", member="bob", export_wh=0, quality="MEASURED", **batch, **values
                        )
                    )
            return found(connection)

        def found(connection):
            known = registry.microgrid(connection, "village")
            wanted = Wanted(
                members=[member for member in registry.members(connection, "village") if member.id == "bob"],
                start=site.start + 3600,
                end=site.start + 5400,
                direction=Direction[direction],
            )
            long_ago = replace(known, start=site.start - 30 * day)
            return baselines(connection, long_ago, wanted, usual_of(connection, long_ago, wanted, site.clock.now()))

        batch = {
            name: site.rows("meter_readings")[0][name]
            for name in site.rows("meter_readings")[0]
            if name not in ("microgrid", "member", "instant", "import_wh", "export_wh", "quality")
        }
        choose = min if direction == "REDUCE" else max
        first = site.database.run(look_back)
        assert first.paid["bob"] == tuple(choose(wh, usual) for wh in first.planned["bob"])
        gave = replace(
            EARLIER,
            start=site.start + 3600 - 3 * day,
            end=site.start + 5400 - 3 * day,
            offer_deadline=site.start - 3 * day,
        )
        site.database.run(demand.add_event, "village", gave)
        site.database.run(demand.add_offer, "village", replace(TAKEN, event=gave.id, members=("bob",)))
        second = site.database.run(found)
        assert second.paid["bob"] == tuple(choose(wh, usual + 1) for wh in second.planned["bob"])

    def test_weeks_of_readings_are_not_read_while_all_others_wait_to_write(self, parties):
        written, read = [], []
        database = parties.site.database
        engines = [(database._engine, written), (database._reading_engine, read)]
        for engine, heard in engines:
            listen = partial(lambda heard, *args: heard.append(args[2]), heard)
            sqlalchemy.event.listen(engine, "before_cursor_execute", listen)
        parties.ask()
        assert any("FROM meter_readings" in statement for statement in read)
        assert any("INTO demand_events" in statement for statement in written)
        assert not any("FROM meter_readings" in statement for statement in written)

    def test_of_cleared_windows_it_is_the_position(self, parties):
        site = parties.site
        site.live(until=site.start + 3300)
        parties.ask(offer_deadline=fields.timestamp(site.start + 3600))
        kept = json.loads(site.rows("demand_events")[0]["baseline"])
        cleared = {(r["member"], r["mtu_start"]): r["net_wh"] for r in site.of_window("positions", 2)}
        assert kept == {m: [cleared[m, site.start + 3600], cleared[m, site.start + 4500]] for m in site.members}

    def test_before_anything_is_planned_there_is_none(self, site):
        parties = Parties(site)
        request = parties.event_request(event(site))
        answer = parties.refused(parties.dso.CreateEvent, request)
        assert (answer.code, answer.reason) == (StatusCode.FAILED_PRECONDITION, "NO_BASELINE")

    def test_nobodys_own_profile_is_shown(self, parties):
        assert not parties.ask("one", target=members("bob")[0]).baseline_wh
        parties.ask()
        assert not parties.get(who=parties.aggregator).baseline_wh
        assert parties.get(who=parties.stub("auditor/aud")).baseline_wh


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"name": "e"}, "event.name"),
            ({"power_w": 0}, "event.power_w"),
            ({"price_cap_micro_per_kwh": -1}, "event.price_cap_micro_per_kwh"),
            ({"direction": pb.DEMAND_DIRECTION_UNSPECIFIED}, "event.direction"),
            ({"direction": 7}, "event.direction"),
            ({"reason": ""}, "event.reason"),
            ({"offer_deadline": fields.timestamp(1_700_000_000)}, "event.offer_deadline"),
            ({"offer_deadline": fields.timestamp(1_900_000_000)}, "event.offer_deadline"),
            ({"interval": fields.interval_message(1_900_000_800, 1_900_000_801)}, "event.interval"),
            ({"interval": fields.interval_message(1_900_000_800, 1_900_000_800 + 90_000)}, "event.interval"),
        ],
    )
    def test_a_nonsensical_event_is_refused_by_field(self, parties, changes, field):
        answer = parties.refused(parties.dso.CreateEvent, parties.event_request(event(parties.site, **changes)))
        assert answer.code in {StatusCode.INVALID_ARGUMENT, StatusCode.OUT_OF_RANGE}
        assert answer.fields == (field,)

    @pytest.mark.parametrize("target", [f"{NAME}/sections/north", "microgrids/hamlet", *members("nobody")])
    def test_a_target_that_is_not_there_is_not_found(self, parties, target):
        answer = parties.refused(parties.dso.CreateEvent, parties.event_request(event(parties.site, target=target)))
        assert answer.code is StatusCode.NOT_FOUND

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"power_w": 2001}, "offer.power_w"),
            ({"power_w": 0}, "offer.power_w"),
            ({"price_micro_per_kwh": 500_001}, "offer.price_micro_per_kwh"),
            ({"members": []}, "offer.members"),
            ({"members": members("bob", "bob")}, "offer.members[1]"),
            ({"members": ["bob"]}, "offer.members[0]"),
        ],
    )
    def test_a_nonsensical_offer_is_refused_by_field(self, parties, changes, field):
        parties.ask()
        answer = parties.refused(parties.aggregator.SubmitOffer, parties.offer_request(offer(**changes)))
        assert answer.code in {StatusCode.INVALID_ARGUMENT, StatusCode.OUT_OF_RANGE}
        assert answer.fields == (field,)

    def test_forged_ones_are_refused(self, parties):
        request = parties.event_request(event(parties.site))
        request.event.payload = event(parties.site, power_w=9).SerializeToString()
        assert parties.refused(parties.dso.CreateEvent, request).reason == "BAD_SIGNATURE"
        parties.ask()
        bid = parties.offer_request(offer())
        bid.offer.payload = offer(power_w=9).SerializeToString()
        assert parties.refused(parties.aggregator.SubmitOffer, bid).reason == "BAD_SIGNATURE"
        other = parties.stub("aggregator/other")
        assert parties.refused(other.SubmitOffer, parties.offer_request(offer())).reason == "BAD_SIGNATURE"

    def test_members_who_gave_no_mandate_are_not_found(self, parties):
        parties.ask(target=f"{NAME}/sections/west")
        answer = parties.refused(parties.aggregator.SubmitOffer, parties.offer_request(offer(members=members("bob"))))
        assert answer.code is StatusCode.NOT_FOUND
        answer = parties.refused(parties.aggregator.SubmitOffer, parties.offer_request(offer(members=members("x"))))
        assert answer.code is StatusCode.NOT_FOUND

    def test_late_ones_are_refused(self, parties):
        site = parties.site
        parties.ask()
        parties.bid()
        parties.ask("none")
        site.live(until=site.start + 2700)
        assert parties.state(f"{NAME}/events/none") == "EXPIRED"
        answer = parties.refused(parties.aggregator.SubmitOffer, parties.offer_request(offer("late")))
        assert (answer.code, answer.reason) == (StatusCode.FAILED_PRECONDITION, "TOO_LATE")
        site.live(until=site.start + 3600)
        answer = parties.refused(parties.dso.AcceptOffer, parties.accept_request())
        assert (answer.code, answer.reason) == (StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
        answer = parties.refused(parties.dso.CancelEvent, pb.CancelEventRequest(name=EVENT, request_id="x"))
        assert answer.reason == "WRONG_STATE"
        assert parties.state() == "EXPIRED"

    def test_an_offer_is_accepted_once_and_no_more_than_is_wanted(self, parties):
        parties.ask()
        parties.bid()
        parties.bid("p", members=members("eve"))
        parties.accept()
        answer = parties.refused(parties.dso.AcceptOffer, parties.accept_request(power_w=1))
        assert answer.reason == "ALREADY_ACCEPTED"
        for power_w in (601, 1401, -1, 0):
            answer = parties.refused(parties.dso.AcceptOffer, parties.accept_request("p", power_w=power_w))
            assert (answer.code, answer.fields) == (StatusCode.OUT_OF_RANGE, ("power_w",))
        assert parties.accept("p", power_w=600).accepted_w == 600

    def test_nobody_is_paid_twice_for_the_same_energy(self, parties):
        parties.ask()
        parties.ask("f", first=5, end=8)
        parties.bid()
        parties.bid(parent=f"{NAME}/events/f", members=members("bob", "eve"), power_w=100)
        parties.accept()
        answer = parties.refused(parties.dso.AcceptOffer, parties.accept_request(parent=f"{NAME}/events/f"))
        assert (answer.reason, "bob gives for e/o" in answer.message) == ("MEMBER_TAKEN", True)

    def test_who_did_not_ask_cannot_accept_or_cancel(self, parties):
        parties.ask()
        parties.bid()
        other = parties.stub("dso/other")
        assert parties.refused(other.AcceptOffer, parties.accept_request()).code is StatusCode.NOT_FOUND
        request = pb.CancelEventRequest(name=EVENT, request_id="x")
        assert parties.refused(other.CancelEvent, request).code is StatusCode.NOT_FOUND

    def test_names_are_taken_once(self, parties):
        parties.ask()
        parties.bid()
        for call, request in (
            (parties.dso.CreateEvent, parties.event_request(event(parties.site))),
            (parties.aggregator.SubmitOffer, parties.offer_request(offer())),
        ):
            assert parties.refused(call, request).code is StatusCode.ALREADY_EXISTS


def test_an_aggregator_sees_its_own_offers_only(parties):
    parties.ask()
    parties.bid()
    assert len(parties.offers()) == len(parties.offers(parties.aggregator)) == 1
    assert not parties.offers(parties.stub("aggregator/other"))


def test_events_are_listed_in_pages(parties):
    for id_ in "abc":
        parties.ask(id_)
    first = parties.dso.ListEvents(pb.ListEventsRequest(parent=NAME, page_size=2))
    rest = parties.dso.ListEvents(pb.ListEventsRequest(parent=NAME, page_token=first.next_page_token))
    assert [e.event.name[-1] for e in (*first.events, *rest.events)] == ["a", "b", "c"]


def test_the_envelopes_of_the_dso_are_listed_beside_what_is_accepted(parties):
    parties.ask()
    parties.bid()
    parties.accept()
    found = parties.site.dso.ListEnvelopes(dso_pb2.ListEnvelopesRequest(parent=NAME)).envelopes
    assert [(e.envelope.target, e.envelope.reason) for e in found] == [(NAME, "the line is hot")]
