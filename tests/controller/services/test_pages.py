"""Pages go on where they ended, whatever comes and goes meanwhile, and for the same question alone."""

import pytest
from grpc import StatusCode

from gridpact.v1 import dso_pb2, operator_pb2, participant_pb2

NAME = "microgrids/village"


def members(site):
    """How members are listed, one is added, one is taken away: the names that there are, and how to ask."""

    def add(id_):
        member = operator_pb2.Member(name=f"{NAME}/members/{id_}", section="east")
        site.operator.CreateMember(
            operator_pb2.CreateMemberRequest(parent=NAME, member=member, request_id=site.request_id())
        )

    def remove(id_):
        name = f"{NAME}/members/{id_}"
        site.operator.DeleteMember(operator_pb2.DeleteMemberRequest(name=name, request_id=site.request_id()))

    def ask(**page):
        answer = site.operator.ListMembers(operator_pb2.ListMembersRequest(parent=NAME, **page))
        return [member.name.rpartition("/")[2] for member in answer.members], answer.next_page_token

    return add, remove, ask


def devices(site):
    eve = site.participant("eve")

    def add(id_):
        flexibility = participant_pb2.Flexibility(device=f"{NAME}/members/eve/devices/{id_}")
        flexibility.power_envelope.rated_power_w = 7
        eve.UpdateFlexibility(
            participant_pb2.UpdateFlexibilityRequest(flexibility=flexibility, request_id=site.request_id())
        )

    def remove(id_):
        name = f"{NAME}/members/eve/devices/{id_}"
        eve.DeleteDevice(participant_pb2.DeleteDeviceRequest(name=name, request_id=site.request_id()))

    def ask(**page):
        answer = eve.ListDevices(participant_pb2.ListDevicesRequest(parent=f"{NAME}/members/eve", **page))
        return [one.flexibility.device.rpartition("/")[2] for one in answer.devices], answer.next_page_token

    return add, remove, ask


def denials(site):
    def add(id_):
        subject = f"spiffe://village/driver/{id_}"
        site.operator.DenyIdentity(
            operator_pb2.DenyIdentityRequest(parent=NAME, subject=subject, request_id=site.request_id())
        )

    def remove(id_):
        subject = f"spiffe://village/driver/{id_}"
        site.operator.AllowIdentity(
            operator_pb2.AllowIdentityRequest(parent=NAME, subject=subject, request_id=site.request_id())
        )

    def ask(**page):
        answer = site.operator.ListDenials(operator_pb2.ListDenialsRequest(parent=NAME, **page))
        return [denial.subject.rpartition("/")[2] for denial in answer.denials], answer.next_page_token

    return add, remove, ask


def envelopes(site):
    """What the DSO cancels is listed still: of these none goes."""

    def add(id_):
        site.dso.CreateEnvelope(site.envelope_request(site.envelope(id_)))

    def ask(**page):
        answer = site.dso.ListEnvelopes(dso_pb2.ListEnvelopesRequest(parent=NAME, **page))
        return [one.envelope.name.rpartition("/")[2] for one in answer.envelopes], answer.next_page_token

    return add, None, ask


LISTS = (members, devices, denials, envelopes)


@pytest.mark.parametrize("listed", LISTS, ids=lambda listed: listed.__name__)
def test_what_comes_and_goes_meanwhile_shifts_nothing(site, listed):
    add, remove, ask = listed(site)
    for id_ in ("k1", "k2", "k3", "k4"):
        add(id_)
    every, _ = ask()
    first, token = ask(page_size=every.index("k2") + 1)
    assert first[-1] == "k2"
    add("a-new-one")
    if remove is not None:
        remove("k1")
    rest, end = ask(page_token=token)
    assert first + rest == every
    assert end == ""


def test_a_token_is_good_for_its_question_and_caller_alone(site):
    for listed in (members, denials):
        for id_ in ("k1", "k2"):
            listed(site)[0](id_)
    _, _, ask_members = members(site)
    _, _, ask_denials = denials(site)
    token = ask_members(page_size=1)[1]
    assert token != ask_denials(page_size=1)[1]
    request = operator_pb2.ListDenialsRequest(parent=NAME, page_token=token)
    refused = site.refused(site.operator.ListDenials, request)
    assert (refused.code, refused.fields) == (StatusCode.INVALID_ARGUMENT, ("page_token",))
    ours = operator_pb2.ListMembersRequest(parent=NAME, page_token=token)
    other = site.stub(type(site.operator), "operator/other")
    assert site.refused(other.ListMembers, ours).fields == ("page_token",)
    # A token of earlier versions was a number.
    for old in ("2", "after-1770000000"):
        request = operator_pb2.ListMembersRequest(parent=NAME, page_token=old)
        assert "earlier answer to the same question" in site.refused(site.operator.ListMembers, request).message
