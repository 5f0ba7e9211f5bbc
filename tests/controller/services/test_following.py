"""Callers who go away at any moment of their call: what drivers are told and who is shut out is as the store has it."""

import asyncio
import types

import pytest

from controller.fleet import Declared
from controller.hub import DriverHub
from controller.limits.directory import Directory
from controller.override_keeper import OverrideKeeper
from controller.refusals import Code
from controller.services.operator import OperatorServicer
from controller.services.participant import ParticipantServicer
from controller.store import denied
from gridpact.v1 import operator_pb2, participant_pb2
from tests.controller.fuzzed_service import Context
from tests.controller.village_site import LEASE_S

NAME = "microgrids/village"
BATTERY = f"{NAME}/members/eve/devices/battery"
SUBJECT = "spiffe://village/driver/ada/pv"
OPERATOR = "spiffe://village/operator/op"


@types.coroutine
def left_at(coroutine, number, before):
    """A coroutine whose task is cancelled as it waits for the how manieth time."""
    go_on, argument, waits = coroutine.send, None, 0
    while True:
        try:
            waited = go_on(argument)
        except StopIteration as done:
            return done.value
        waits += 1
        if waits == number:
            before()
            asyncio.current_task().cancel()
        go_on, argument = coroutine.send, None
        try:
            yield waited
        except BaseException as err:  # whatever it is, it is the coroutine's
            go_on, argument = coroutine.throw, err


def call(site, servicer, method, request, uri):
    context = Context(uri, site.authority.client(uri).certificate)
    return getattr(servicer(site.service._core), method)(request, context)


def leave(site, coroutine, number):
    """Whether the caller went away before it was answered; what it waited for was on disk by then."""

    async def leaving():
        task = asyncio.create_task(run(coroutine, number))
        try:
            await task
        except asyncio.CancelledError:
            return True
        return False

    async def run(coroutine, number):
        return await left_at(coroutine, number, lambda: site.database.run(lambda _: None))

    left = site.loop.run(leaving())
    site.loop.run(site.service._core.limits.directory.refresh("village"))
    return left


def known(hub, keeper, denials, directory):
    """What memory has."""
    fleet = {id_: device for id_, device in hub._fleet.of("village").items() if device.registered is not None}
    return {
        "devices": {
            id_: (device.registered, device.override, hub.planned("village", id_)) for id_, device in fleet.items()
        },
        "overrides": {device: override for (_, device), (override, _) in keeper._kept.items()},
        "denied": set(denials),
        "directory": directory.get("village"),
    }


def assert_as_after_a_restart(site):
    service = site.service
    hub = DriverHub(database=site.database, epoch=1, lease_s=LEASE_S, clock=site.clock, monotonic=site.clock)
    hub.restore()
    keeper = OverrideKeeper(hub)
    keeper.restore(site.database, site.clock.now())
    directory = Directory(site.database)
    directory.load()
    expected = known(hub, keeper, site.database.run(denied.all_denied), directory)
    core = service._core
    assert known(service._hub, service._overrides, core.denials._denied, core.limits.directory) == expected


def set_override(site, _number):
    mode = participant_pb2.OVERRIDE_MODE_NOT_TODAY
    request = participant_pb2.SetOverrideRequest(device=BATTERY, mode=mode, request_id=site.request_id())
    return ParticipantServicer, "SetOverride", request, "spiffe://village/participant/eve"


def clear_override(site, _number):
    servicer, method, request, uri = set_override(site, 0)
    kept = site.loop.run(call(site, servicer, method, request, uri)).override
    request = participant_pb2.ClearOverrideRequest(name=kept.name, request_id=site.request_id())
    return servicer, "ClearOverride", request, uri


def another_kind(site, number):
    servicer, method, request, uri = set_override(site, 0)
    flexibility = participant_pb2.Flexibility(device=BATTERY)
    if number % 2:
        site.loop.run(call(site, servicer, method, request, uri))
        flexibility.power_envelope.rated_power_w = 1000 + number
    else:
        flexibility.fill_rate.capacity_wh = flexibility.fill_rate.max_charge_w = 1000
        flexibility.fill_rate.charge_efficiency_ppm = flexibility.fill_rate.discharge_efficiency_ppm = 1_000_000
    request = participant_pb2.UpdateFlexibilityRequest(flexibility=flexibility, request_id=site.request_id())
    return servicer, "UpdateFlexibility", request, uri


def delete_device(site, number):
    device = ("eve/devices/battery", "ada/devices/pv", "bob/devices/boiler")[number - 1]
    request = participant_pb2.DeleteDeviceRequest(name=f"{NAME}/members/{device}", request_id=site.request_id())
    return ParticipantServicer, "DeleteDevice", request, f"spiffe://village/participant/{device.split('/')[0]}"


def delete_member(site, number):
    member = ("eve", "ada", "bob")[number - 1]
    request = operator_pb2.DeleteMemberRequest(name=f"{NAME}/members/{member}", request_id=site.request_id())
    return OperatorServicer, "DeleteMember", request, OPERATOR


def deny(site, number):
    subject = f"{SUBJECT}-{number}"
    request = operator_pb2.DenyIdentityRequest(parent=NAME, subject=subject, request_id=site.request_id())
    return OperatorServicer, "DenyIdentity", request, OPERATOR


def allow(site, number):
    servicer, method, request, uri = deny(site, number)
    site.loop.run(call(site, servicer, method, request, uri))
    request = operator_pb2.AllowIdentityRequest(parent=NAME, subject=request.subject, request_id=site.request_id())
    return servicer, "AllowIdentity", request, uri


CALLS = (set_override, clear_override, another_kind, delete_device, delete_member, deny, allow)


@pytest.mark.parametrize("prepare", CALLS, ids=lambda prepare: prepare.__name__)
def test_what_a_caller_who_has_gone_asked_for_is_in_force(settled, prepare):
    number, left = 1, True
    while left:
        servicer, method, request, uri = prepare(settled, number)
        before = settled.rows("requests")
        left = leave(settled, call(settled, servicer, method, request, uri), number)
        assert len(settled.rows("requests")) == len(before) + 1
        assert_as_after_a_restart(settled)
        # Repeated, it is answered, and changes nothing any more.
        settled.loop.run(call(settled, servicer, method, request, uri))
        assert_as_after_a_restart(settled)
        number += 1
    assert number > 2


class TestWhoHasLeft:
    def test_its_devices_are_told_nothing_more_before_and_after_a_restart(self, settled):
        assert settled.told("eve/battery") is not None
        servicer, method, request, uri = delete_member(settled, 1)
        settled.loop.run(call(settled, servicer, method, request, uri))
        assert settled.told("eve/battery") is None
        settled.restart()
        assert settled.told("eve/battery") is None
        assert settled.told("bob/boiler") is not None

    @pytest.mark.parametrize(("pushes", "last"), [(True, [()]), (False, [])])
    def test_their_drivers_are_sent_to_the_failsafe_and_away(self, settled, pushes, last):
        """Who reads at any time hears it at once; the others' leases run out."""
        hub, word = settled.service._hub, []
        stream = settled.loop.call(lambda: hub.join("village", "eve/battery", declared=Declared(), pushes=pushes))
        settled.loop.call(lambda: hub.heartbeat(stream, 1))
        assert settled.loop.call(lambda: hub.answer(stream)).setpoints
        servicer, method, request, uri = delete_member(settled, 1)
        settled.loop.run(call(settled, servicer, method, request, uri))
        if stream.ending.last_word:
            word.append(settled.loop.call(lambda: hub.answer(stream)).setpoints)
        assert stream.ending.error.code is Code.NOT_FOUND
        assert word == last
