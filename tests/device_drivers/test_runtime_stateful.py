from datetime import UTC, datetime, timedelta

from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from device_drivers.report import ReportState
from device_drivers.runtime import DeviceRuntime
from device_drivers.setpoint import Bounds, Command, Power, ProductionLimit, RelayState, Setpoint
from device_drivers.simulated.battery import SimulatedBattery
from device_drivers.simulated.clock import SimulatedClock
from device_drivers.simulated.fault import Fault

# The battery could do more than its bounds allow, so that only the guard can hold it within them.
BOUNDS = Bounds(lower_w=-2000, upper_w=3000)
FAILSAFE = Power(power_w=-7)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)

targets = st.one_of(
    st.integers(-2000, 3000).map(lambda power_w: Power(power_w=power_w)),
    st.integers(-2000, 3000).map(lambda power_w: Power(power_w=power_w)),
    st.integers(-4000, 4000).map(lambda power_w: Power(power_w=power_w)),
    st.sampled_from([RelayState(closed=True), ProductionLimit(limit_w=0)]),
)


@st.composite
def schedules(draw):
    """Up to three setpoints one after the other: their starts and ends in s from now, and their targets."""
    schedule, end = [], draw(st.integers(-300, 100))
    steps = st.tuples(st.sampled_from([0, 0, 30]), st.integers(1, 400), targets)
    for gap, length, target in draw(st.lists(steps, max_size=3)):
        start, end = end + gap, end + gap + length
        schedule.append((start, end, target))
    return schedule


# Steps away from what would be accepted: numbers from anywhere would be refused nearly always.
commands = st.fixed_dictionaries(
    {
        "age": st.sampled_from([0, 0, 0, 0, 1, 5, -1]),
        "epoch_step": st.sampled_from([0, 0, 0, 0, 0, 1, -1]),
        "sequence_step": st.sampled_from([1, 1, 1, 9, 0, 0, -1]),
        "ttl_s": st.sampled_from([900, 300, 60, 2, 0, -1]),
        "schedule": schedules(),
    }
)


class RuntimeMachine(RuleBasedStateMachine):
    """Any course of heartbeats, commands, time and faults, beside the plainest account of who may act."""

    @initialize()
    def start(self):
        self.clock = SimulatedClock(NOON)
        self.battery = SimulatedBattery(
            capacity_wh=10**9,
            max_charge_w=4000,
            max_discharge_w=4000,
            stored_wh=5 * 10**8,
            charge_efficiency=1,
            discharge_efficiency=1,
            clock=self.clock,
        )
        self.runtime = DeviceRuntime(self.battery, self.clock, BOUNDS, FAILSAFE)
        self.fault = None
        self.sent = {}
        self.accepted = []
        self.lost = self.perhaps_lost = False
        self.heartbeat()

    @rule()
    def heartbeat(self):
        self.sent[self.runtime.heartbeat()] = self.clock.now()

    @rule(power_w=st.integers(-2100, 3100), ttl_s=st.sampled_from([900, 300, 60, 2]))
    def receive_in_order(self, power_w, ttl_s):
        schedule = [(-60, 400, Power(power_w=power_w)), (400, 800, FAILSAFE)]
        fields = {"age": 0, "epoch_step": 0, "sequence_step": 1, "ttl_s": ttl_s, "schedule": schedule}
        self.receive_any(fields)

    @rule(fields=commands)
    def receive_any(self, fields):
        utc = self.clock.utc()
        epoch, sequence = max(((one.epoch, one.sequence) for one in self.accepted), default=(1, 0))
        command = Command(
            command_id="c",
            window="w",
            epoch=epoch + fields["epoch_step"],
            sequence=sequence + fields["sequence_step"],
            heartbeat_counter=len(self.sent) - fields["age"],
            ttl_s=float(fields["ttl_s"]),
            setpoints=tuple(
                Setpoint(start=utc + start * SECOND, end=utc + end * SECOND, target=target)
                for start, end, target in fields["schedule"]
            ),
        )
        report = self.runtime.receive(command)
        event(f"{report.state.name}, {report.reason.split(':')[0]}")
        if report.state in {ReportState.REJECTED, ReportState.FAILED}:
            self.lost = self.lost or report.state is ReportState.FAILED
            return
        assert self.clock.now() < self.ends_at(command)
        assert all((one.epoch, one.sequence) < (command.epoch, command.sequence) for one in self.accepted)
        self.accepted.append(command)
        self.lost = self.perhaps_lost = False

    @rule(seconds=st.sampled_from([0, 1, 2, 30, 60, 299, 300, 5000]))
    def pass_time(self, seconds):
        self.clock.advance(seconds)
        self.runtime.tick()

    @rule(seconds=st.integers(-900, 900))
    def set_time_of_day(self, seconds):
        self.clock.set_utc(self.clock.utc() + seconds * SECOND)
        self.runtime.tick()

    @rule(fault=st.sampled_from([None, None, None, *Fault]))
    def fail(self, fault):
        self.battery.fail(fault)
        self.fault = fault
        self.runtime.tick()

    def ends_at(self, command):
        return self.sent[command.heartbeat_counter] + command.ttl_s

    def target(self):
        """What the last accepted command says of now; the failsafe where it has nothing to say."""
        for command in self.accepted[-1:]:
            if self.clock.now() < self.ends_at(command) and not self.lost:
                for setpoint in command.setpoints:
                    if setpoint.start <= self.clock.utc() < setpoint.end:
                        return setpoint.target
        return FAILSAFE

    @invariant()
    def device_does_what_may_act_and_nothing_else(self):
        self.runtime.tick()
        self.battery.fail(None)
        power_w = self.battery.read().power_w
        self.battery.fail(self.fault)
        assert BOUNDS.contains(power_w)
        # A battery refuses other targets, and a mute one any: that ends the lease for good. Whether one that
        # refuses does so depends on whether there was anything to tell it.
        self.lost = self.lost or self.fault is Fault.MUTE or not isinstance(self.target(), Power)
        self.perhaps_lost = self.perhaps_lost or self.fault is Fault.REFUSING
        if self.fault is None:
            assert power_w == self.target().power_w or (self.perhaps_lost and power_w == FAILSAFE.power_w)
        if not self.runtime.failsafe_active:
            assert self.clock.now() < self.ends_at(self.accepted[-1])


RuntimeMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestRuntime = RuntimeMachine.TestCase
