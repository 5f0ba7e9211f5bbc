"""``simulated://KIND?...``: a device without hardware behind the same connection as any other.

A mute one never answers, so that whoever asks needs a timeout, as with hardware.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from device_drivers.address import DeviceUrl
from device_drivers.clock import BoottimeClock, Clock
from device_drivers.connection import Capabilities, Timer
from device_drivers.device import Reading
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.options import Options
from device_drivers.setpoint import Power, ProductionLimit, RelayState, Target
from device_drivers.simulated.battery import SimulatedBattery
from device_drivers.simulated.cycle import SimulatedCycle
from device_drivers.simulated.device import SimulatedDevice
from device_drivers.simulated.fault import Fault
from device_drivers.simulated.generator import SimulatedGenerator
from device_drivers.simulated.plant import SimulatedPlant
from device_drivers.simulated.relay import SimulatedRelay
from device_drivers.simulated.thermostat import SimulatedThermostat

KINDS = ("battery", "cycle", "generator", "plant", "relay", "thermostat")
MOST_W = 10**9
TIMER = Timer(shortest_s=1.0, longest_s=86_400.0, resolution_s=1.0)


class SimulatedConnection:
    """A connection to a simulated device.

    Parameters
    ----------
    device : SimulatedDevice
        What is told and read.
    failsafe : Target
        Where its own timer ends.
    clock : Clock
        The device's.
    capabilities : Capabilities
        What it can do.
    slow_s : float
        s that each answer takes.
    sleep : callable
        Waits for so many s.
    """

    def __init__(
        self,
        device: SimulatedDevice[Any],
        *,
        failsafe: Target,
        clock: Clock,
        capabilities: Capabilities,
        slow_s: float = 0.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.device = device
        self._failsafe = failsafe
        self._clock = clock
        self._capabilities = capabilities
        self._slow_s = slow_s
        self._sleep = sleep
        self._faults: list[tuple[float, Fault | None]] = []
        self._fault: Fault | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What the device can do."""
        return self._capabilities

    def fail(self, fault: Fault | None, *, after_s: float = 0.0, for_s: float | None = None) -> None:
        """Misbehave so, from now or from a while on, for ever or for a while; None behaves again."""
        at_s = self._clock.now() + after_s
        self._faults = [(at_s, fault)]
        if for_s is not None:
            self._faults.append((at_s + for_s, None))

    async def apply(self, target: Target, *, revert_after_s: float | None) -> None:
        """Tell the device, and set its timer."""
        await self._answer()
        timer = self._capabilities.timer
        armed_s = None if timer is None or revert_after_s is None else timer.armed_s(revert_after_s)
        if armed_s is None and timer is not None and revert_after_s is not None and target != self._failsafe:
            raise DeviceError(f"simulated device: got {revert_after_s:g} s to go back after, less than its timer needs")
        self.device.apply(target)
        if self._fault is Fault.LYING:
            return
        if armed_s is None:
            self.device.disarm()
        else:
            self.device.arm(self._failsafe, self._clock.now() + armed_s)

    async def read(self) -> Reading:
        """What the device does now."""
        await self._answer()
        return self.device.read()

    async def aclose(self) -> None:
        """Nothing to let go of."""

    async def _answer(self) -> None:
        while self._faults and self._faults[0][0] <= self._clock.now():
            self._fault = self._faults.pop(0)[1]
            self.device.fail(self._fault)
        if self._fault is Fault.MUTE:
            await asyncio.get_running_loop().create_future()
        if self._fault is Fault.SLOW or (self._fault is None and self._slow_s > 0):
            await self._sleep(self._slow_s or 1.0)


class SimulatedDriver:
    """Opens simulated devices.

    Parameters
    ----------
    clock : Clock, optional
        By which their physics goes; the machine's where it is left out.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = BoottimeClock() if clock is None else clock

    async def open(self, address: DeviceUrl, *, failsafe: Target, options: Mapping[str, Any]) -> SimulatedConnection:
        """A new device of the kind that the URL's host names; docs/drivers.md lists the options."""
        read = Options(options)
        device, targets = self._device(address, read)
        if type(failsafe) not in targets:
            wanted = ", ".join(sorted(one.__name__ for one in targets))
            raise InvalidValueError(f"failsafe: got {failsafe}, wanted one of the kinds {wanted} for a {address.host}")
        timer = TIMER if read.flag("timer", default=True) else None
        connection = SimulatedConnection(
            device,
            failsafe=failsafe,
            clock=self._clock,
            capabilities=Capabilities(targets=targets, timer=timer, measures_power=True, reads_state=True),
            slow_s=read.number("slow_s", 0.0, least=0.0, most=3600.0),
        )
        if read.has("fault"):
            fault = Fault(read.choice("fault", [one.value for one in Fault]))
            after_s = read.number("fault_after_s", 0.0, least=0.0)
            for_s = read.number("fault_for_s", least=0.0) if read.has("fault_for_s") else None
            connection.fail(fault, after_s=after_s, for_s=for_s)
        read.done()
        return connection

    def _device(self, address: DeviceUrl, read: Options) -> tuple[SimulatedDevice[Any], frozenset[type[Target]]]:
        if address.path or address.port is not None or address.username is not None:
            raise InvalidValueError(f"url: got {address}, wanted simulated://KIND?OPTION=VALUE and nothing between")
        clock = self._clock
        match address.host:
            case "relay":
                rated_w = read.integer("rated_w", 2000, least=0, most=MOST_W)
                return SimulatedRelay(rated_w, clock), frozenset({RelayState})
            case "cycle":
                profile_w = [_watts(word) for word in read.text("profile_w", "2000,200,200,1500").split(",")]
                return SimulatedCycle(profile_w, read.integer("step_s", 900, least=1), clock), frozenset({RelayState})
            case "battery":
                capacity_wh = read.number("capacity_wh", 10_000.0, least=0)
                battery = SimulatedBattery(
                    capacity_wh=capacity_wh,
                    max_charge_w=read.integer("max_charge_w", 5000, least=0, most=MOST_W),
                    max_discharge_w=read.integer("max_discharge_w", 5000, least=0, most=MOST_W),
                    stored_wh=read.number("stored_wh", capacity_wh / 2, least=0),
                    charge_efficiency=read.number("charge_efficiency", 0.95),
                    discharge_efficiency=read.number("discharge_efficiency", 0.95),
                    clock=clock,
                )
                return battery, frozenset({Power})
            case "thermostat":
                thermostat = SimulatedThermostat(
                    rated_w=read.integer("rated_w", 2000, least=0, most=MOST_W),
                    heat_capacity_wh_per_k=read.number("heat_capacity_wh_per_k", 230.0),
                    loss_w_per_k=read.number("loss_w_per_k", 3.0, least=0),
                    performance=read.number("performance", 1.0),
                    ambient_c=read.number("ambient_c", 20.0),
                    temperature_c=read.number("temperature_c", 50.0),
                    clock=clock,
                )
                return thermostat, frozenset((RelayState, Power))
            case "plant":
                rated_w = read.integer("rated_w", 5000, least=0, most=MOST_W)
                available_w = read.number("available_w", float(rated_w), least=0)
                return SimulatedPlant(rated_w, ((0.0, available_w),), clock), frozenset({ProductionLimit})
            case "generator":
                max_w = read.integer("max_w", 5000, least=0, most=MOST_W)
                min_w = read.integer("min_w", 0, least=0, most=MOST_W)
                return SimulatedGenerator(min_w=min_w, max_w=max_w, clock=clock), frozenset({Power})
            case other:
                raise InvalidValueError(f"url: got the kind {other!r}, wanted simulated://{{{','.join(KINDS)}}}")


def _watts(word: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise InvalidValueError(f"option profile_w: got {word!r}, wanted whole W with commas between") from None
