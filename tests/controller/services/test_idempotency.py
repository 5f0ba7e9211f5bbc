"""A call that is repeated with its request id has one effect and the same answer."""

import json
import sqlite3

import pytest
from google.protobuf import message_factory
from grpc import RpcError, StatusCode

from controller.wire import fields
from gridpact.v1 import (
    dispatch_pb2,
    dso_pb2,
    metering_pb2,
    metering_pb2_grpc,
    operator_pb2,
    participant_pb2,
    validator_pb2,
)
from tests.controller.validators import KEYS, registry, signed_batch

NAME = "microgrids/village"


def changes(site):
    """Of each method that changes something, a call that does, and one with another content."""
    site.clock.set(site.start + 2700)
    calendar = site.operator.GetMicrogrid(operator_pb2.GetMicrogridRequest(name=NAME)).microgrid
    header = next(row for row in site.rows("headers") if row["window"] == site.window(0))
    attestation = validator_pb2.Attestation(window=site.window(0), header_hash=header["hash"])
    site.dso.CreateEnvelope(site.envelope_request(site.envelope("old")))

    def plant(rated_w):
        control = participant_pb2.PowerEnvelopeBasedControl(rated_power_w=rated_w)
        device = f"{NAME}/members/ada/devices/pv"
        return participant_pb2.UpdateFlexibilityRequest(
            flexibility=participant_pb2.Flexibility(device=device, power_envelope=control)
        )

    def member(id_):
        return operator_pb2.CreateMemberRequest(
            parent=NAME, member=operator_pb2.Member(name=f"{NAME}/members/{id_}", section="east")
        )

    def key(id_):
        return operator_pb2.RegisterKeyRequest(
            parent=NAME, key_id=id_, purpose=operator_pb2.KEY_PURPOSE_ORDER, holder="ada", public_key=bytes(32)
        )

    def denial(subject):
        return operator_pb2.DenyIdentityRequest(parent=NAME, subject=subject, request_id=site.request_id())

    site.operator.DenyIdentity(denial("serial:3"))

    def readings(sequence):
        return site.batch_request(site.batch(site.start + 2700, sequence=sequence))

    def batch_signature(key):
        return validator_pb2.SubmitBatchSignatureRequest(**signed_batch(site, key=key))

    hamlet = operator_pb2.CreateMicrogridRequest(microgrid=calendar)
    hamlet.microgrid.name = "microgrids/other"
    again = validator_pb2.SubmitAttestationRequest(attestation=site.signed("val", "attestation-val", attestation))
    unsigned = validator_pb2.SubmitAttestationRequest()
    ada = site.participant("ada")

    def consent(scope):
        wanted = participant_pb2.Consent(grantee="aggregator/agg", scope=scope, expire_time=fields.timestamp(site.end))
        return participant_pb2.GrantConsentRequest(parent=f"{NAME}/members/ada", consent=wanted)

    kept = consent(participant_pb2.CONSENT_SCOPE_DISPATCH)
    kept.request_id = "kept"
    ada.GrantConsent(kept)

    def override(mode, device="eve/devices/battery"):
        return participant_pb2.SetOverrideRequest(device=f"{NAME}/members/{device}", mode=mode)

    def veto(id_):
        stopped = dso_pb2.Veto(
            name=f"{NAME}/vetoes/{id_}",
            member=f"{NAME}/members/ada",
            interval=fields.interval_message(site.start + 5400, site.end),
            reason="works",
        )
        return dso_pb2.CreateVetoRequest(parent=NAME, veto=site.signed("wires", "envelope-wires", stopped))

    def grouped(id_):
        limit = dso_pb2.GroupLimit(
            group=f"{NAME}/groups/{id_}",
            driver="ada/pv",
            bounds={"lower_w": -100, "upper_w": 100},
            counter=1,
            expire_time=fields.timestamp(int(site.clock.now()) + 600),
        )
        return dso_pb2.SetGroupLimitsRequest(parent=NAME, limits=[site.signed("wires", "envelope-wires", limit)])

    old_veto = veto("old")
    old_veto.request_id = "kept"
    site.dso.CreateVeto(old_veto)

    def moved(section):
        bob = operator_pb2.Member(name=f"{NAME}/members/bob", section=section)
        return operator_pb2.UpdateMemberRequest(member=bob, update_mask={"paths": ["section"]})

    def charged(micro):
        grid = operator_pb2.Microgrid(name=NAME, network_charge_micro_per_kwh=micro)
        return operator_pb2.UpdateMicrogridRequest(
            microgrid=grid, update_mask={"paths": ["network_charge_micro_per_kwh"]}
        )

    def priced(micro):
        period = operator_pb2.TariffPeriod(
            interval=fields.interval_message(site.end - 900, site.end),
            import_price_micro_per_kwh=micro,
            export_price_micro_per_kwh=0,
        )
        return operator_pb2.UpdateTariffRequest(parent=NAME, periods=[period])

    rest = override(participant_pb2.OVERRIDE_MODE_NOT_TODAY, "bob/devices/boiler")
    rest.request_id = "kept"
    bob, eve = site.participant("bob"), site.participant("eve")
    bob.SetOverride(rest)
    return {
        "GrantConsent": (
            ada.GrantConsent,
            consent(participant_pb2.CONSENT_SCOPE_TRADES),
            consent(participant_pb2.CONSENT_SCOPE_METER_DATA),
        ),
        "RevokeConsent": (
            ada.RevokeConsent,
            participant_pb2.RevokeConsentRequest(name=f"{NAME}/members/ada/consents/c1"),
            participant_pb2.RevokeConsentRequest(name=f"{NAME}/members/ada/consents/c2"),
        ),
        "CreateVeto": (site.dso.CreateVeto, veto("new"), veto("other")),
        "SetGroupLimits": (site.dso.SetGroupLimits, grouped("east"), grouped("west")),
        "CancelVeto": (
            site.dso.CancelVeto,
            dso_pb2.CancelVetoRequest(name=f"{NAME}/vetoes/old"),
            dso_pb2.CancelVetoRequest(name=f"{NAME}/vetoes/new"),
        ),
        "UpdateMember": (site.operator.UpdateMember, moved("west"), moved("north")),
        "DeleteMember": (
            site.operator.DeleteMember,
            operator_pb2.DeleteMemberRequest(name=f"{NAME}/members/bob"),
            operator_pb2.DeleteMemberRequest(name=f"{NAME}/members/eve"),
        ),
        "UpdateMicrogrid": (site.operator.UpdateMicrogrid, charged(1), charged(2)),
        "UpdateTariff": (site.operator.UpdateTariff, priced(1), priced(2)),
        "CreateMember": (site.operator.CreateMember, member("dan"), member("fay")),
        "RegisterKey": (site.operator.RegisterKey, key("one"), key("two")),
        "CreateEnvelope": (
            site.dso.CreateEnvelope,
            site.envelope_request(site.envelope("new")),
            site.envelope_request(site.envelope("other")),
        ),
        "CancelEnvelope": (
            site.dso.CancelEnvelope,
            dso_pb2.CancelEnvelopeRequest(name=f"{NAME}/envelopes/old"),
            dso_pb2.CancelEnvelopeRequest(name=f"{NAME}/envelopes/new"),
        ),
        "SetDefaultEnvelope": (
            site.dso.SetDefaultEnvelope,
            site.default_request(upper_w=4000),
            site.default_request(upper_w=5000),
        ),
        "RequestPlan": (
            site.aggregator.RequestPlan,
            dispatch_pb2.RequestPlanRequest(parent=NAME),
            dispatch_pb2.RequestPlanRequest(parent=NAME, objective=dispatch_pb2.PLAN_OBJECTIVE_PEAK),
        ),
        "UpdateFlexibility": (ada.UpdateFlexibility, plant(1), plant(2)),
        "SetOverride": (
            eve.SetOverride,
            override(participant_pb2.OVERRIDE_MODE_NOT_TODAY),
            override(participant_pb2.OVERRIDE_MODE_RUN_NOW),
        ),
        "ClearOverride": (
            bob.ClearOverride,
            participant_pb2.ClearOverrideRequest(name=f"{NAME}/members/bob/devices/boiler/overrides/o1"),
            participant_pb2.ClearOverrideRequest(name=f"{NAME}/members/bob/devices/boiler/overrides/o2"),
        ),
        "DeleteDevice": (
            ada.DeleteDevice,
            participant_pb2.DeleteDeviceRequest(name=f"{NAME}/members/ada/devices/pv"),
            participant_pb2.DeleteDeviceRequest(name=f"{NAME}/members/ada/devices/wind"),
        ),
        "SubmitOrder": (ada.SubmitOrder, site.order_request("ada", 3), site.order_request("ada", 3, load_w=[1, 2])),
        "SubmitReadings": (site.gateway.SubmitReadings, readings(31), readings(32)),
        **metering_changes(site),
        "SubmitAttestation": (site.validator.SubmitAttestation, again, unsigned),
        "SubmitBatchSignature": (
            site.validator.SubmitBatchSignature,
            batch_signature(KEYS[0]),
            batch_signature(KEYS[1]),
        ),
        "DenyIdentity": (site.operator.DenyIdentity, denial("serial:1"), denial("serial:2")),
        "AllowIdentity": (
            site.operator.AllowIdentity,
            operator_pb2.AllowIdentityRequest(parent=NAME, subject="serial:3"),
            operator_pb2.AllowIdentityRequest(parent=NAME, subject="serial:4"),
        ),
    }


def metering_changes(site):
    """The same of the operator's calls about meters; ada's and bob's first registers are contradicted."""
    contradiction = site.batch(site.start, members=["ada", "bob"], sequence=25)
    for reading in contradiction.readings:
        reading.import_wh += 1
    site.gateway.SubmitReadings(site.batch_request(contradiction))

    def declared(member):
        change = metering_pb2.MeterChange(
            meter=f"{NAME}/members/{member}", effective_time=fields.timestamp(site.start - 60), rollover_wh=10**6
        )
        return metering_pb2.DeclareMeterChangeRequest(change=change)

    def ruled(permille):
        rules = metering_pb2.MeteringRules(estimation=metering_pb2.ESTIMATION_RULE_LINEAR, loss_limit_permille=permille)
        return metering_pb2.SetMeteringRulesRequest(parent=NAME, rules=rules)

    def decided(number):
        return metering_pb2.DecideMeterEventRequest(
            name=f"{NAME}/meter-events/e{number}", decision=metering_pb2.METER_EVENT_DECISION_KEPT
        )

    metering = site.stub(metering_pb2_grpc.MeteringServiceStub, "operator/op")
    return {
        "DeclareMeterChange": (metering.DeclareMeterChange, declared("ada"), declared("bob")),
        "SetMeteringRules": (metering.SetMeteringRules, ruled(1), ruled(2)),
        "DecideMeterEvent": (metering.DecideMeterEvent, decided(1), decided(2)),
    }


METHODS = (
    "CreateMember",
    "RegisterKey",
    "CreateEnvelope",
    "CancelEnvelope",
    "SetDefaultEnvelope",
    "RequestPlan",
    "UpdateFlexibility",
    "SetOverride",
    "ClearOverride",
    "DeleteDevice",
    "SubmitOrder",
    "GrantConsent",
    "RevokeConsent",
    "SubmitReadings",
    "DeclareMeterChange",
    "SetMeteringRules",
    "DecideMeterEvent",
    "SubmitAttestation",
    "SubmitBatchSignature",
    "DenyIdentity",
    "AllowIdentity",
    "CreateVeto",
    "CancelVeto",
    "SetGroupLimits",
    "UpdateMember",
    "DeleteMember",
    "UpdateMicrogrid",
    "UpdateTariff",
)


def test_no_method_with_a_request_id_was_forgotten():
    modules = (dispatch_pb2, dso_pb2, metering_pb2, operator_pb2, participant_pb2, validator_pb2)
    found = {
        method.name
        for module in modules
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if "request_id" in message_factory.GetMessageClass(method.input_type).DESCRIPTOR.fields_by_name
    }
    assert found == {*METHODS, "CreateMicrogrid"}


@pytest.fixture
def settled(make_site):
    """The village's service half an hour after its start, with a registry; a window is settled and in a batch."""
    site = make_site("lived", registry=registry)
    site.loop.run(site.service.form_batches())
    return site


@pytest.fixture(params=METHODS)
def change(settled, request):
    """A method, a request, and another one; both with the same id."""
    call, one, other = changes(settled)[request.param]
    one.request_id = other.request_id = "the-same"
    return call, one, other


def test_a_repeated_call_has_one_effect_and_the_same_answer(settled, change):
    site, (call, one, _) = settled, change
    before = site.rows()
    answer = call(one)
    after = site.rows()
    assert after != before
    assert call(one) == answer
    assert site.rows() == after


def who_called(site, request_id):
    """Whose call with this id was acknowledged: in the database, or, of limits, in their journal."""
    kept = [json.loads(row["record"]).get("answered") for row in site.rows("limit_records")]
    answers = [*site.rows("requests"), *(answer for answer in kept if answer)]
    return next(answer["identity"] for answer in answers if answer["request_id"] == request_id)


def test_a_repeated_call_is_answered_the_same_after_a_restart_and_a_closed_gate(settled, change):
    site, (call, one, _) = settled, change
    answer = call(one)
    method = call._method.decode()
    identity = who_called(site, "the-same")
    site.restart()
    site.advance(site.start + 7200)
    after = site.rows()
    channel = site.channel(identity)
    again = channel.unary_unary(
        method, request_serializer=type(one).SerializeToString, response_deserializer=type(answer).FromString
    )
    assert again(one) == answer
    assert site.rows() == after


def test_another_content_under_the_same_id_is_refused(settled, change):
    call, one, other = change
    call(one)
    answer = settled.refused(call, other)
    assert (answer.code, answer.reason) == (StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


def test_an_id_counts_over_all_methods_of_a_caller(settled):
    site, calls = settled, changes(settled)
    create, one, _ = calls["CreateEnvelope"]
    cancel, other, _ = calls["CancelEnvelope"]
    one.request_id = other.request_id = "the-same"
    create(one)
    answer = site.refused(cancel, other)
    assert (answer.code, answer.reason) == (StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


def test_two_callers_may_use_the_same_id(site):
    for member in ("ada", "bob"):
        request = site.order_request(member)
        request.request_id = "the-same"
        site.participant(member).SubmitOrder(request)
    assert sum(row["request_id"] == "the-same" for row in site.rows("requests")) == 2


def test_a_refused_call_may_be_made_again_under_its_id(site):
    wrong, right = site.order_request("ada", load_w=[]), site.order_request("ada")
    wrong.request_id = right.request_id = "the-same"
    site.refused(site.participant("ada").SubmitOrder, wrong)
    assert site.participant("ada").SubmitOrder(right).digest


def test_of_many_at_once_one_has_an_effect(site):
    request = site.order_request("ada")
    submit = site.participant("ada").SubmitOrder
    before = len(site.rows("orders"))
    answers = [future.result() for future in [submit.future(request) for _ in range(20)]]
    assert len({answer.digest for answer in answers}) == 1
    assert len(site.rows("orders")) == before + 1


def test_a_malformed_id_is_invalid(settled, change):
    call, one, _ = change
    for request_id in ("", "x" * 65, "with space", "ümlaut", "new\nline"):
        one.request_id = request_id
        answer = settled.refused(call, one)
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("request_id",))


def test_an_acknowledged_call_is_on_disk(site):
    """What a second reader of the file sees, at once, is what the caller was told."""
    digest = site.participant("ada").SubmitOrder(site.order_request("ada", 1)).digest
    with sqlite3.connect(site.path) as other:
        found = other.execute("SELECT digest FROM orders WHERE window = ?", (site.window(1),)).fetchall()
    assert found == [(digest,)]


def test_a_call_whose_transaction_fails_is_no_acknowledged_one(site, refusal_of):
    site.database.commits_left = 1  # the commit is made, the answer never
    request = site.order_request("ada", 1)
    with pytest.raises(RpcError) as caught:
        site.participant("ada").SubmitOrder(request)
    assert refusal_of(caught.value).code is StatusCode.INTERNAL
    after = site.rows()
    site.restart()
    assert site.participant("ada").SubmitOrder(request).digest
    assert site.rows("orders") == after["orders"]


def test_answers_are_forgotten_when_they_are_old(site):
    before = len(site.rows("requests"))
    site.clock.set(site.clock.now() + 1000)
    request = site.order_request("ada", 1)
    site.participant("ada").SubmitOrder(request)
    site.loop.run(site.service.forget_calls(older_s=2000))
    assert len(site.rows("requests")) == before + 1
    site.loop.run(site.service.forget_calls(older_s=500))
    assert [row["request_id"] for row in site.rows("requests")] == [request.request_id]
    site.participant("ada").SubmitOrder(request)
    assert len(site.rows("requests")) == 1
