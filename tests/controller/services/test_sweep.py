"""Every field of every unary method made wrong in every way, one at a time: refused by name, and nothing changes.

The cases come out of the descriptors: a field that is added is swept from then on. Where a wrong value is a right one,
a zero price or a text that is any text, a table says so. Every seventh case runs with the slow tests, all of them with
``pytest -m campaign``.
"""

import shutil
from dataclasses import replace

import grpc
import pytest
from google.protobuf import message_factory

from controller.flexibility import Programme
from controller.microgrid import Device
from controller.wire import fields
from controller.wire.flexibility_message import flexibility_message
from gridpact.v1 import (
    demand_response_pb2,
    demand_response_pb2_grpc,
    dispatch_pb2,
    dso_pb2,
    metering_pb2,
    operator_pb2,
    participant_pb2,
    types_pb2,
)
from tests.controller.flexibility_cases import controls
from tests.controller.fuzzed_service import FuzzedService
from tests.controller.services.test_fuzz import live
from tests.controller.sweeping import mutations
from tests.controller.test_access import METHODS, requests_for
from tests.controller.village import START
from tests.controller.village_site import Site, found

NAME = "microgrids/village"
ADA = f"{NAME}/members/ada"
EVENT = f"{NAME}/events/event"
SHARE = 7
NAMED = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE}

FINE = {
    "missing": """
        price_cap_micro_per_kwh counter primacy source expire_time lower_w upper_w power_w connection_w feed_in_w
        export_price_micro_per_kwh network_charge_micro_per_kwh planning_horizon timing request_plan reason
        attribute_preferences offers buy_wh sell_wh partners production preference_micro_per_kwh name members
        cycle_cost_micro_per_kwh max_discharge_w max_charge_w required_wh reserve_wh stored_wh gateway
        final_value_micro_per_kwh final_wh self_discharge_ppm_per_hour linear_cost_micro_per_kwh min_down_duration
        min_power_w min_up_duration quadratic_cost_micro_per_kw2_h running_cost_micro_per_h start_cost_micro
        max_starts_per_day min_off_duration min_on_duration required_duration curtailment_cost_micro_per_kwh
        rated_power_w follows ambient_milli_c comfort lower_milli_c upper_milli_c discomfort_cost_micro_per_k_h
        loss_milli_w_per_k temperature_milli_c page_size interval start_time end_time horizon objective deadline
        validate_only estimate_after loss_limit_permille rollover_wh import_wh export_wh
        min_delay_duration max_delay_duration max_pause_duration import_price_micro_per_kwh price_micro_per_kwh
        """,
    "negative": """
        power_w lower_w upper_w export_price_micro_per_kwh import_price_micro_per_kwh linear_cost_micro_per_kwh
        ambient_milli_c lower_milli_c upper_milli_c performance_ppm temperature_milli_c draw_w
        """,
    "unspecified": "objective",
    "many": "samples readings",
    "misnamed": "reason",
    "long": "reason",
    "unprintable": "reason",
    "twice": "samples phases power_w readings",
}
"""What counts although it is wrong elsewhere, by what is wrong and the field's own name."""

SAID_ANYWAY = ("consent.create_time", "consent.revoke_time", "consent.state")
"""Fields of messages that are answers as well: what a request says in them is not read."""

INSTEAD = {
    "veto.member": "veto.target",
    "event.target": "event.target",
    "order.production": "order.offers[0].sell_wh",
    "modulating": "min_power_w",
    "import_price_micro_per_kwh": "export_price_micro_per_kwh",
    "readings.readings": "readings[",
    "attestation.run": "attestation.header_hash",
}
"""Fields that are named by what they contradict."""


def instant(mtu):
    return fields.timestamp(START + 900 * mtu)


def interval(first, end):
    return fields.interval_message(START + 900 * first, START + 900 * end)


def event(id_):
    return demand_response_pb2.DemandEvent(
        name=f"{NAME}/events/{id_}",
        target=NAME,
        interval=interval(4, 6),
        direction=demand_response_pb2.DEMAND_DIRECTION_REDUCE,
        power_w=100,
        price_cap_micro_per_kwh=5,
        offer_deadline=instant(3),
        reason="works",
    )


def offer(id_):
    return demand_response_pb2.DemandOffer(
        name=f"{EVENT}/offers/{id_}", members=[f"{NAME}/members/bob"], power_w=5, price_micro_per_kwh=2
    )


def veto(id_):
    return dso_pb2.Veto(name=f"{NAME}/vetoes/{id_}", member=ADA, interval=interval(4, 6), reason="works")


def rich(site):
    """Valid requests of every method with as many fields as there are."""
    valid = requests_for(site, "village")
    live(site, valid)
    dso, ada, operator = (
        "dso/wires /DsoService/",
        "participant/ada /ParticipantService/",
        "operator/op /OperatorService/",
    )
    new = site.envelope("new", counter=7, source="s", primacy=3, expire_time=instant(7))
    default = dso_pb2.DefaultEnvelope(
        target=NAME, bounds=types_pb2.PowerBounds(lower_w=-5, upper_w=5), source="s", counter=8, reason="works"
    )
    order = site.order(
        "ada",
        3,
        offers=[participant_pb2.EnergyOffer(sell_wh=5, buy_wh=5)] * 2,
        attribute_preferences=[participant_pb2.AttributePreference(attribute=1, preference_micro_per_kwh=4)],
    )
    sample = metering_pb2.PowerSample(target=NAME, measure_time=instant(2), power_w=5)
    period = operator_pb2.TariffPeriod(
        interval=interval(6, 8), import_price_micro_per_kwh=5, export_price_micro_per_kwh=3
    )
    fresh = operator_pb2.Microgrid()
    fresh.CopyFrom(valid[f"{operator}CreateMicrogrid"]["microgrid"])
    for changes in (
        {f"{dso}CreateEnvelope": {"envelope": site.signed("wires", "envelope-wires", new)}},
        {f"{dso}SetDefaultEnvelope": {"default_envelope": site.signed("wires", "envelope-wires", default)}},
        {f"{dso}CreateVeto": {"veto": site.signed("wires", "envelope-wires", veto("new"))}},
        {
            "dso/wires /DemandResponseService/CreateEvent": {
                "event": site.signed("wires", "envelope-wires", event("new"))
            }
        },
        {"aggregator/agg /DemandResponseService/SubmitOffer": {"offer": site.signed("agg", "offer-agg", offer("new"))}},
        {"meter/gateway /MeteringService/ReportPower": {"samples": [sample]}},
        {f"{ada}SubmitOrder": {"order": site.signed("ada", "order-ada", order)}},
        {f"{ada}SetOverride": {"mode": participant_pb2.OVERRIDE_MODE_PAUSE, "expire_time": instant(5)}},
        {f"{ada}UpdateFlexibility": {"gateway": "gw"}},
        {f"{operator}UpdateTariff": {"periods": [period]}},
        {f"{operator}UpdateMember": {"member": operator_pb2.Member(name=ADA, section="east", connection_w=9000)}},
        {f"{operator}UpdateMember": {"update_mask": {"paths": ["section", "connection_w"]}}},
        {f"{operator}AllowIdentity": {"subject": "spiffe://village/driver/zoe/x"}},
        {"aggregator/agg /DispatchService/RequestPlan": {"validate_only": True, "horizon": interval(4, 8)}},
        {"aggregator/agg /DispatchService/RequestPlan": {"deadline": {"seconds": 5}, "objective": 1}},
    ):
        for who, values in changes.items():
            valid[who] |= values
    return valid


@pytest.fixture(scope="module")
def swept(tmp_path_factory, loop, authority, lived):
    """The village half an hour after its start with something of every kind in it, and the hamlet."""
    path = shutil.copy(lived, tmp_path_factory.mktemp("swept") / "gridpact.sqlite")
    site = Site(path, loop, authority)
    found(site, "hamlet")
    site.clock.set(START + 1800)
    valid = rich(site)
    dso = site.stub(demand_response_pb2_grpc.DemandResponseServiceStub, "dso/wires")
    signed = site.signed("wires", "envelope-wires", event("event"))
    dso.CreateEvent(demand_response_pb2.CreateEventRequest(parent=NAME, event=signed, request_id="event"))
    aggregator = site.stub(demand_response_pb2_grpc.DemandResponseServiceStub, "aggregator/agg")
    signed = site.signed("agg", "offer-agg", offer("offer"))
    aggregator.SubmitOffer(demand_response_pb2.SubmitOfferRequest(parent=EVENT, offer=signed, request_id="offer"))
    signed = site.signed("wires", "envelope-wires", veto("veto"))
    site.dso.CreateVeto(dso_pb2.CreateVetoRequest(parent=NAME, veto=signed, request_id="veto"))
    subject = "spiffe://village/driver/zoe/x"
    site.operator.DenyIdentity(operator_pb2.DenyIdentityRequest(parent=NAME, subject=subject, request_id="deny"))
    override = valid["participant/ada /ParticipantService/SetOverride"]
    site.participant("ada").SetOverride(participant_pb2.SetOverrideRequest(**override, request_id="override"))
    plan = site.aggregator.RequestPlan(dispatch_pb2.RequestPlanRequest(parent=NAME, request_id="plan")).plan
    valid["aggregator/agg /DispatchService/GetPlan"] = {"name": plan.name}
    site.dso.CreateEnvelope(site.envelope_request(site.envelope("limit")))
    contradiction = site.batch(START, members=["bob"], sequence=25)
    contradiction.readings[0].import_wh += 1
    site.gateway.SubmitReadings(site.batch_request(contradiction))
    washer, *_ = (control for control in controls(START, START + 7200).values() if isinstance(control, Programme))
    washer = flexibility_message(
        "village", Device(id="ada/washer", member="ada", flexibility=replace(washer, follows=None))
    )
    site.participant("ada").UpdateFlexibility(
        participant_pb2.UpdateFlexibilityRequest(flexibility=washer, request_id="washer")
    )
    site.close()
    service = FuzzedService(path, START + 1800)
    service.valid = valid
    service.flexibilities = [
        flexibility_message("village", Device(id="ada/new", member="ada", flexibility=control))
        for control in controls(START, START + 7200).values()
    ]
    yield service
    service.close()


def bases(service):
    """Method, caller and a valid request; of flexibility one of each kind.

    An operator founds the microgrid of its own grid alone, which is not there yet.
    """
    for who, values in sorted(service.valid.items()):
        caller, _, short = who.partition(" /")
        path = f"/gridpact.v1.{short}"
        if METHODS[path].client_streaming or METHODS[path].server_streaming:
            continue
        kind = message_factory.GetMessageClass(METHODS[path].input_type)
        request = kind(**values)
        uri = f"spiffe://village/{caller}"
        if short.endswith("CreateMicrogrid"):
            uri, request.microgrid.name = "spiffe://atlantis/operator/op", "microgrids/atlantis"
        if not short.endswith("UpdateFlexibility"):
            yield path, uri, request
            continue
        for flexibility in service.flexibilities:
            yield path, uri, kind(**values | {"flexibility": flexibility})


def is_fine(field, wrong):
    return field in SAID_ANYWAY or field.rpartition(".")[2].partition("[")[0] in FINE.get(wrong, "").split()


def is_named(field, named):
    """Whether what a refusal names is the field, what it is in, or something in it."""
    field = field.replace("[0]", "").replace("readings.readings", "readings")
    others = [other for known, other in INSTEAD.items() if field.endswith(known)]
    for one in (name.partition("[")[0] if "[" in name and "." not in name else name for name in named):
        plain = one.replace("[0]", "").replace("[1]", "").replace("[3]", "")
        if plain.startswith(field) or field.startswith(plain) or any(plain.endswith(o) or one in o for o in others):
            return True
    return any(name.endswith(".control") for name in named)  # of a oneof


def is_read(request, field):
    """Whether an update looks at a field: its mask names it."""
    if not field.startswith(("member.", "microgrid.")) or "update_mask" not in request.DESCRIPTOR.fields_by_name:
        return True
    return any(field.partition(".")[2].startswith(path) for path in ("name", *request.update_mask.paths))


def wrong_with(service, path, uri, request, field, wrong):
    """What is wrong with the answer to a request in which one field is wrong; empty where nothing is."""
    answer, changed = service.changed_by(path, uri, [request.SerializeToString()])
    if answer.code is grpc.StatusCode.OK:
        # What was kept is of no concern to the next.
        service.forget()
        service.begin()
        return "" if is_fine(field, wrong) else "accepted"
    if fault := answer.fault():
        return fault
    if changed:
        return f"{answer.code} and something changed"
    if answer.code in NAMED and not is_named(field, answer.named()):
        return f"names {answer.named()}"
    return ""


def sweep(service, share):
    complaints, number = [], 0
    service.begin()
    for path, uri, base in bases(service):
        if "request_id" in base.DESCRIPTOR.fields_by_name:
            base.request_id = "sweep"
        for field, wrong, request in mutations(base):
            number += 1
            if number % share or not is_read(base, field):
                continue
            if found := wrong_with(service, path, uri, request, field, wrong):
                complaints.append((path.rpartition("/")[2], field, wrong, found))
    service.forget()
    assert number > 1400
    return complaints


@pytest.mark.campaign
def test_each_request_is_answered_as_long_as_nothing_is_wrong_with_it(swept):
    refused = []
    for path, uri, request in bases(swept):
        if "request_id" in request.DESCRIPTOR.fields_by_name:
            request.request_id = "sweep"
        swept.begin()
        answer = swept.call(path, uri, [request.SerializeToString()])
        swept.forget()
        if answer.code is not grpc.StatusCode.OK:
            refused.append((path, answer.code, answer.message))
    assert refused == []


@pytest.mark.slow
def test_a_wrong_field_is_refused_by_name_and_changes_nothing(swept):
    assert sweep(swept, SHARE) == []


@pytest.mark.campaign
def test_each_wrong_field_is_refused_by_name_and_changes_nothing(swept):
    assert sweep(swept, 1) == []
