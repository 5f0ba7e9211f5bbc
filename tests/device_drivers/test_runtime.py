from datetime import timedelta

import pytest

from device_drivers.device import Reading
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.report import ReportState
from device_drivers.runtime import DeviceRuntime
from device_drivers.setpoint import Bounds, Power, ProductionLimit, RelayState, Setpoint
from device_drivers.simulated.battery import SimulatedBattery
from device_drivers.simulated.fault import Fault
from device_drivers.simulated.plant import SimulatedPlant

OPEN, CLOSED = RelayState(closed=False), RelayState(closed=True)
RELAY_BOUNDS = Bounds(lower_w=0, upper_w=2000)


ON_THE_WAY = (ReportState.RECEIVED, ReportState.ACCEPTED, ReportState.STARTED)


def states(report):
    """What a command went through after its device was told, and whether it was refused before."""
    return [state for state in (*report.passed, report.state) if state not in ON_THE_WAY]


def test_failsafe_is_applied_at_the_start(relay, clock):
    relay.apply(CLOSED)

    runtime = DeviceRuntime(relay, clock, RELAY_BOUNDS, OPEN)

    assert relay.read().relay_closed is False
    assert runtime.failsafe_active
    assert (runtime.bounds, runtime.failsafe) == (RELAY_BOUNDS, OPEN)


def test_failsafe_beyond_the_bounds_is_refused(relay, clock):
    with pytest.raises(InvalidValueError, match="failsafe: power: got 5 W"):
        DeviceRuntime(relay, clock, Bounds(lower_w=0, upper_w=4), Power(power_w=5))


def test_fresh_command_is_applied_and_verified(runtime, relay, clock, make_command):
    runtime.heartbeat()

    report = runtime.receive(make_command())

    assert states(report) == [ReportState.APPLIED, ReportState.VERIFIED]
    assert (report.command_id, report.reason, report.observed_at) == ("c1", "", clock.utc())
    assert report.passed == (*ON_THE_WAY, ReportState.APPLIED)
    assert relay.read().relay_closed is True
    assert not runtime.failsafe_active


def test_lease_ends_in_the_failsafe(runtime, relay, clock, make_command):
    runtime.heartbeat()
    clock.advance(10)
    runtime.receive(make_command(ttl_s=60))

    clock.advance(49.9)
    runtime.tick()
    assert relay.read().relay_closed is True

    clock.advance(0.1)
    runtime.tick()
    assert relay.read().relay_closed is False
    assert runtime.failsafe_active


def test_lease_that_ended_does_not_come_back(runtime, relay, clock, make_command):
    runtime.heartbeat()
    runtime.receive(make_command())
    clock.advance(60)
    runtime.tick()

    assert states(runtime.receive(make_command())) == [ReportState.REJECTED]
    runtime.tick()
    assert relay.read().relay_closed is False


def test_renewal_keeps_the_device_out_of_the_failsafe(runtime, relay, clock, make_command):
    hour = make_command().setpoints
    for sequence in range(1, 11):
        counter = runtime.heartbeat()
        runtime.receive(make_command(heartbeat_counter=counter, sequence=sequence, setpoints=hour))
        clock.advance(59)
        runtime.tick()
        assert not runtime.failsafe_active
    assert relay.closed_s() == 590


def test_end_of_the_schedule_reverts_although_the_lease_lasts(runtime, relay, clock, make_command):
    runtime.heartbeat()
    runtime.receive(make_command(ttl_s=7200))

    clock.advance(3599)
    runtime.tick()
    assert relay.read().relay_closed is True

    clock.advance(1)
    runtime.tick()
    assert relay.read().relay_closed is False
    assert runtime.failsafe_active


def test_setpoints_follow_each_other_with_the_failsafe_in_between(clock, make_command):
    battery = new_battery(clock)
    runtime = DeviceRuntime(battery, clock, Bounds(lower_w=-3000, upper_w=3000), Power(power_w=0))
    quarter = timedelta(minutes=15)
    noon = clock.utc()
    runtime.heartbeat()
    report = runtime.receive(
        make_command(
            ttl_s=10_000,
            setpoints=(
                Setpoint(start=noon + quarter, end=noon + 2 * quarter, target=Power(power_w=1000)),
                Setpoint(start=noon + 2 * quarter, end=noon + 3 * quarter, target=Power(power_w=-500)),
                Setpoint(start=noon + 4 * quarter, end=noon + 5 * quarter, target=Power(power_w=200)),
            ),
        )
    )
    assert states(report) == [ReportState.APPLIED]
    assert "no setpoint holds now" in report.reason

    seen = []
    for _ in range(6):
        runtime.tick()
        seen.append((battery.read().power_w, runtime.failsafe_active))
        clock.advance(900)

    assert seen == [(0, True), (1000, False), (-500, False), (0, True), (200, False), (0, True)]


def test_command_without_setpoints_calls_for_the_failsafe(runtime, relay, make_command):
    runtime.heartbeat()
    runtime.receive(make_command())

    assert states(runtime.receive(make_command(sequence=2, setpoints=()))) == [ReportState.APPLIED]
    assert relay.read().relay_closed is False


@pytest.mark.parametrize(
    "case",
    [
        ({"sequence": 1}, "old sequence"),
        ({"epoch": 0, "sequence": 9}, "old epoch"),
        ({"heartbeat_counter": 77, "sequence": 9}, "unknown heartbeat"),
        ({"ttl_s": 0.0, "sequence": 9}, "empty lease"),
        ({"ttl_s": 5.0, "sequence": 9}, "expired lease"),
        ({"target": Power(power_w=2001), "sequence": 9}, "power: got 2001 W"),
    ],
)
def test_refused_command_changes_nothing_of_the_running_lease(runtime, relay, clock, make_command, case):
    change, reason = case
    runtime.heartbeat()
    runtime.receive(make_command(ttl_s=60))
    clock.advance(10)

    report = runtime.receive(make_command(**{"target": OPEN, "command_id": "c2"} | change))

    assert (report.command_id, report.state) == ("c2", ReportState.REJECTED)
    assert reason in report.reason
    clock.advance(49)
    runtime.tick()
    assert relay.read().relay_closed is True
    clock.advance(1)
    runtime.tick()
    assert relay.read().relay_closed is False


def test_one_setpoint_out_of_bounds_refuses_the_whole_command(runtime, clock, make_command):
    hour = timedelta(hours=1)
    runtime.heartbeat()
    report = runtime.receive(
        make_command(
            setpoints=(
                Setpoint(start=clock.utc(), end=clock.utc() + hour, target=CLOSED),
                Setpoint(start=clock.utc() + hour, end=clock.utc() + 2 * hour, target=Power(power_w=-1)),
            )
        )
    )
    assert states(report) == [ReportState.REJECTED]
    assert runtime.failsafe_active


def test_refused_target_ends_in_the_failsafe(runtime, relay, make_command):
    runtime.heartbeat()
    runtime.receive(make_command())

    report = runtime.receive(make_command(Power(power_w=100), sequence=2))

    assert report.state is ReportState.FAILED
    assert "the device failed: simulated relay: got Power(power_w=100)" in report.reason
    assert relay.read().relay_closed is False
    assert runtime.failsafe_active


@pytest.mark.parametrize("fault", [Fault.MUTE, Fault.REFUSING])
def test_device_that_fails_ends_its_lease_and_gets_the_failsafe_once_it_listens(
    runtime, relay, clock, make_command, fault
):
    runtime.heartbeat()
    runtime.receive(make_command())
    relay.fail(fault)

    report = runtime.receive(make_command(sequence=2))
    assert report.state is ReportState.FAILED
    assert fault.name in report.reason
    assert runtime.failsafe_active
    assert runtime.fault is not None

    clock.advance(1)
    runtime.tick()
    relay.fail(None)
    assert relay.read().relay_closed is True

    runtime.tick()
    assert relay.read().relay_closed is False
    assert runtime.fault is None


def test_mute_device_has_no_reading(runtime, relay):
    relay.fail(Fault.MUTE)
    assert runtime.reading() is None
    assert "MUTE" in runtime.fault

    relay.fail(None)
    assert runtime.reading() == Reading(power_w=0, relay_closed=False, closed_s=0, stored_wh=None)


def test_mute_device_at_the_start_gets_the_failsafe_later(relay, clock):
    relay.apply(CLOSED)
    relay.fail(Fault.MUTE)
    runtime = DeviceRuntime(relay, clock, RELAY_BOUNDS, OPEN)
    assert runtime.failsafe_active

    relay.fail(None)
    runtime.tick()
    assert relay.read().relay_closed is False


def test_device_that_falls_mute_under_a_lease_goes_to_the_failsafe(runtime, relay, make_command):
    runtime.heartbeat()
    runtime.receive(make_command())

    relay.fail(Fault.MUTE)
    runtime.tick()
    relay.fail(None)
    runtime.tick()

    assert relay.read().relay_closed is False
    assert runtime.failsafe_active


class Flaky(SimulatedPlant):
    """Loses the connection before or after it did what it was told, by a script."""

    script = ()

    def apply(self, target):
        outcome, *self.script = self.script or ("good",)
        if outcome != "lost before":
            super().apply(target)
        if outcome != "good":
            raise DeviceError(outcome)


def test_device_that_failed_after_it_switched_is_told_the_failsafe_until_it_says_yes(clock, make_command):
    plant = Flaky(5000, [(10.0, 4000.0)], clock)
    runtime = DeviceRuntime(plant, clock, Bounds(lower_w=-5000, upper_w=0), ProductionLimit(limit_w=0))
    runtime.heartbeat()
    plant.script = ("lost after", "lost before")

    report = runtime.receive(make_command(ProductionLimit(limit_w=3000)))
    assert report.state is ReportState.FAILED

    # Before sunrise nothing that is read back shows that the limit is wrong.
    runtime.tick()
    clock.advance(10)
    assert plant.read().power_w == 0


def test_lying_device_diverges_and_is_told_again(runtime, relay, make_command):
    runtime.heartbeat()
    relay.fail(Fault.LYING)

    report = runtime.receive(make_command())
    assert states(report) == [ReportState.APPLIED, ReportState.DIVERGED]
    assert "told RelayState(closed=True), read back Reading(power_w=0" in report.reason

    relay.fail(None)
    runtime.tick()
    assert relay.read().relay_closed is True


def test_device_that_forgot_is_told_again(runtime, relay, make_command):
    runtime.heartbeat()
    runtime.receive(make_command())
    relay.apply(OPEN)

    runtime.tick()

    assert relay.read().relay_closed is True


def test_time_of_day_set_anew_chooses_the_setpoint_and_not_the_lease(runtime, relay, clock, make_command):
    runtime.heartbeat()
    noon = clock.utc()
    runtime.receive(make_command())

    clock.set_utc(noon + timedelta(days=1))
    runtime.tick()
    assert relay.read().relay_closed is False

    clock.set_utc(noon)
    runtime.tick()
    assert relay.read().relay_closed is True

    clock.advance(60)
    clock.set_utc(noon)
    runtime.tick()
    assert relay.read().relay_closed is False


def test_epoch_of_a_welcome_fences_earlier_controllers(runtime, make_command):
    runtime.heartbeat()
    runtime.observe_epoch(3)
    assert states(runtime.receive(make_command(epoch=2))) == [ReportState.REJECTED]
    assert states(runtime.receive(make_command(epoch=3)))[0] is ReportState.APPLIED


def test_release_ends_the_lease_at_once(runtime, relay, make_command):
    runtime.heartbeat()
    runtime.receive(make_command())

    runtime.release()

    assert relay.read().relay_closed is False
    runtime.tick()
    assert runtime.failsafe_active


def test_production_limit_is_verified_by_what_is_produced(clock, make_command):
    plant = SimulatedPlant(5000, [(0.0, 4000.0)], clock)
    runtime = DeviceRuntime(plant, clock, Bounds(lower_w=-5000, upper_w=0), ProductionLimit(limit_w=0))
    runtime.heartbeat()

    for sequence, limit_w, fault, verdict, power_w in (
        (1, 1500, None, ReportState.VERIFIED, -1500),
        (2, 9000, None, ReportState.VERIFIED, -4000),
        (3, 1000, Fault.LYING, ReportState.DIVERGED, -4000),
    ):
        plant.fail(fault)
        report = runtime.receive(make_command(ProductionLimit(limit_w=limit_w), sequence=sequence))
        assert states(report) == [ReportState.APPLIED, verdict]
        assert runtime.reading().power_w == power_w


def test_full_battery_diverges(clock, make_command):
    battery = new_battery(clock, stored_wh=4000)
    runtime = DeviceRuntime(battery, clock, Bounds(lower_w=-3000, upper_w=3000), Power(power_w=0))
    runtime.heartbeat()
    report = runtime.receive(make_command(Power(power_w=1000)))
    assert states(report) == [ReportState.APPLIED, ReportState.DIVERGED]


def new_battery(clock, stored_wh=2000):
    return SimulatedBattery(
        capacity_wh=4000,
        max_charge_w=3000,
        max_discharge_w=3000,
        stored_wh=stored_wh,
        charge_efficiency=0.95,
        discharge_efficiency=0.9,
        clock=clock,
    )
