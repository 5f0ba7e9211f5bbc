import json

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import StatusCode

from controller.wire import fields
from gridpact.v1 import participant_pb2 as pb

NAME = "microgrids/village"
BATTERY = f"{NAME}/members/eve/devices/battery"
PV = f"{NAME}/members/ada/devices/pv"


def battery(**values):
    return pb.Flexibility(device=BATTERY, fill_rate=pb.FillRateBasedControl(**values))


def update(site, flexibility, *paths, etag="", **changes):
    values = {
        "flexibility": flexibility,
        "update_mask": FieldMask(paths=paths),
        "etag": etag,
        "request_id": site.request_id(),
    }
    return pb.UpdateFlexibilityRequest(**values | changes)


def get(site, name=BATTERY, member="eve"):
    return site.participant(member).GetDevice(pb.GetDeviceRequest(name=name)).device


class TestMask:
    def test_only_what_it_names_changes(self, site):
        before = get(site).flexibility
        change = battery(reserve_wh=300, capacity_wh=1)
        answer = site.participant("eve").UpdateFlexibility(update(site, change, "fill_rate.reserve_wh"))
        before.fill_rate.reserve_wh = 300
        assert answer.flexibility == before
        assert get(site).flexibility == before

    def test_what_it_names_and_the_change_does_not_set_gets_its_default(self, site):
        change = battery(capacity_wh=5000)
        site.participant("eve").UpdateFlexibility(update(site, change, "fill_rate.final_wh", "fill_rate.capacity_wh"))
        after = get(site).flexibility.fill_rate
        assert (after.final_wh, after.capacity_wh, after.stored_wh) == (0, 5000, 1000)

    def test_a_whole_control_may_be_named_to_change_the_kind(self, site):
        change = pb.Flexibility(device=BATTERY, power_envelope=pb.PowerEnvelopeBasedControl(rated_power_w=7))
        site.participant("eve").UpdateFlexibility(update(site, change, "power_envelope"))
        assert get(site).flexibility == change

    def test_a_message_and_its_parts_may_be_named(self, site):
        name = f"{NAME}/members/bob/devices/boiler"
        change = pb.Flexibility(device=name)
        change.operation_mode.allowed.end_time.seconds = site.end - 900
        change.operation_mode.max_starts_per_day = 2
        paths = "operation_mode.allowed.end_time", "operation_mode.max_starts_per_day"
        site.participant("bob").UpdateFlexibility(update(site, change, *paths))
        after = get(site, name, "bob").flexibility.operation_mode
        assert after.allowed == fields.interval_message(site.start, site.end - 900)
        assert after.max_starts_per_day == 2
        assert after.rated_power_w == 1501

    def test_an_optional_field_that_is_not_set_is_absent_and_zero_is_zero(self, site):
        name = f"{NAME}/members/bob/devices/boiler"
        change = pb.Flexibility(device=name)
        path = "operation_mode.max_starts_per_day"
        for starts, kept in ((0, True), (None, False)):
            change.operation_mode.CopyFrom(pb.OperationModeBasedControl(max_starts_per_day=starts))
            site.participant("bob").UpdateFlexibility(update(site, change, path))
            assert get(site, name, "bob").flexibility.operation_mode.HasField("max_starts_per_day") == kept

    def test_a_star_replaces_all(self, site):
        change = pb.Flexibility(device=BATTERY, power_envelope=pb.PowerEnvelopeBasedControl(rated_power_w=7))
        site.participant("eve").UpdateFlexibility(update(site, change, "*"))
        assert get(site).flexibility == change

    def test_without_one_all_is_replaced(self, site):
        change = pb.Flexibility(device=BATTERY, power_envelope=pb.PowerEnvelopeBasedControl(rated_power_w=7))
        site.participant("eve").UpdateFlexibility(update(site, change, update_mask=None))
        assert get(site).flexibility == change

    @pytest.mark.parametrize(
        ("paths", "field"),
        [
            ((), "update_mask.paths"),
            (("",), "update_mask.paths[0]"),
            (("fill_rate.nothing",), "update_mask.paths[0]"),
            (("fill_rate.reserve_wh.deeper",), "update_mask.paths[0]"),
            (("device",), "update_mask.paths[0]"),
            (("control",), "update_mask.paths[0]"),
            (("fill_rate.reserve_wh", "thermostat.lower_milli_c"), "update_mask.paths[1]"),
            (("electric_vehicle.levels.lower_w",), "update_mask.paths[0]"),
            (("*", "fill_rate"), "update_mask.paths[0]"),
            (("fill_rate.reserve_wh",) * 65, "update_mask.paths"),
        ],
    )
    def test_a_path_that_leads_nowhere_is_named(self, site, paths, field):
        request = update(site, battery(), *paths)
        answer = site.refused(site.participant("eve").UpdateFlexibility, request)
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, (field,))

    def test_a_path_into_what_the_change_lacks_is_refused_and_into_what_is_empty_is_not(self, site):
        bare = pb.Flexibility(device=BATTERY)
        answer = site.refused(site.participant("eve").UpdateFlexibility, update(site, bare, "fill_rate.reserve_wh"))
        assert answer.fields == ("update_mask.paths[0]",)
        assert site.participant("eve").UpdateFlexibility(update(site, battery(), "fill_rate.reserve_wh"))
        answer = site.refused(site.participant("eve").UpdateFlexibility, update(site, bare, "fill_rate"))
        assert answer.fields == ("flexibility.control",)

    def test_what_comes_out_is_checked_as_a_whole(self, site):
        request = update(site, battery(capacity_wh=900), "fill_rate.capacity_wh")
        answer = site.refused(site.participant("eve").UpdateFlexibility, request)
        assert (answer.code, answer.fields) == (StatusCode.OUT_OF_RANGE, ("flexibility.fill_rate.stored_wh",))

    def test_it_changes_only_what_is_registered(self, site):
        change = battery()
        change.device = change.device.replace("battery", "other")
        answer = site.refused(site.participant("eve").UpdateFlexibility, update(site, change, "fill_rate"))
        assert answer.code is StatusCode.NOT_FOUND


class TestEtag:
    def test_it_changes_with_the_device_and_only_then(self, site):
        first = get(site).etag
        assert get(site).etag == first
        change = update(site, battery(reserve_wh=1), "fill_rate.reserve_wh", etag=first)
        second = site.participant("eve").UpdateFlexibility(change).etag
        assert second != first
        assert get(site).etag == second

    def test_an_old_one_is_aborted(self, site):
        first = get(site).etag
        site.participant("eve").UpdateFlexibility(update(site, battery(reserve_wh=1), "fill_rate.reserve_wh"))
        late = update(site, battery(reserve_wh=2), "fill_rate.reserve_wh", etag=first)
        answer = site.refused(site.participant("eve").UpdateFlexibility, late)
        assert (answer.code, answer.reason) == (StatusCode.ABORTED, "ETAG_MISMATCH")
        delete = pb.DeleteDeviceRequest(name=BATTERY, etag=first, request_id=site.request_id())
        assert site.refused(site.participant("eve").DeleteDevice, delete).code is StatusCode.ABORTED


class TestListDevices:
    def test_it_lists_ones_own(self, site):
        answer = site.participant("ada").ListDevices(pb.ListDevicesRequest(parent=f"{NAME}/members/ada"))
        assert [device.name for device in answer.devices] == [PV]
        assert answer.devices[0] == get(site, PV, "ada")

    def test_anothers_are_not_found(self, site):
        for member in ("ada", "zoe"):
            request = pb.ListDevicesRequest(parent=f"{NAME}/members/{member}")
            assert site.refused(site.participant("bob").ListDevices, request).code is StatusCode.NOT_FOUND
            request = pb.GetDeviceRequest(name=f"{NAME}/members/{member}/devices/pv")
            assert site.refused(site.participant("bob").GetDevice, request).code is StatusCode.NOT_FOUND


class TestDeleteDevice:
    def delete(self, site, name=BATTERY, member="eve", request_id=""):
        request = pb.DeleteDeviceRequest(name=name, request_id=request_id or site.request_id())
        return site.participant(member).DeleteDevice(request)

    def told(self, site, device="eve/battery"):
        """What the device's driver is told now."""
        return site.service._hub.planned("village", device)

    def test_it_is_planned_no_more_and_told_nothing_more(self, settled):
        assert self.told(settled) is not None
        self.delete(settled)
        assert self.told(settled) is None
        answer = settled.refused(settled.participant("eve").GetDevice, pb.GetDeviceRequest(name=BATTERY))
        assert answer.code is StatusCode.NOT_FOUND
        settled.restart()
        assert self.told(settled) is None
        settled.live(until=settled.start + 3600)
        assert settled.states()[2] == "DELIVERING"
        assert self.told(settled) is None
        assert "eve/battery" not in {row["device"] for row in settled.of_window("setpoints", 2)}

    def test_a_window_that_was_frozen_before_tells_it_nothing(self, settled, monkeypatch):
        solve = settled.solver.solve

        async def deleted_meanwhile(community):
            settled.service._hub.forget("village", "eve/battery")
            return await solve(community)

        monkeypatch.setattr(settled.solver, "solve", deleted_meanwhile)
        settled.live(until=settled.start + 3600)
        assert settled.states()[2] == "DELIVERING"
        assert self.told(settled) is None
        assert self.told(settled, "ada/pv") is not None

    def test_an_order_that_still_speaks_of_it_stops_nobody(self, settled):
        self.delete(settled, PV, "ada")
        settled.live(until=settled.start + 3600)
        assert settled.states()[2] == "DELIVERING"
        assert json.loads(settled.row(2).snapshot)["orders"]["ada"]["production"] == {}

    def test_registered_again_it_is_planned_again(self, settled):
        flexibility = get(settled).flexibility
        self.delete(settled, request_id="once")
        change = pb.UpdateFlexibilityRequest(flexibility=flexibility, request_id=settled.request_id())
        settled.participant("eve").UpdateFlexibility(change)
        self.delete(settled, request_id="once")  # repeated, it forgets nothing
        settled.live(until=settled.start + 3600)
        assert self.told(settled) is not None

    def test_anothers_and_none_are_not_found(self, site):
        for name in (PV, f"{NAME}/members/eve/devices/none"):
            request = pb.DeleteDeviceRequest(name=name, request_id=site.request_id())
            assert site.refused(site.participant("eve").DeleteDevice, request).code is StatusCode.NOT_FOUND


class TestOwn:
    def test_a_member_sees_itself(self, site):
        answer = site.participant("eve").GetMember(pb.GetMemberRequest(name=f"{NAME}/members/eve"))
        assert (answer.member.name, answer.member.section) == (f"{NAME}/members/eve", "west")
        for foreign in ("ada", "zoe"):
            request = pb.GetMemberRequest(name=f"{NAME}/members/{foreign}")
            assert site.refused(site.participant("eve").GetMember, request).code is StatusCode.NOT_FOUND

    def test_what_devices_are_to_do_is_decided_now_and_foreseen_later(self, settled):
        request = pb.GetScheduleRequest(parent=f"{NAME}/members/eve")
        answer = settled.participant("eve").GetSchedule(request)
        assert [device.device for device in answer.devices] == [BATTERY]
        points = answer.devices[0].points
        starts = [point.setpoint.interval.start_time.seconds for point in points]
        assert starts == [settled.start + 900 * k for k in range(2, 8)]
        assert [point.decided for point in points] == [True] * 2 + [False] * 4
        told = {row["mtu_start"]: row["value"] for row in settled.rows("setpoints") if row["device"] == "eve/battery"}
        assert [point.setpoint.power_w for point in points[:2]] == [told[start] for start in starts[:2]]
        assert [point.power_w for point in points] == [point.setpoint.power_w for point in points]
        net = {row["mtu_start"]: row["net_wh"] for row in settled.of_window("positions", 1) if row["member"] == "eve"}
        assert {point.interval.start_time.seconds: point.net_wh for point in answer.positions} == net

    @pytest.mark.parametrize("who", ["aggregator/other", "dso/wires", "participant/ada"])
    def test_others_see_it_with_consent(self, settled, who):
        from gridpact.v1 import participant_pb2_grpc

        ask = settled.stub(participant_pb2_grpc.ParticipantServiceStub, who).GetSchedule
        request = pb.GetScheduleRequest(parent=f"{NAME}/members/eve")
        assert settled.refused(ask, request).code is StatusCode.NOT_FOUND
        consent = pb.Consent(
            grantee=who, scope=pb.CONSENT_SCOPE_DISPATCH, expire_time=fields.timestamp(settled.start + 1801)
        )
        settled.participant("eve").GrantConsent(
            pb.GrantConsentRequest(parent=f"{NAME}/members/eve", consent=consent, request_id=settled.request_id())
        )
        assert ask(request).devices
        settled.clock.set(settled.start + 1801)
        assert settled.refused(ask, request).code is StatusCode.NOT_FOUND

    def test_the_bill_so_far_is_ones_own_lines_and_their_sum(self, settled):
        ask = settled.participant("eve").ListOwnPostings
        parent = f"{NAME}/members/eve"
        wanted = [row for row in settled.rows("postings") if row["account"] == "eve"]
        assert len(wanted) > 2
        found, token = [], ""
        while True:
            answer = ask(pb.ListOwnPostingsRequest(parent=parent, page_size=2, page_token=token))
            found += answer.postings
            assert answer.total_micro == sum(row["amount_micro"] for row in wanted)
            token = answer.next_page_token
            if not token:
                break
        assert [(one.name, one.amount_micro) for one in found] == [
            (f"{row['window']}/postings/{row['ix']}", row["amount_micro"]) for row in wanted
        ]
        later = fields.interval_message(settled.start + 1, settled.end)
        assert ask(pb.ListOwnPostingsRequest(parent=parent, interval=later)) == pb.ListOwnPostingsResponse()

    def test_anothers_bill_is_not_found(self, settled):
        request = pb.ListOwnPostingsRequest(parent=f"{NAME}/members/ada")
        assert settled.refused(settled.participant("eve").ListOwnPostings, request).code is StatusCode.NOT_FOUND

    @pytest.mark.parametrize("token", ["1", "after-1", "after-1-2-3", "after-x-1"])
    def test_a_token_that_is_none_is_named(self, settled, token):
        request = pb.ListOwnPostingsRequest(parent=f"{NAME}/members/eve", page_token=token)
        assert settled.refused(settled.participant("eve").ListOwnPostings, request).fields == ("page_token",)
