import asyncio

import pytest

from controller.errors import StoreError
from controller.hub import AHEAD_S, DriverHub
from controller.microgrid import DeviceSetpoint, DeviceState, SetpointKind, Window
from optimization.errors import SolverError

MTU_S = 900


@pytest.fixture
def hub(site):
    """A hub of its own over the village's database."""
    return DriverHub(database=site.database, epoch=5, lease_s=90)


def setpoints(device, *values, start=0):
    return tuple(
        DeviceSetpoint(device=device, mtu_start=start + MTU_S * k, kind=SetpointKind.POWER, value=value)
        for k, value in enumerate(values)
    )


def window(start=0, end=1800):
    return Window(name=f"microgrids/village/windows/{start}", start=start, end=end)


def command(hub, now, device="eve/battery"):
    return hub.command("village", device, now=now, mtu_seconds=MTU_S)


def test_without_setpoints_there_is_nothing_to_say(hub):
    assert command(hub, 0) is None


def test_a_command_carries_lease_and_fencing(hub):
    hub.offer("village", window(), setpoints("eve/battery", 1, 2))
    found = command(hub, 0)
    assert (found.epoch, found.sequence, found.ttl_s, found.window) == (5, 1, 90, window().name)
    assert [s.value for s in found.setpoints] == [1, 2]


def test_the_sequence_of_each_device_rises_by_itself(hub):
    hub.offer("village", window(), setpoints("eve/battery", 1, 2) + setpoints("ada/battery", 3, 4))
    found = [command(hub, 0), command(hub, 1), command(hub, 2, "ada/battery"), command(hub, 3)]
    assert [one.sequence for one in found] == [1, 2, 1, 3]
    assert len({one.id for one in found}) == 4


def test_before_the_first_setpoint_nothing_is_meant(hub):
    hub.offer("village", window(), setpoints("eve/battery", 1, start=900))
    assert command(hub, 899.9) is None
    assert command(hub, 900).sequence == 1


def test_after_the_last_setpoint_nothing_is_meant(hub):
    hub.offer("village", window(), setpoints("eve/battery", 1))
    assert command(hub, 899.9) is not None
    assert command(hub, 900) is None


def test_in_a_gap_nothing_is_meant(hub):
    hub.offer("village", window(), setpoints("eve/battery", 1) + setpoints("eve/battery", 2, start=1800))
    assert [s.value for s in command(hub, 0).setpoints] == [1, 2]
    assert command(hub, 1000) is None
    assert [s.value for s in command(hub, 1800).setpoints] == [2]


def test_what_is_far_ahead_is_said_later(hub):
    hub.offer("village", window(), setpoints("eve/battery", *range(20)))
    assert [s.mtu_start for s in command(hub, 0).setpoints] == list(range(0, AHEAD_S, MTU_S))
    assert command(hub, 1).setpoints[-1].mtu_start == AHEAD_S


def test_a_later_decision_replaces_an_earlier_one(hub):
    hub.offer("village", window(), setpoints("eve/battery", 1, 2))
    hub.offer("village", window(900), setpoints("eve/battery", 7, start=900))
    assert [s.value for s in command(hub, 0).setpoints] == [1, 7]
    assert command(hub, 900).window == window(900).name


def test_devices_of_one_name_in_two_communities_are_two(hub):
    hub.offer("hamlet", window(), setpoints("eve/battery", 1))
    assert command(hub, 0) is None


def test_reports_go_to_the_window_of_their_command(hub, site):
    hub.offer("village", window(), setpoints("eve/battery", 1))
    hub.offer("village", window(900), setpoints("eve/battery", 2, start=900))
    values = {"state": "APPLIED", "reason": "", "instant": 1}
    for now in (0, 900):
        hub.report("village", "eve/battery", {"command_id": command(hub, now).id, **values})
    asyncio.run(hub.flush())
    assert [row["window"] for row in site.rows("reports")] == [window().name, window(900).name]


def test_of_an_older_command_nothing_is_kept(hub, site):
    hub.offer("village", window(), setpoints("eve/battery", 1))
    older = command(hub, 0)
    command(hub, 1)
    hub.report("village", "eve/battery", {"command_id": older.id, "state": "APPLIED", "reason": "", "instant": 1})
    asyncio.run(hub.flush())
    assert site.rows("reports") == []


def test_flushing_nothing_writes_nothing(hub, site):
    site.database.commits_left = 1
    asyncio.run(hub.flush())
    site.database.commits_left = None


def test_what_could_not_be_flushed_is_kept_for_the_next_time(hub, site, monkeypatch):
    hub.offer("village", window(), setpoints("eve/battery", 1))
    hub.observe("village", DeviceState(device="eve/battery", instant=1, power_w=2, closed_s=3, stored_wh=4))
    values = {"state": "APPLIED", "reason": "", "instant": 1}
    hub.report("village", "eve/battery", {"command_id": command(hub, 0).id, **values})

    def full(*_):
        raise StoreError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(site.database, "run", full)
        with pytest.raises(StoreError):
            asyncio.run(hub.flush())
    hub.observe("village", DeviceState(device="eve/battery", instant=9, power_w=8, closed_s=7, stored_wh=6))
    asyncio.run(hub.flush())
    assert [row["instant"] for row in site.rows("device_states")] == [9]
    assert [row["state"] for row in site.rows("reports")] == ["APPLIED"]


def test_what_was_flushed_is_not_flushed_again(hub, site):
    state = DeviceState(device="eve/battery", instant=1, power_w=2, closed_s=3, stored_wh=4)
    hub.observe("village", state)
    asyncio.run(hub.flush())
    assert len(site.rows("device_states")) == 1
    site.database.commits_left = 1  # a second write would stop the machine
    asyncio.run(hub.flush())
    site.database.commits_left = None


class TestRestore:
    def told(self, site, now):
        hub = DriverHub(database=site.database, epoch=9, lease_s=90)
        hub.restore()
        found = command(hub, now)
        return None if found is None else [(s.mtu_start, s.value) for s in found.setpoints]

    def kept(self, site, *numbers):
        names = {site.window(number) for number in numbers}
        rows = [r for r in site.rows("setpoints") if r["device"] == "eve/battery" and r["window"] in names]
        return [(r["mtu_start"], r["value"]) for r in rows]

    def test_running_and_coming_windows_act_on(self, site):
        site.live(until=site.start + 1500)
        assert self.told(site, site.start + 900) == self.kept(site, 0, 1)[1:]

    def test_the_tail_of_a_failed_window_acts_on(self, site):
        site.live(until=site.start)
        site.solver.script.append(SolverError("no"))
        site.live(until=site.start + 1800)
        assert site.row(1).source == "TAIL"
        assert self.told(site, site.start + 1800) == self.kept(site, 1)

    def test_failsafes_are_not_told(self, site):
        site.solver.script.append(SolverError("no"))
        site.live(until=site.start)
        assert self.told(site, site.start) is None


def test_telemetry_that_arrives_late_does_not_take_the_place_of_newer(hub, site):
    for instant in (9, 1):
        hub.observe("village", DeviceState(device="eve/battery", instant=instant, power_w=2, closed_s=3, stored_wh=4))
        asyncio.run(hub.flush())
    assert [row["instant"] for row in site.rows("device_states")] == [9]
