"""What is kept for good is limited within any 24 hours; what is refused or repeated does not count."""

import pytest
from grpc import StatusCode

from controller.quotas import Daily, Quotas
from gridpact.v1 import participant_pb2 as pb

DAY_S = 86_400
BATTERY = "microgrids/village/members/eve/devices/battery"


@pytest.fixture
def site(make_site):
    """Each member has ordered once, an hour before the first window."""
    return make_site("village", quotas=Quotas(daily=Daily(orders=3, overrides=2)))


def assert_exhausted(refused, retry_s, quota):
    assert (refused.code, refused.quotas) == (StatusCode.RESOURCE_EXHAUSTED, (quota,))
    assert refused.retry_s == retry_s


def test_orders(site):
    ada = site.participant("ada")
    second = site.order_request("ada")
    first = ada.SubmitOrder(second)
    assert ada.SubmitOrder(second) == first
    for _ in range(3):
        assert (
            site.refused(ada.SubmitOrder, site.order_request("ada", load_w=(-1,) * 8)).code is StatusCode.OUT_OF_RANGE
        )
    site.clock.set(site.clock.now() + 10)
    ada.SubmitOrder(site.order_request("ada"))
    refused = site.refused(ada.SubmitOrder, site.order_request("ada"))
    assert_exhausted(refused, DAY_S + 1 - 10, "spiffe://village/participant/ada/SubmitOrder/day")
    # Others have their own share, and what was answered is answered again.
    site.participant("bob").SubmitOrder(site.order_request("bob"))
    assert ada.SubmitOrder(second) == first
    site.restart()
    assert_exhausted(site.refused(site.participant("ada").SubmitOrder, site.order_request("ada")), *refused_as(refused))


def refused_as(refused):
    return refused.retry_s, refused.quotas[0]


def test_overrides_count_anew_after_as_long_as_was_said(site):
    eve = site.participant("eve")

    def request(**values):
        values = {"request_id": site.request_id()} | values
        return pb.SetOverrideRequest(device=BATTERY, mode=pb.OVERRIDE_MODE_NOT_TODAY, **values)

    eve.SetOverride(request())
    eve.SetOverride(request())
    refused = site.refused(eve.SetOverride, request())
    assert_exhausted(refused, DAY_S + 1, "spiffe://village/participant/eve/SetOverride/day")
    assert eve.SetOverride(request(validate_only=True, request_id="ask")).override
    site.clock.set(site.clock.now() + refused.retry_s - 2)
    assert site.refused(eve.SetOverride, request()).retry_s == 2
    site.clock.set(site.clock.now() + 2)
    eve.SetOverride(request())
