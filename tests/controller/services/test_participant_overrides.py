import json

import pytest
from grpc import StatusCode

from controller import problem
from controller.microgrid import SetpointKind
from controller.snapshot import Snapshot
from controller.wire import fields
from gridpact.v1 import participant_pb2 as pb

NAME = "microgrids/village"
BOILER = f"{NAME}/members/bob/devices/boiler"
BATTERY = f"{NAME}/members/eve/devices/battery"
RUN_NOW, NOT_TODAY, PAUSE = pb.OVERRIDE_MODE_RUN_NOW, pb.OVERRIDE_MODE_NOT_TODAY, pb.OVERRIDE_MODE_PAUSE


def request(site, device=BATTERY, mode=PAUSE, until_s=1800, **changes):
    until = None if until_s is None else fields.timestamp(int(site.clock.now()) + until_s)
    values = {"device": device, "mode": mode, "expire_time": until, "request_id": site.request_id()}
    return pb.SetOverrideRequest(**values | changes)


def set_override(site, device=BATTERY, *args, **changes):
    member = device.split("/")[3]
    return site.participant(member).SetOverride(request(site, device, *args, **changes)).override


def clear(site, name):
    member = name.split("/")[3]
    asked = pb.ClearOverrideRequest(name=name, request_id=site.request_id())
    return site.participant(member).ClearOverride(asked).override


def told(site, device):
    """What the device's driver is told to do now: kind and value."""
    planned = site.service._hub.planned("village", device)
    return None if planned is None else (planned.kind, planned.value)


class TestSetOverride:
    def test_it_acts_at_once_and_ends_by_itself(self, settled):
        before = told(settled, "eve/battery")
        assert before != (SetpointKind.POWER, 0)
        kept = set_override(settled)
        assert kept.name == f"{BATTERY}/overrides/o1"
        assert kept.state == pb.OVERRIDE_STATE_ACTIVE
        assert told(settled, "eve/battery") == (SetpointKind.POWER, 0)
        settled.live(until=settled.start + 3600)
        assert told(settled, "eve/battery") != (SetpointKind.POWER, 0)
        listed = settled.participant("eve").ListOverrides(pb.ListOverridesRequest(parent=BATTERY)).overrides
        assert [one.state for one in listed] == [pb.OVERRIDE_STATE_ENDED]

    def test_cleared_it_acts_no_more_and_is_kept(self, settled):
        before = told(settled, "eve/battery")
        kept = set_override(settled)
        cleared = clear(settled, kept.name)
        assert (cleared.state, cleared.clear_time.seconds) == (pb.OVERRIDE_STATE_CLEARED, settled.clock.now())
        assert told(settled, "eve/battery") == before
        assert len(settled.rows("overrides")) == 1
        again = pb.ClearOverrideRequest(name=kept.name, request_id=settled.request_id())
        answer = settled.refused(settled.participant("eve").ClearOverride, again)
        assert (answer.code, answer.reason) == (StatusCode.FAILED_PRECONDITION, "NOT_ACTIVE")

    def test_it_outlives_a_restart(self, settled):
        set_override(settled)
        settled.restart()
        assert told(settled, "eve/battery") == (SetpointKind.POWER, 0)

    def test_a_later_one_takes_its_place(self, settled):
        first = set_override(settled, until_s=600)
        second = set_override(settled, mode=NOT_TODAY, until_s=None)
        listed = settled.participant("eve").ListOverrides(pb.ListOverridesRequest(parent=BATTERY)).overrides
        assert [(one.name, one.state) for one in listed] == [
            (first.name, pb.OVERRIDE_STATE_SUPERSEDED),
            (second.name, pb.OVERRIDE_STATE_ACTIVE),
        ]
        midnight = settled.start + 17 * 3600  # 23:00 UTC is midnight in Berlin's winter
        assert second.interval.end_time.seconds == midnight

    def test_what_is_only_asked_changes_nothing(self, settled):
        before, now = settled.rows(), told(settled, "eve/battery")
        shown = set_override(settled, validate_only=True)
        assert shown.name == ""
        assert settled.rows() == before
        assert told(settled, "eve/battery") == now
        kept = set_override(settled)
        assert (kept.cost, kept.interval) == (shown.cost, shown.interval)

    def test_its_cost_is_that_of_the_plan_that_it_leaves(self, settled):
        runs = json.loads(settled.row(1).plan)["power_w"]["bob/boiler"]
        kept = set_override(settled, BOILER, RUN_NOW, None)
        length_s = kept.interval.end_time.seconds - kept.interval.start_time.seconds
        assert kept.cost.energy_wh == round((1501 * length_s - sum(runs) * 900) / 3600)
        shown = set_override(settled, BOILER, PAUSE, 900, validate_only=True)
        # A decided quarter of an hour in which nothing runs, and in which what the plan has is sold back.
        assert shown.cost.energy_wh == round(-runs[0] * 900 / 3600)
        assert shown.cost.cost_micro == round(-runs[0] * 0.25 * 39)

    def test_the_next_clearing_takes_it_as_decided(self, settled):
        set_override(settled, until_s=3600)
        set_override(settled, BOILER, PAUSE, 3600)
        settled.advance(settled.start + 3300)
        snapshot = Snapshot.from_json(settled.row(2).snapshot)
        assert settled.row(2).inputs_digest == snapshot.digest()
        assert set(snapshot.overrides) == {"bob/boiler", "eve/battery"}

    def test_a_frozen_override_is_a_given_power(self, settled):
        until_s = 5400
        set_override(settled, until_s=until_s)
        set_override(settled, BOILER, PAUSE, until_s)
        settled.live(until=settled.start + 3600)
        snapshot = Snapshot.from_json(settled.row(2).snapshot)
        assert set(snapshot.overrides) == {"bob/boiler", "eve/battery"}
        models = {model.id: model for _, model in problem.build(snapshot).devices()}
        assert models["eve/battery"].power_kw.tolist() == [0.0] * 4
        assert models["bob/boiler"].first_mtu >= 4
        kept = {row["device"]: row["value"] for row in settled.of_window("setpoints", 2)}
        assert (kept["eve/battery"], kept["bob/boiler"]) == (0, 0)
        assert settled.states()[2] == "DELIVERING"

    def test_a_running_task_is_a_given_power_too(self, settled):
        kept = set_override(settled, BOILER, RUN_NOW, None)
        assert told(settled, "bob/boiler") == (SetpointKind.RELAY, 1)
        settled.live(until=settled.start + 3600)
        snapshot = Snapshot.from_json(settled.row(2).snapshot)
        left = kept.interval.end_time.seconds - settled.start - 3600
        assert left > 0
        models = {model.id: model for _, model in problem.build(snapshot).devices()}
        assert models["bob/boiler"].power_kw.sum() * 900 == pytest.approx(1.501 * left)
        assert settled.states()[2] == "DELIVERING"

    def test_a_repeated_call_sets_it_once(self, settled):
        once = request(settled)
        eve = settled.participant("eve")
        kept = eve.SetOverride(once).override
        clear(settled, kept.name)
        assert eve.SetOverride(once).override == kept
        assert told(settled, "eve/battery") != (SetpointKind.POWER, 0)
        assert len(settled.rows("overrides")) == 1

    def test_a_device_of_another_kind_has_it_no_more(self, settled):
        set_override(settled)
        plant = pb.Flexibility(device=BATTERY, power_envelope=pb.PowerEnvelopeBasedControl(rated_power_w=7))
        settled.participant("eve").UpdateFlexibility(
            pb.UpdateFlexibilityRequest(flexibility=plant, request_id=settled.request_id())
        )
        listed = settled.participant("eve").ListOverrides(pb.ListOverridesRequest(parent=BATTERY)).overrides
        assert [one.state for one in listed] == [pb.OVERRIDE_STATE_CLEARED]

    @pytest.mark.parametrize(
        ("changes", "code", "field"),
        [
            ({"device": "battery"}, StatusCode.INVALID_ARGUMENT, "device"),
            ({"mode": 0}, StatusCode.INVALID_ARGUMENT, "mode"),
            ({"mode": 9}, StatusCode.INVALID_ARGUMENT, "mode"),
            ({"expire_time": None}, StatusCode.INVALID_ARGUMENT, "expire_time"),
            ({"mode": NOT_TODAY}, StatusCode.INVALID_ARGUMENT, "expire_time"),
            ({"until_s": 0}, StatusCode.OUT_OF_RANGE, "expire_time"),
            ({"until_s": -60}, StatusCode.OUT_OF_RANGE, "expire_time"),
            ({"until_s": 7 * 86_400 + 1}, StatusCode.OUT_OF_RANGE, "expire_time"),
        ],
    )
    def test_a_wrong_field_is_named(self, settled, changes, code, field):
        answer = settled.refused(settled.participant("eve").SetOverride, request(settled, **changes))
        assert (answer.code, answer.fields) == (code, (field,))

    def test_what_the_device_forbids_is_refused_with_the_reason(self, settled):
        bad = request(settled, mode=RUN_NOW, until_s=None)
        answer = settled.refused(settled.participant("eve").SetOverride, bad)
        assert (answer.code, answer.reason) == (StatusCode.FAILED_PRECONDITION, "OVERRIDE_FORBIDDEN")
        assert "nothing to run" in answer.message

    @pytest.mark.parametrize("device", [BOILER, BATTERY.replace("battery", "none"), BATTERY.replace("eve", "zoe")])
    def test_anothers_and_none_are_not_found(self, settled, device):
        eve = settled.participant("eve")
        assert settled.refused(eve.SetOverride, request(settled, device)).code is StatusCode.NOT_FOUND
        listing = pb.ListOverridesRequest(parent=device)
        assert settled.refused(eve.ListOverrides, listing).code is StatusCode.NOT_FOUND
        clearing = pb.ClearOverrideRequest(name=f"{device}/overrides/o1", request_id=settled.request_id())
        assert settled.refused(eve.ClearOverride, clearing).code is StatusCode.NOT_FOUND
