"""The physical side of the demonstration: loads, devices and meters, as they really behave."""

import math
from datetime import UTC, datetime

from controller.demo.scenario import MTU_MINUTES, Participant, Scenario
from controller.flexibility import Generator, Plant, Programme, Relay, Storage, Thermostat, Vehicle
from controller.microgrid import Device, MeterReading
from device_drivers.runtime import DeviceRuntime
from device_drivers.setpoint import Bounds, Power, ProductionLimit, RelayState, Target
from device_drivers.simulated.battery import SimulatedBattery
from device_drivers.simulated.clock import SimulatedClock
from device_drivers.simulated.cycle import SimulatedCycle
from device_drivers.simulated.generator import SimulatedGenerator
from device_drivers.simulated.plant import SimulatedPlant
from device_drivers.simulated.relay import SimulatedRelay
from device_drivers.simulated.thermostat import SimulatedThermostat

PPM = 1_000_000
MILLI = 1000
NOISE_WH = 1e-6

Simulated = (
    SimulatedBattery | SimulatedCycle | SimulatedGenerator | SimulatedPlant | SimulatedRelay | SimulatedThermostat
)


class Meter:
    """A meter with two registers, fed with what flowed since it was last read.

    Parameters
    ----------
    participant : whose uncontrolled load it sees
    devices : behind it
    clock : gives the time that passes
    start : Unix seconds at which the participant's series begin
    """

    def __init__(
        self, participant: Participant, devices: tuple[Simulated, ...], clock: SimulatedClock, start: int
    ) -> None:
        self._participant = participant
        self._devices = devices
        self._clock = clock
        self._start = start
        self._seen_wh = sum(device.energy_wh() for device in devices)
        self._read_at = start
        self._import_wh = 0.0
        self._export_wh = 0.0

    def read(self) -> MeterReading:
        """The registers now; the clock stands at the end of an MTU, or at the start of the day."""
        now = int(self._clock.utc().timestamp())
        devices_wh = sum(device.energy_wh() for device in self._devices)
        net_wh = devices_wh - self._seen_wh
        for at in range(self._read_at, now, MTU_MINUTES * 60):
            net_wh += self._participant.actual_load_w[(at - self._start) // (MTU_MINUTES * 60)] * MTU_MINUTES / 60
        self._seen_wh, self._read_at = devices_wh, now
        self._import_wh += max(net_wh, 0.0)
        self._export_wh += max(-net_wh, 0.0)
        return MeterReading(
            member=self._participant.member.id,
            instant=now,
            import_wh=math.floor(self._import_wh + NOISE_WH),
            export_wh=math.floor(self._export_wh + NOISE_WH),
            quality="MEASURED",
        )


class World:
    """Everything physical in the community.

    Parameters
    ----------
    scenario : what is where
    clock : the day's clock, before its start
    """

    def __init__(self, scenario: Scenario, clock: SimulatedClock) -> None:
        self.clock = clock
        start = scenario.microgrid.start
        offset = start - clock.utc().timestamp()
        self.devices: dict[str, Simulated] = {}
        self.runtimes: dict[str, DeviceRuntime] = {}
        self.meters: list[Meter] = []
        for participant in scenario.participants:
            own = tuple(_simulate(participant, device, clock, offset) for device in participant.devices)
            for device, simulated in zip(participant.devices, own, strict=True):
                self.devices[device.id] = simulated
                self.runtimes[device.id] = DeviceRuntime(simulated, clock, bounds_of(device), failsafe_of(device))
            self.meters.append(Meter(participant, own, clock, start))


def bounds_of(device: Device) -> Bounds:
    """What the hardware of a device can do."""
    match device.flexibility:
        case Relay(rated_w=rated_w) | Thermostat(rated_w=rated_w):
            return Bounds(lower_w=0, upper_w=rated_w)
        case Programme(profile_w=profile_w):
            return Bounds(lower_w=0, upper_w=max(profile_w))
        case Storage(max_charge_w=charge_w, max_discharge_w=discharge_w):
            return Bounds(lower_w=-discharge_w, upper_w=charge_w)
        case Vehicle(max_discharge_w=discharge_w, levels=levels):
            return Bounds(lower_w=-discharge_w, upper_w=levels[-1].upper_w)
        case Plant(rated_w=rated_w) | Generator(max_w=rated_w):
            return Bounds(lower_w=-rated_w, upper_w=0)


def failsafe_of(device: Device) -> Target:
    """What a device does when nobody tells it anything: nothing that could load the transformer."""
    match device.flexibility:
        case Relay() | Programme() | Thermostat(modulating=False):
            return RelayState(closed=False)
        case Storage() | Vehicle() | Thermostat() | Generator():
            return Power(power_w=0)
        case Plant():
            return ProductionLimit(limit_w=0)


def _simulate(participant: Participant, device: Device, clock: SimulatedClock, offset: float) -> Simulated:
    match device.flexibility:
        case Relay(rated_w=rated_w):
            return SimulatedRelay(rated_w, clock)
        case Programme(profile_w=profile_w):
            return SimulatedCycle(profile_w, MTU_MINUTES * 60, clock)
        case Thermostat() as load:
            return SimulatedThermostat(
                rated_w=load.rated_w,
                heat_capacity_wh_per_k=load.heat_capacity_wh_per_k,
                loss_w_per_k=load.loss_milli_w_per_k / MILLI,
                performance=load.performance_ppm / PPM,
                ambient_c=load.ambient_milli_c / MILLI,
                temperature_c=load.temperature_milli_c / MILLI,
                clock=clock,
            )
        case Generator(min_w=min_w, max_w=max_w):
            return SimulatedGenerator(min_w=min_w, max_w=max_w, clock=clock)
        case Storage() | Vehicle() as store:
            return SimulatedBattery(
                capacity_wh=store.capacity_wh,
                max_charge_w=store.max_charge_w if isinstance(store, Storage) else store.levels[-1].upper_w,
                max_discharge_w=store.max_discharge_w,
                stored_wh=store.stored_wh,
                charge_efficiency=store.charge_efficiency_ppm / PPM,
                discharge_efficiency=store.discharge_efficiency_ppm / PPM,
                clock=clock,
            )
        case Plant(rated_w=rated_w):
            steps = [
                (clock.now() + offset + k * MTU_MINUTES * 60, float(power))
                for k, power in enumerate(participant.actual_available_w[device.id])
            ]
            return SimulatedPlant(rated_w, steps, clock)


def clock_at(instant: float) -> SimulatedClock:
    """A clock that stands at an instant."""
    return SimulatedClock(datetime.fromtimestamp(instant, UTC))
