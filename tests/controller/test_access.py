import datetime
from dataclasses import replace
from itertools import product
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf import message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc

import gridpact.v1
from controller.access import ALLOWED, Identity, Role, identity, may_call
from controller.pki import Authority
from controller.wire import fields
from gridpact.v1 import (
    audit_pb2,
    demand_response_pb2,
    dispatch_pb2,
    driver_pb2,
    dso_pb2,
    metering_pb2,
    operator_pb2,
    operator_pb2_grpc,
    participant_pb2,
    types_pb2,
    validator_pb2,
)

MODULES = (
    audit_pb2,
    demand_response_pb2,
    dispatch_pb2,
    driver_pb2,
    dso_pb2,
    metering_pb2,
    operator_pb2,
    participant_pb2,
    types_pb2,
    validator_pb2,
)
METHODS = {
    f"/{service.full_name}/{method.name}": method
    for module in MODULES
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
HEALTH = {
    f"/{service.full_name}/{method.name}": method
    for service in health_pb2.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


def call(channel, path, request, method):
    """The first answer of any method, called with one message."""
    answer = message_factory.GetMessageClass(method.output_type)
    kinds = {(False, False): "unary_unary", (False, True): "unary_stream", (True, True): "stream_stream"}
    kind = kinds[method.client_streaming, method.server_streaming]
    invoke = getattr(channel, kind)(
        path, request_serializer=lambda message: message.SerializeToString(), response_deserializer=answer.FromString
    )
    if kind == "unary_unary":
        return invoke(request, timeout=20)
    answers = invoke(iter([request]) if kind == "stream_stream" else request, timeout=20)
    first = next(answers)
    answers.cancel()
    return first


REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


def empty(method):
    return message_factory.GetMessageClass(method.input_type)()


class TestTable:
    def test_every_method_of_the_api_is_in_it_and_nothing_else_but_health_and_reflection(self):
        beside = {"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch", REFLECTION}
        assert set(ALLOWED) == set(METHODS) | beside

    def test_every_message_file_of_the_api_was_looked_at(self):
        files = {path.name.removesuffix(".py") for path in Path(gridpact.v1.__path__[0]).glob("*_pb2.py")}
        assert files == {module.__name__.rpartition(".")[2] for module in MODULES}

    def test_nobody_may_call_what_is_not_in_it(self):
        for role in Role:
            caller = Identity(grid="village", role=role, id="x")
            assert not may_call(caller, "/gridpact.v1.OperatorService/DropEverything")

    def test_health_is_for_everybody_with_an_identity(self):
        assert all(ALLOWED[path] == set(Role) for path in HEALTH if path in ALLOWED)

    def test_limits_are_set_by_the_dso_alone(self):
        writes = ("CreateEnvelope", "CancelEnvelope")
        assert all(ALLOWED[f"/gridpact.v1.DsoService/{name}"] == {Role.DSO} for name in writes)


class TestIdentity:
    @pytest.mark.parametrize("role", Role)
    def test_its_text_reads_back(self, role):
        one = Identity(grid="rural1", role=role, id="load-1/boiler")
        assert identity(str(one)) == one

    @pytest.mark.parametrize(
        "uri",
        [
            "",
            "https://village/dso/wires",
            "spiffe://village/king/ada",
            "spiffe://Village/dso/wires",
            "spiffe://village/dso/",
            "spiffe://village/dso",
            "spiffe:///dso/wires",
            "spiffe://village/dso/wires?x",
            "spiffe://village/dso/wires\n",
            " spiffe://village/dso/wires",
            "spiffe://village/DSO/wires",
            "spiffe://1village/dso/wires",
            "spiffe://village/dso/" + "x" * 128,
            "spiffe://" + "v" * 64 + "/dso/wires",
        ],
    )
    def test_what_is_not_one_is_none(self, uri):
        assert identity(uri) is None

    def test_the_longest_names_are_identities(self):
        assert identity("spiffe://" + "v" * 63 + "/dso/" + "x" * 127) is not None


def code(channel, path, method):
    """The canonical code of a call with an empty message, and what is said with it."""
    try:
        call(channel, path, empty(method), method)
    except grpc.RpcError as err:
        return err.code(), err.details()
    return grpc.StatusCode.OK, ""


def test_each_role_may_call_exactly_what_the_table_says(site):
    wrong = []
    for (path, method), role in product((METHODS | HEALTH).items(), Role):
        # A wrong signature has the same canonical code, and is told apart by what is said.
        denied = (grpc.StatusCode.PERMISSION_DENIED, f"{path}: a {role.value} may not call this")
        answer = code(site.channel(f"spiffe://village/{role.value}/somebody"), path, method)
        assert answer[0] is not grpc.StatusCode.UNAUTHENTICATED
        if (answer == denied) == (role in ALLOWED.get(path, ())):
            wrong.append((path, role, answer))
    assert wrong == []


def test_a_method_that_does_not_exist_is_unimplemented(site):
    method = METHODS["/gridpact.v1.OperatorService/GetMicrogrid"]
    with pytest.raises(grpc.RpcError) as caught:
        call(site.channel("spiffe://village/operator/op"), "/gridpact.v1.OperatorService/Drop", empty(method), method)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_no_call_is_answered_by_a_fault_of_ours(site):
    """Empty messages are the commonest malformed ones: no method fails over them."""
    answers = {
        (path, role): code(site.channel(f"spiffe://village/{role.value}/somebody"), path, method)[0]
        for (path, method), role in product((METHODS | HEALTH).items(), Role)
        if role in ALLOWED.get(path, ())
    }
    faults = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNIMPLEMENTED}
    assert {place: found for place, found in answers.items() if found in faults} == {}


def requests_for(site, grid):
    """Of every method a well-formed request that names what is, or would be, in ``grid``."""
    name = f"microgrids/{grid}"
    window = site.window(0, grid)
    order = site.order("ada", grid=grid)
    envelope = site.envelope("limit", name=f"{name}/envelopes/limit", target=name)
    batch = site.batch(site.start)
    batch.parent = name
    for reading in batch.readings:
        reading.member = reading.member.replace("village", grid)
    attestation = validator_pb2.Attestation(window=window, header_hash=bytes(32))
    microgrid = site.operator.GetMicrogrid(operator_pb2.GetMicrogridRequest(name="microgrids/village")).microgrid
    microgrid.name = name
    flexibility = participant_pb2.Flexibility(
        device=f"{name}/members/ada/devices/pv",
        power_envelope=participant_pb2.PowerEnvelopeBasedControl(rated_power_w=1),
    )
    member = operator_pb2.Member(name=f"{name}/members/new", section="east")
    signed = {
        "envelope": site.signed("wires", "envelope-wires", envelope),
        "order": site.signed("ada", "order-ada", order),
        "readings": site.signed("gateway", "reading-gateway", batch),
        "attestation": site.signed("val", "attestation-val", attestation),
    }
    return {
        "dso/wires /DsoService/CreateEnvelope": {"parent": name, "envelope": signed["envelope"]},
        "dso/wires /DsoService/GetEnvelope": {"name": envelope.name},
        "dso/wires /DsoService/ListEnvelopes": {"parent": name},
        "dso/wires /DsoService/CancelEnvelope": {"name": envelope.name},
        "dso/wires /DsoService/GetPlannedLoad": {"parent": name},
        "dso/wires /DsoService/ListRelaxations": {"parent": name},
        "dso/wires /DsoService/SetDefaultEnvelope": {"parent": name, "default_envelope": signed["envelope"]},
        "dso/wires /DsoService/ListDefaultEnvelopes": {"parent": name},
        "dso/wires /DsoService/Supervise": {"parent": name, "heartbeat_counter": 1},
        "meter/gateway /MeteringService/ReportPower": {"parent": name},
        "dso/wires /DemandResponseService/CreateEvent": {
            "parent": name,
            "event": site.signed(
                "wires",
                "envelope-wires",
                demand_response_pb2.DemandEvent(
                    name=f"{name}/events/event",
                    target=name,
                    interval=fields.interval_message(site.start, site.end),
                    direction=demand_response_pb2.DEMAND_DIRECTION_REDUCE,
                    power_w=1,
                    offer_deadline=fields.timestamp(site.start - 60),
                    reason="works",
                ),
            ),
        },
        "dso/wires /DemandResponseService/GetEvent": {"name": f"{name}/events/event"},
        "dso/wires /DemandResponseService/ListEvents": {"parent": name},
        "dso/wires /DemandResponseService/CancelEvent": {"name": f"{name}/events/event"},
        "dso/wires /DemandResponseService/ListOffers": {"parent": f"{name}/events/event"},
        "dso/wires /DemandResponseService/AcceptOffer": {"name": f"{name}/events/event/offers/offer"},
        "aggregator/agg /DemandResponseService/SubmitOffer": {
            "parent": f"{name}/events/event",
            "offer": site.signed(
                "agg",
                "offer-agg",
                demand_response_pb2.DemandOffer(
                    name=f"{name}/events/event/offers/offer", members=[f"{name}/members/ada"], power_w=1
                ),
            ),
        },
        "dso/wires /DsoService/CreateVeto": {
            "parent": name,
            "veto": site.signed(
                "wires",
                "envelope-wires",
                dso_pb2.Veto(
                    name=f"{name}/vetoes/veto",
                    member=f"{name}/members/ada",
                    interval=fields.interval_message(site.start, site.end),
                    reason="works",
                ),
            ),
        },
        "dso/wires /DsoService/SetGroupLimits": {
            "parent": name,
            "limits": [
                site.signed(
                    "wires",
                    "envelope-wires",
                    dso_pb2.GroupLimit(
                        group=f"{name}/groups/east",
                        driver="ada/pv",
                        bounds={"lower_w": -100, "upper_w": 100},
                        counter=1,
                        expire_time=fields.timestamp(int(site.clock.now()) + 600),
                    ),
                )
            ],
        },
        "dso/wires /DsoService/CancelVeto": {"name": f"{name}/vetoes/veto"},
        "dso/wires /DsoService/ListVetoes": {"parent": name},
        "aggregator/agg /DispatchService/RequestPlan": {"parent": name},
        "aggregator/agg /DispatchService/GetPlan": {"name": f"{name}/plans/p1"},
        "aggregator/agg /DispatchService/GetClearing": {"window": window},
        "aggregator/agg /DispatchService/ListClearings": {"parent": name},
        "aggregator/agg /DispatchService/ListTrades": {"parent": window},
        "aggregator/agg /DispatchService/ListPrices": {"parent": name},
        "aggregator/agg /DispatchService/WatchPlans": {"parent": name},
        "aggregator/agg /DispatchService/WatchClearings": {"parent": name},
        "driver/ada/pv /DriverService/Connect": {"descriptor": driver_pb2.Descriptor(device=flexibility.device)},
        "participant/ada /ParticipantService/UpdateFlexibility": {"flexibility": flexibility},
        "participant/ada /ParticipantService/GetDevice": {"name": flexibility.device},
        "participant/ada /ParticipantService/ListDevices": {"parent": f"{name}/members/ada"},
        "participant/ada /ParticipantService/DeleteDevice": {"name": flexibility.device},
        "participant/ada /ParticipantService/GetMember": {"name": f"{name}/members/ada"},
        "participant/ada /ParticipantService/GetSchedule": {"parent": f"{name}/members/ada"},
        "participant/ada /ParticipantService/ListOwnPostings": {"parent": f"{name}/members/ada"},
        "participant/ada /ParticipantService/GetInvoice": {
            "parent": f"{name}/members/ada",
            "first_day": "2026-03-02",
            "last_day": "2026-03-02",
        },
        "participant/ada /ParticipantService/ListReputations": {"parent": f"{name}/members/ada"},
        "participant/ada /ParticipantService/SetOverride": {
            "device": flexibility.device,
            "mode": participant_pb2.OVERRIDE_MODE_NOT_TODAY,
        },
        "participant/ada /ParticipantService/ClearOverride": {"name": f"{flexibility.device}/overrides/o1"},
        "participant/ada /ParticipantService/ListOverrides": {"parent": flexibility.device},
        "participant/ada /ParticipantService/SubmitOrder": {"order": signed["order"]},
        "participant/ada /ParticipantService/ListOwnTrades": {"parent": window},
        "participant/ada /ParticipantService/GetTradeProof": {"name": f"{window}/trades/0"},
        "participant/ada /ParticipantService/GrantConsent": {
            "parent": f"{name}/members/ada",
            "consent": participant_pb2.Consent(
                grantee="aggregator/agg",
                scope=participant_pb2.CONSENT_SCOPE_TRADES,
                expire_time=fields.timestamp(site.end),
            ),
        },
        "participant/ada /ParticipantService/RevokeConsent": {"name": f"{name}/members/ada/consents/c1"},
        "participant/ada /ParticipantService/ListConsents": {"parent": f"{name}/members/ada"},
        "meter/gateway /MeteringService/SubmitReadings": {"readings": signed["readings"]},
        "participant/ada /MeteringService/ListReadings": {"parent": f"{name}/members/ada"},
        "operator/op /MeteringService/DeclareMeterChange": {
            "change": metering_pb2.MeterChange(
                meter=f"{name}/members/ada",
                effective_time=fields.timestamp(site.start - 7200),
                rollover_wh=10**6,
                final={"import_wh": 900_000, "export_wh": 40},
                first={"import_wh": 10, "export_wh": 20},
            )
        },
        "participant/ada /MeteringService/ListMeterChanges": {"parent": f"{name}/members/ada"},
        "operator/op /MeteringService/SetMeteringRules": {
            "parent": name,
            "rules": metering_pb2.MeteringRules(
                estimation=metering_pb2.ESTIMATION_RULE_LINEAR,
                estimate_after={"seconds": 3600},
                loss_limit_permille=50,
            ),
        },
        "operator/op /MeteringService/GetMeteringRules": {"parent": name},
        "operator/op /MeteringService/ListMeterEvents": {"parent": f"{name}/members/ada"},
        "operator/op /MeteringService/DecideMeterEvent": {
            "name": f"{name}/meter-events/e1",
            "decision": metering_pb2.METER_EVENT_DECISION_KEPT,
            "reason": "misread",
        },
        "operator/op /MeteringService/ListFeederSums": {"parent": name},
        "operator/op /OperatorService/CreateMicrogrid": {"microgrid": microgrid},
        "operator/op /OperatorService/GetMicrogrid": {"name": name},
        "operator/op /OperatorService/CreateMember": {"parent": name, "member": member},
        "operator/op /OperatorService/ListMembers": {"parent": name},
        "operator/op /OperatorService/RegisterKey": {
            "parent": name,
            "key_id": "new-key",
            "purpose": operator_pb2.KEY_PURPOSE_ORDER,
            "holder": "ada",
            "public_key": bytes(32),
        },
        "operator/op /OperatorService/ListWindows": {"parent": name},
        "operator/op /OperatorService/GetWindow": {"name": window},
        "operator/op /OperatorService/UpdateMicrogrid": {
            "microgrid": microgrid,
            "update_mask": {"paths": ["network_charge_micro_per_kwh"]},
        },
        "operator/op /OperatorService/UpdateTariff": {"parent": name, "periods": microgrid.tariff},
        "operator/op /OperatorService/UpdateMember": {"member": member, "update_mask": {"paths": ["section"]}},
        "operator/op /OperatorService/DeleteMember": {"name": f"{name}/members/ada"},
        "operator/op /OperatorService/DenyIdentity": {"parent": name, "subject": f"spiffe://{grid}/driver/ada/pv"},
        "operator/op /OperatorService/AllowIdentity": {"parent": name, "subject": f"spiffe://{grid}/driver/ada/pv"},
        "operator/op /OperatorService/ListDenials": {"parent": name},
        "operator/op /OperatorService/GetStatus": {"name": name},
        "validator/val /ValidatorService/GetWindowRecords": {"window": window},
        "validator/val /ValidatorService/SubmitAttestation": {"attestation": signed["attestation"]},
        "validator/val /ValidatorService/GetRegistry": {"parent": name},
        "validator/val /ValidatorService/ListBatches": {"parent": name},
        "validator/val /ValidatorService/GetWindowEvidence": {"window": window},
        "validator/val /ValidatorService/SubmitBatchSignature": {
            "parent": name,
            "number": 0,
            "hash": bytes(32),
            "signature": bytes(65),
        },
        "auditor/aud /AuditService/ListHeaders": {"parent": name},
        "auditor/aud /AuditService/GetHeader": {"window": window},
        "auditor/aud /AuditService/GetProof": {"name": f"{window}/trades/0"},
        "auditor/aud /AuditService/ListAccess": {"parent": name},
    }


@pytest.fixture
def both(make_site):
    """Village and hamlet on one service; a window of the village is settled, so that all there is to hide is there."""
    site = make_site("village", "hamlet")
    envelope = site.envelope("limit")
    site.dso.CreateEnvelope(site.envelope_request(envelope))
    site.live(until=site.start + 1800)
    assert site.states()[0] == "SETTLED"
    return site


def answers(site, caller_grid, grid):
    """What the callers of one grid are answered about another: status and details by method."""
    found = {}
    for who, values in requests_for(site, grid).items():
        caller, _, short = who.partition(" /")
        path = f"/gridpact.v1.{short}"
        method = METHODS[path]
        kind = message_factory.GetMessageClass(method.input_type)
        if "request_id" in kind.DESCRIPTOR.fields_by_name:
            values["request_id"] = site.request_id()
        channel = site.channel(f"spiffe://{caller_grid}/{caller}")
        with pytest.raises(grpc.RpcError) as caught:
            call(channel, path, kind(**values), method)
        found[path] = caught.value
    return found


def test_what_is_foreign_is_answered_like_what_does_not_exist(both, refusal_of):
    foreign = {path: refusal_of(err) for path, err in answers(both, "hamlet", "village").items()}
    nowhere = {path: refusal_of(err) for path, err in answers(both, "hamlet", "atlantis").items()}
    assert set(foreign) == set(METHODS)
    assert {path for path, one in foreign.items() if one.code is not grpc.StatusCode.NOT_FOUND} == set()
    assert {
        path: replace(one, message=one.message.replace("village", "atlantis")) for path, one in foreign.items()
    } == nowhere
    assert both.operator.GetMicrogrid(operator_pb2.GetMicrogridRequest(name="microgrids/village"))


def test_a_foreign_call_changes_nothing(both):
    before = both.rows()
    answers(both, "hamlet", "village")
    assert both.rows() == before


class TestCertificates:
    REQUEST = operator_pb2.GetMicrogridRequest(name="microgrids/village")

    def ask(self, channel):
        return operator_stub(channel).GetMicrogrid(self.REQUEST, timeout=20)

    def test_one_of_ours_is_let_in(self, site):
        assert self.ask(site.channel("spiffe://village/auditor/aud")).microgrid.name == "microgrids/village"

    def test_none_is_refused(self, site):
        with pytest.raises(grpc.RpcError) as caught:
            self.ask(site.channel())
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

    def test_plain_text_is_refused(self, site):
        with grpc.insecure_channel(f"127.0.0.1:{site.port}") as channel, pytest.raises(grpc.RpcError) as caught:
            self.ask(channel)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

    def test_one_of_a_foreign_authority_is_refused(self, site):
        with pytest.raises(grpc.RpcError) as caught:
            self.ask(site.channel("spiffe://village/auditor/aud", authority=Authority()))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

    @pytest.mark.parametrize(
        "uri",
        [
            "https://village/auditor/aud",
            "spiffe://village/king/aud",
            "spiffe://village/auditor",
            "spiffe://village/auditor/AUD",
            "spiffe://Village/auditor/aud",
        ],
    )
    def test_one_with_a_malformed_identity_is_unauthenticated(self, site, refusal_of, uri):
        with pytest.raises(grpc.RpcError) as caught:
            self.ask(site.channel(uri))
        assert refusal_of(caught.value).code is grpc.StatusCode.UNAUTHENTICATED

    @pytest.mark.parametrize(
        "names",
        [
            [],
            [x509.DNSName("aud")],
            [x509.RFC822Name("aud@village")],
            [
                x509.UniformResourceIdentifier("spiffe://village/auditor/aud"),
                x509.UniformResourceIdentifier("spiffe://village/operator/op"),
            ],
            [
                x509.UniformResourceIdentifier("spiffe://village/auditor/aud"),
                x509.UniformResourceIdentifier("https://village"),
            ],
        ],
        ids=["no name", "a host", "a mail address", "two identities", "an identity and another URI"],
    )
    def test_one_without_exactly_one_identity_is_unauthenticated(self, site, refusal_of, names):
        with site.dial(credentials(site.authority, names)) as channel, pytest.raises(grpc.RpcError) as caught:
            self.ask(channel)
        assert refusal_of(caught.value).code is grpc.StatusCode.UNAUTHENTICATED

    def test_its_common_name_counts_for_nothing(self, site, refusal_of):
        theirs = credentials(site.authority, [], common_name="spiffe://village/auditor/aud")
        with site.dial(theirs) as channel, pytest.raises(grpc.RpcError) as caught:
            self.ask(channel)
        assert refusal_of(caught.value).code is grpc.StatusCode.UNAUTHENTICATED

    def test_metadata_count_for_nothing(self, site, refusal_of):
        stub = operator_stub(site.channel("https://village"))
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetMicrogrid(self.REQUEST, metadata=[("x-spiffe-id", "spiffe://village/auditor/aud")])
        assert refusal_of(caught.value).code is grpc.StatusCode.UNAUTHENTICATED

    def test_one_that_has_run_out_is_refused(self, site):
        late = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=1)
        names = [x509.UniformResourceIdentifier("spiffe://village/auditor/aud")]
        with (
            site.dial(credentials(site.authority, names, not_after=late)) as channel,
            pytest.raises(grpc.RpcError) as caught,
        ):
            self.ask(channel)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def operator_stub(channel):
    return operator_pb2_grpc.OperatorServiceStub(channel)


def credentials(authority, names, *, common_name="client", not_after=None):
    """A certificate that the authority would never issue, under its key all the same."""
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(not_after or now + datetime.timedelta(hours=1))
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(authority._key, hashes.SHA256())
    return grpc.ssl_channel_credentials(
        root_certificates=authority.certificate,
        private_key=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        certificate_chain=certificate.public_bytes(serialization.Encoding.PEM),
    )


def test_health_is_told_once_and_watched(site):
    channel = site.channel("spiffe://village/driver/ada/pv")
    stub = health_pb2_grpc.HealthStub(channel)
    assert stub.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
    watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=20)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()
