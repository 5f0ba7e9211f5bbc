import pytest
from grpc import StatusCode

from controller.access import Identity, Role
from controller.consent import Consent, ConsentState, Scope
from controller.store import consents, schema
from controller.wire import fields
from gridpact.v1 import metering_pb2, metering_pb2_grpc, participant_pb2

ADA = "microgrids/village/members/ada"
METER_DATA, TRADES, DISPATCH = (
    participant_pb2.CONSENT_SCOPE_METER_DATA,
    participant_pb2.CONSENT_SCOPE_TRADES,
    participant_pb2.CONSENT_SCOPE_DISPATCH,
)


@pytest.fixture
def site(site):
    """The village before anybody has consented to anything."""

    def forget(connection):
        connection.exec_driver_sql("DROP TRIGGER no_delete_of_consents")
        connection.execute(schema.consents.delete())

    site.database.run(forget)
    return site


def consent(site, **changes):
    values = {"grantee": "aggregator/agg", "scope": METER_DATA, "expire_time": fields.timestamp(site.end)}
    return participant_pb2.Consent(**values | changes)


def request(site, parent=ADA, request_id="", **changes):
    return participant_pb2.GrantConsentRequest(
        parent=parent, consent=consent(site, **changes), request_id=request_id or site.request_id()
    )


def grant(site, **changes):
    return site.participant("ada").GrantConsent(request(site, **changes)).consent


def revoke(site, name):
    return site.participant("ada").RevokeConsent(
        participant_pb2.RevokeConsentRequest(name=name, request_id=site.request_id())
    )


def listed(site, **changes):
    return site.participant("ada").ListConsents(participant_pb2.ListConsentsRequest(parent=ADA, **changes))


def allowed(site, scope=Scope.METER_DATA, role=Role.AGGREGATOR, id_="agg", grid="village"):
    """Whose data an identity may use now, told in both ways."""
    caller = Identity(grid=grid, role=role, id=id_)
    now = site.clock.now()
    members = site.database.run(consents.allowed_members, "village", caller, scope, now)
    for member in site.members:
        one = site.database.run(consents.allows, "village", member, caller=caller, scope=scope, now=now)
        assert one == (member in members)
    return members


class TestState:
    @pytest.mark.parametrize(
        ("changes", "now", "state"),
        [
            ({}, 100, ConsentState.ACTIVE),
            ({}, 199.9, ConsentState.ACTIVE),
            ({}, 200, ConsentState.EXPIRED),
            ({"newest": False}, 100, ConsentState.SUPERSEDED),
            ({"newest": False}, 200, ConsentState.SUPERSEDED),
            ({"revoked": 150}, 150, ConsentState.REVOKED),
            ({"revoked": 150, "newest": False}, 300, ConsentState.REVOKED),
        ],
    )
    def test_only_the_newest_counts_until_it_ends_or_is_revoked(self, changes, now, state):
        values = {"member": "ada", "number": 1, "grantee": "dso/x", "scope": Scope.TRADES, "granted": 0, "expires": 200}
        one = Consent(**values | changes)
        assert one.state(now) is state
        assert one.counts(now) == (state is ConsentState.ACTIVE)


class TestGrant:
    def test_it_allows_that_identity_that_scope_and_nothing_else(self, site):
        kept = grant(site)
        assert kept.name == f"{ADA}/consents/c1"
        assert kept.state == participant_pb2.CONSENT_STATE_ACTIVE
        assert allowed(site) == {"ada"}
        assert allowed(site, Scope.TRADES) == set()
        assert allowed(site, id_="other") == set()
        assert allowed(site, role=Role.DSO) == set()
        assert allowed(site, grid="hamlet") == set()

    def test_members_need_none_for_their_own(self, site):
        assert allowed(site, role=Role.PARTICIPANT, id_="eve") == {"eve"}
        grant(site, grantee="participant/eve")
        assert allowed(site, role=Role.PARTICIPANT, id_="eve") == {"ada", "eve"}

    def test_it_ends_by_itself(self, site):
        grant(site, expire_time=fields.timestamp(site.start))
        site.clock.set(site.start - 0.001)
        assert allowed(site) == {"ada"}
        site.clock.set(site.start)
        assert allowed(site) == set()
        assert listed(site).consents[0].state == participant_pb2.CONSENT_STATE_EXPIRED

    def test_it_outlives_a_restart(self, site):
        grant(site)
        site.restart()
        assert allowed(site) == {"ada"}

    def test_a_repeated_call_grants_once(self, site):
        once = request(site, request_id="again")
        first, second = (site.participant("ada").GrantConsent(once) for _ in range(2))
        assert first == second
        assert len(site.rows("consents")) == 1

    @pytest.mark.parametrize(
        ("changes", "code", "field"),
        [
            ({"grantee": ""}, StatusCode.INVALID_ARGUMENT, "consent.grantee"),
            ({"grantee": "king/agg"}, StatusCode.INVALID_ARGUMENT, "consent.grantee"),
            ({"grantee": "aggregator"}, StatusCode.INVALID_ARGUMENT, "consent.grantee"),
            ({"grantee": "aggregator/AGG"}, StatusCode.INVALID_ARGUMENT, "consent.grantee"),
            ({"grantee": "aggregator/" + "a" * 128}, StatusCode.INVALID_ARGUMENT, "consent.grantee"),
            ({"grantee": "participant/ada"}, StatusCode.INVALID_ARGUMENT, "consent.grantee"),
            ({"scope": 0}, StatusCode.INVALID_ARGUMENT, "consent.scope"),
            ({"scope": 99}, StatusCode.INVALID_ARGUMENT, "consent.scope"),
            ({"name": f"{ADA}/consents/mine"}, StatusCode.INVALID_ARGUMENT, "consent.name"),
            ({"expire_time": None}, StatusCode.OUT_OF_RANGE, "consent.expire_time"),
            ({"expire_time": fields.timestamp(10**11)}, StatusCode.OUT_OF_RANGE, "consent.expire_time"),
        ],
    )
    def test_a_wrong_field_is_named(self, site, changes, code, field):
        answer = site.refused(site.participant("ada").GrantConsent, request(site, **changes))
        assert (answer.code, answer.fields) == (code, (field,))

    def test_its_end_lies_ahead(self, site):
        now = int(site.clock.now())
        bad = request(site, expire_time=fields.timestamp(now))
        assert site.refused(site.participant("ada").GrantConsent, bad).fields == ("consent.expire_time",)
        assert grant(site, expire_time=fields.timestamp(now + 1))

    @pytest.mark.parametrize("parent", ["microgrids/village/members/bob", "microgrids/hamlet/members/ada"])
    def test_nobody_consents_for_another(self, site, parent):
        answer = site.refused(site.participant("ada").GrantConsent, request(site, parent=parent))
        assert answer.code is StatusCode.NOT_FOUND


class TestRevoke:
    def test_it_counts_at_once_and_is_kept(self, site):
        kept = grant(site)
        answer = revoke(site, kept.name).consent
        assert answer.state == participant_pb2.CONSENT_STATE_REVOKED
        assert answer.revoke_time.seconds == site.clock.now()
        assert allowed(site) == set()
        assert len(site.rows("consents")) == 1

    def test_after_two_grants_the_newest_is_the_one(self, site):
        first, second = grant(site), grant(site)
        states = [one.state for one in listed(site).consents]
        assert states == [participant_pb2.CONSENT_STATE_SUPERSEDED, participant_pb2.CONSENT_STATE_ACTIVE]
        again = participant_pb2.RevokeConsentRequest(name=first.name, request_id=site.request_id())
        answer = site.refused(site.participant("ada").RevokeConsent, again)
        assert (answer.code, answer.reason) == (StatusCode.FAILED_PRECONDITION, "NOT_ACTIVE")
        revoke(site, second.name)
        assert allowed(site) == set()

    def test_what_was_revoked_can_be_granted_anew(self, site):
        revoke(site, grant(site).name)
        grant(site)
        assert allowed(site) == {"ada"}

    @pytest.mark.parametrize(
        "name", [f"{ADA}/consents/c1", f"{ADA}/consents/mine", "microgrids/village/members/bob/consents/c1"]
    )
    def test_what_is_anothers_or_nowhere_is_not_found(self, site, name):
        bad = participant_pb2.RevokeConsentRequest(name=name, request_id=site.request_id())
        assert site.refused(site.participant("ada").RevokeConsent, bad).code is StatusCode.NOT_FOUND

    def test_they_are_listed_in_pages_to_their_member_alone(self, site):
        names = [grant(site).name for _ in range(3)]
        first = listed(site, page_size=2)
        second = listed(site, page_size=2, page_token=first.next_page_token)
        assert [one.name for one in (*first.consents, *second.consents)] == names
        assert second.next_page_token == ""
        foreign = participant_pb2.ListConsentsRequest(parent=ADA)
        assert site.refused(site.participant("bob").ListConsents, foreign).code is StatusCode.NOT_FOUND


class TestListReadings:
    def stub(self, site, who):
        return site.stub(metering_pb2_grpc.MeteringServiceStub, who).ListReadings

    def request(self, parent=ADA, **changes):
        return metering_pb2.ListReadingsRequest(parent=parent, **changes)

    def test_a_member_reads_its_own(self, settled):
        answer = self.stub(settled, "participant/ada")(self.request())
        assert [one.instant.seconds for one in answer.readings] == [settled.start + 900 * k for k in range(3)]
        assert answer.readings[0].import_wh == 1000
        assert {one.member for one in answer.readings} == {ADA}

    def test_pages_hang_together_whatever_comes_in_meanwhile(self, settled):
        ask = self.stub(settled, "participant/ada")
        first = ask(self.request(page_size=2))
        settled.clock.set(settled.start + 2700)
        settled.gateway.SubmitReadings(settled.batch_request(settled.batch(settled.start + 2700)))
        second = ask(self.request(page_size=2, page_token=first.next_page_token))
        instants = [one.instant.seconds - settled.start for one in (*first.readings, *second.readings)]
        assert instants == [0, 900, 1800, 2700]
        assert second.next_page_token == ""

    def test_an_interval_has_its_start_and_not_its_end(self, settled):
        interval = fields.interval_message(settled.start, settled.start + 900)
        answer = self.stub(settled, "participant/ada")(self.request(interval=interval))
        assert [one.instant.seconds for one in answer.readings] == [settled.start]

    def test_a_gateway_reads_what_it_reported(self, settled):
        assert len(self.stub(settled, "meter/gateway")(self.request()).readings) == 3
        answer = settled.refused(self.stub(settled, "meter/other"), self.request())
        assert answer.code is StatusCode.NOT_FOUND

    @pytest.mark.parametrize(
        "who", ["aggregator/agg", "dso/wires", "operator/op", "auditor/aud", "participant/bob", "meter/other"]
    )
    def test_others_need_consent_and_lose_it_at_once(self, settled, who):
        ask = self.stub(settled, who)
        nowhere = settled.refused(ask, self.request(ADA.replace("ada", "zoe")))
        assert nowhere.code is StatusCode.NOT_FOUND
        before = settled.refused(ask, self.request())
        assert before.message.replace("ada", "zoe") == nowhere.message
        grant(settled, grantee=who, scope=TRADES)
        assert settled.refused(ask, self.request()) == before
        kept = grant(settled, grantee=who)
        assert len(ask(self.request()).readings) == 3
        assert settled.refused(ask, self.request(ADA.replace("ada", "eve"))).code is StatusCode.NOT_FOUND
        revoke(settled, kept.name)
        assert settled.refused(ask, self.request()) == before

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"parent": "ada"}, "parent"),
            ({"page_token": "3"}, "page_token"),
            ({"page_token": "after-99999999999"}, "page_token"),
            ({"page_size": -1}, "page_size"),
            ({"page_size": 1001}, "page_size"),
            ({"interval": fields.interval_message(1_800_000_000, 1_700_000_000)}, "interval"),
            ({"interval": {}}, "interval.start_time"),
        ],
    )
    def test_a_wrong_field_is_named(self, settled, changes, field):
        answer = settled.refused(self.stub(settled, "participant/ada"), self.request(**changes))
        assert answer.fields == (field,)
