"""Every method, called by every role about its own microgrid and about another, over mutual TLS."""

from itertools import product

import grpc
import pytest
from google.protobuf import message_factory

from controller import access
from controller.access import ALLOWED, OWN, Own, Role, unlisted
from controller.errors import ControllerError
from controller.services import register
from controller.wire import fields
from gridpact.v1 import (
    demand_response_pb2,
    demand_response_pb2_grpc,
    dispatch_pb2,
    dso_pb2,
    operator_pb2,
    participant_pb2,
    validator_pb2,
)
from tests.controller.fuzzed_service import Recorder
from tests.controller.test_access import METHODS, call, requests_for
from tests.controller.validators import registry, signed_batch

NAMES = {
    Role.DSO: "wires",
    Role.AGGREGATOR: "agg",
    Role.DRIVER: "ada/pv",
    Role.PARTICIPANT: "ada",
    Role.METER: "gateway",
    Role.OPERATOR: "op",
    Role.VALIDATOR: "val",
    Role.AUDITOR: "aud",
}
OTHERS = NAMES | {Role.DRIVER: "bob/boiler", Role.PARTICIPANT: "bob", Role.METER: "other", Role.DSO: "other"}
OTHERS |= {Role.VALIDATOR: "other"}
"""Of the same role in the same microgrid, and somebody else."""
ENDING = ("Revoke", "Cancel", "Delete", "Allow")
"""Methods that take away what others need are called last."""
ADA = "microgrids/village/members/ada"


class TestTable:
    def test_it_fits_the_api(self):
        assert unlisted(METHODS) == []
        assert set(register.METHODS) == set(METHODS)

    def test_a_method_without_a_row_is_named(self):
        wrong = unlisted([*METHODS, "/gridpact.v1.OperatorService/DropEverything"])
        assert wrong == ["/gridpact.v1.OperatorService/DropEverything: no row, nobody may call it"]

    def test_a_row_without_a_method_is_named(self):
        gone = "/gridpact.v1.AuditService/GetProof"
        assert unlisted(set(METHODS) - {gone}) == [f"{gone}: a row for what does not exist"]

    def test_a_row_for_participants_alone_says_whose_it_must_be(self, monkeypatch):
        method = "/gridpact.v1.ParticipantService/GetMember"
        monkeypatch.delitem(OWN, method)
        assert unlisted(METHODS) == [f"{method}: a row for participant, and no word whose it must be"]

    def test_a_service_that_it_does_not_fit_does_not_start(self, site, monkeypatch):
        monkeypatch.delitem(access.ALLOWED, "/gridpact.v1.DsoService/GetEnvelope")
        with pytest.raises(ControllerError, match="GetEnvelope: no row"):
            register.add_servicers(Recorder(), site.service._core)


@pytest.fixture
def peopled(make_site):
    """Village and hamlet on one service; in the village there is something of every kind to be seen."""
    site = make_site("village", "hamlet", registry=registry)
    site.dso.CreateEnvelope(site.envelope_request(site.envelope("limit")))
    ada = site.participant("ada")
    for role, scope in product((Role.AGGREGATOR, Role.DSO, Role.OPERATOR, Role.AUDITOR, Role.METER), (1, 2, 3)):
        consent = participant_pb2.Consent(
            grantee=f"{role.value}/{NAMES[role]}", scope=scope, expire_time=fields.timestamp(site.end)
        )
        ada.GrantConsent(participant_pb2.GrantConsentRequest(parent=ADA, consent=consent, request_id=site.request_id()))
    site.live(until=site.start + 1800)
    assert site.states()[0] == "SETTLED"
    contradiction = site.batch(site.start, members=["ada"], sequence=25)
    contradiction.readings[0].import_wh += 1
    site.gateway.SubmitReadings(site.batch_request(contradiction))
    site.loop.run(site.service.form_batches())
    return site


def own_requests(site):
    """Valid requests about what exists in the village, by method."""
    found = {f"/gridpact.v1.{who.partition(' /')[2]}": values for who, values in requests_for(site, "village").items()}
    plan = site.aggregator.RequestPlan(
        dispatch_pb2.RequestPlanRequest(parent="microgrids/village", request_id=site.request_id())
    ).plan
    ada = site.participant("ada")
    consents = ada.ListConsents(participant_pb2.ListConsentsRequest(parent=ADA)).consents
    override = ada.SetOverride(
        participant_pb2.SetOverrideRequest(
            device=f"{ADA}/devices/pv", mode=participant_pb2.OVERRIDE_MODE_NOT_TODAY, request_id=site.request_id()
        )
    ).override
    trades = ada.ListOwnTrades(participant_pb2.ListOwnTradesRequest(parent=site.window(0))).trades
    header = next(row for row in site.rows("headers") if row["window"] == site.window(0))
    attestation = validator_pb2.Attestation(window=site.window(0), run=header["run"], header_hash=header["hash"])
    site.operator.DenyIdentity(
        operator_pb2.DenyIdentityRequest(parent="microgrids/village", subject="serial:1", request_id=site.request_id())
    )
    event = asked(site)
    default = dso_pb2.DefaultEnvelope(target="microgrids/village", bounds={"upper_w": 9000}, source="wires", counter=9)
    existing = {
        "DsoService/SetDefaultEnvelope": {
            "parent": "microgrids/village",
            "default_envelope": site.signed("wires", "envelope-wires", default),
        },
        "DemandResponseService/GetEvent": {"name": event},
        "DemandResponseService/CancelEvent": {"name": event},
        "DemandResponseService/ListOffers": {"parent": event},
        "DemandResponseService/AcceptOffer": {"name": f"{event}/offers/seen"},
        "DemandResponseService/SubmitOffer": {
            "parent": event,
            "offer": site.signed(
                "agg",
                "offer-agg",
                demand_response_pb2.DemandOffer(name=f"{event}/offers/more", members=[ADA], power_w=1),
            ),
        },
        "DispatchService/GetPlan": {"name": plan.name},
        "OperatorService/DenyIdentity": {"parent": "microgrids/village", "subject": "serial:2"},
        "OperatorService/AllowIdentity": {"parent": "microgrids/village", "subject": "serial:1"},
        "ParticipantService/RevokeConsent": {"name": consents[0].name},
        "ParticipantService/ClearOverride": {"name": override.name},
        "ParticipantService/GetTradeProof": {"name": trades[0].name},
        "ValidatorService/SubmitAttestation": {
            "attestation": site.signed("val", "attestation-val", attestation),
        },
        "ValidatorService/SubmitBatchSignature": signed_batch(site),
    }
    return found | {f"/gridpact.v1.{short}": values for short, values in existing.items()}


def asked(site):
    """An event of demand response for which there is an offer."""
    event = "microgrids/village/events/seen"
    message = demand_response_pb2.DemandEvent(
        name=event,
        target="microgrids/village",
        interval=fields.interval_message(site.start + 3600, site.start + 5400),
        direction=demand_response_pb2.DEMAND_DIRECTION_INCREASE,
        power_w=10,
        offer_deadline=fields.timestamp(site.start + 3600),
        reason="wind",
    )
    dso = site.stub(demand_response_pb2_grpc.DemandResponseServiceStub, "dso/wires")
    dso.CreateEvent(
        demand_response_pb2.CreateEventRequest(
            parent="microgrids/village",
            event=site.signed("wires", "envelope-wires", message),
            request_id=site.request_id(),
        )
    )
    offer = demand_response_pb2.DemandOffer(name=f"{event}/offers/seen", members=[ADA], power_w=1)
    aggregator = site.stub(demand_response_pb2_grpc.DemandResponseServiceStub, "aggregator/agg")
    aggregator.SubmitOffer(
        demand_response_pb2.SubmitOfferRequest(
            parent=event, offer=site.signed("agg", "offer-agg", offer), request_id=site.request_id()
        )
    )
    return event


def answer(site, uri, path, values):
    """What a call is answered: the code and the words."""
    method = METHODS[path]
    kind = message_factory.GetMessageClass(method.input_type)
    if "request_id" in kind.DESCRIPTOR.fields_by_name:
        values = values | {"request_id": site.request_id()}
    try:
        call(site.channel(uri), path, kind(**values), method)
    except grpc.RpcError as err:
        return err.code(), err.details()
    except StopIteration:
        pass
    return grpc.StatusCode.OK, ""


FAULTS = {
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.UNIMPLEMENTED,
}


@pytest.mark.slow
def test_all_methods_and_roles_are_answered_as_the_matrix_says(peopled):
    """Own and foreign microgrid, and for what is narrower another of the same role; 100 % of the cells."""
    requests = own_requests(peopled)
    assert set(requests) == set(METHODS), "a method without a request"
    # Without its member nothing of it is there: that comes last of all.
    order = sorted(
        METHODS, key=lambda path: (path.endswith("DeleteMember"), path.split("/")[-1].startswith(ENDING), path)
    )
    order = sorted(METHODS, key=lambda path: (path.split("/")[-1].startswith(ENDING), "Operator" in path, path))
    wrong, cells = [], 0
    for path, role in product(order, Role):
        listed = role in ALLOWED[path]
        denied = (grpc.StatusCode.PERMISSION_DENIED, f"{path}: a {role.value} may not call this")
        foreign = answer(peopled, f"spiffe://hamlet/{role.value}/{NAMES[role]}", path, requests[path])
        other = None
        if listed and path in OWN and OTHERS[role] != NAMES[role]:
            other = answer(peopled, f"spiffe://village/{role.value}/{OTHERS[role]}", path, requests[path])
        own = answer(peopled, f"spiffe://village/{role.value}/{NAMES[role]}", path, requests[path])
        cells += 2 + (other is not None)
        if (foreign[0] is not grpc.StatusCode.NOT_FOUND) if listed else (foreign != denied):
            wrong.append((path, role, "foreign", foreign))
        if (own[0] in FAULTS) if listed else (own != denied):
            wrong.append((path, role, "own", own))
        if other is not None and other[0] not in refused_by(OWN[path]):
            wrong.append((path, role, "another's", other))
    assert not wrong, "\n".join(map(str, wrong))
    assert cells >= 2 * len(METHODS) * len(Role)


def refused_by(own):
    """The codes that tell somebody else of the same role no."""
    match own:
        case Own.MEMBER | Own.DEVICE:
            return {grpc.StatusCode.NOT_FOUND}
        case Own.SIGNER:
            return {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED}
        case Own.GATEWAY | Own.PART:
            return set(grpc.StatusCode)
