"""A day that the village lives through: planned for each window anew, done by simulated devices, told by drivers."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import groupby

import numpy as np

from controller.clock import VirtualClock
from controller.demo.world import failsafe_of
from controller.flexibility import Generator, Plant, Programme, Relay, Storage, Thermostat, Vehicle
from controller.microgrid import Device, DeviceSetpoint, DeviceState, Member, SetpointKind
from controller.sealing import seeded_salts
from controller.snapshot import Limit
from controller.store import market, registry
from controller.store.database import Database
from controller.window import WindowEngine
from controller.wire import fields
from device_drivers.setpoint import Power, ProductionLimit, RelayState
from device_drivers.simulated.battery import SimulatedBattery
from device_drivers.simulated.clock import SimulatedClock
from device_drivers.simulated.cycle import SimulatedCycle
from device_drivers.simulated.generator import SimulatedGenerator
from device_drivers.simulated.plant import SimulatedPlant
from device_drivers.simulated.relay import SimulatedRelay
from device_drivers.simulated.thermostat import SimulatedThermostat
from gridpact.v1 import participant_pb2
from optimization.community import Community
from tests.controller.village_night import DEVICES, DRAWS_W, LOADS_W, MTU_S, MTUS, START, SUN_W, at, calendar

WRONG = 0.3


@dataclass
class InProcess:
    """A solver without a process of its own."""

    answer: Callable[[Community], object]

    async def solve(self, community: Community):
        return self.answer(community)


def full(state: DeviceState) -> DeviceState:
    """Of a driver that says all."""
    return state


def bare(state: DeviceState) -> DeviceState:
    """Of a driver that knows only power, store and temperature."""
    return replace(state, closed=None, held_s=None, closed_s=0)


def silent(state: DeviceState) -> None:
    """Of a driver that says nothing at all."""


@dataclass
class Day:
    """A village that lives through its day."""

    database: Database
    answer: Callable[[Community], object]
    seed: int = 0
    tell: Callable[[DeviceState], DeviceState | None] = full
    window_minutes: int = 60
    wrong: float = WRONG
    stuck: tuple[str, int] = ("", 0)
    missed_mtus: int = 0
    devices: dict[str, object] = field(default_factory=lambda: dict(DEVICES))
    limits: list[Limit] = field(default_factory=list)
    powers: dict[str, list[float]] = field(default_factory=dict)
    stored: dict[tuple[str, int], int] = field(default_factory=dict)
    temperatures: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        self.grid = calendar(self.window_minutes)
        self.clock = VirtualClock(START - 3600)
        self.physical = SimulatedClock(datetime.fromtimestamp(START - 300, UTC))
        self.engine = WindowEngine(
            database=self.database,
            clock=self.clock,
            solver=InProcess(self.answer),
            salts=seeded_salts(b"village"),
            limits=lambda *_: tuple(self.limits),
            on_frozen=lambda _: None,
            on_setpoints=lambda *_: None,
            on_adjusted=lambda *_: None,
        )
        self.known = {id_: Device(id=id_, member=id_.split("/")[0], flexibility=f) for id_, f in self.devices.items()}
        self.database.run(registry.add_microgrid, self.grid)
        for member in LOADS_W:
            self.database.run(registry.add_member, "village", Member(id=member, section="east"))
        for device in self.known.values():
            self.database.run(registry.put_device, "village", device)
        sun = SUN_W * np.maximum(0.0, np.sin(np.linspace(-0.5, 3.0, MTUS)))
        self.sun_w = sun * self.around(MTUS)
        self.simulated = {id_: self.simulate(device) for id_, device in self.known.items()}

    def around(self, count: int):
        return 1.0 + self.wrong * self.random.uniform(-1.0, 1.0, count)

    def simulate(self, device: Device):
        clock = self.physical
        match device.flexibility:
            case Relay(rated_w=rated_w):
                return SimulatedRelay(rated_w, clock)
            case Programme(profile_w=profile_w):
                return SimulatedCycle(profile_w, MTU_S, clock)
            case Plant(rated_w=rated_w):
                steps = [(clock.now() + 300 + k * MTU_S, float(w)) for k, w in enumerate(self.sun_w)]
                return SimulatedPlant(rated_w, steps, clock)
            case Generator(min_w=min_w, max_w=max_w):
                return SimulatedGenerator(min_w=min_w, max_w=max_w, clock=clock)
            case Thermostat() as load:
                return SimulatedThermostat(
                    rated_w=load.rated_w,
                    heat_capacity_wh_per_k=load.heat_capacity_wh_per_k,
                    loss_w_per_k=load.loss_milli_w_per_k / 1000,
                    performance=load.performance_ppm / 1e6,
                    ambient_c=load.ambient_milli_c / 1000,
                    temperature_c=load.temperature_milli_c / 1000,
                    clock=clock,
                )
            case Storage() | Vehicle() as store:
                top = store.max_charge_w if isinstance(store, Storage) else store.levels[-1].upper_w
                return SimulatedBattery(
                    capacity_wh=store.capacity_wh,
                    max_charge_w=top,
                    max_discharge_w=store.max_discharge_w,
                    stored_wh=store.stored_wh,
                    charge_efficiency=store.charge_efficiency_ppm / 1e6,
                    discharge_efficiency=store.discharge_efficiency_ppm / 1e6,
                    clock=clock,
                )

    def order(self, window: str, mtu: int) -> None:
        """Everybody's forecasts for a window, anew and wrong."""
        rest = MTUS - mtu
        for member, load_w in LOADS_W.items():
            message = participant_pb2.Order(
                window=window,
                member=f"microgrids/village/members/{member}",
                load_w=[int(w) for w in load_w * self.around(rest)],
                production=[
                    participant_pb2.ProductionForecast(
                        device=fields.device_name("village", id_),
                        available_w=[int(w) for w in self.sun_w[mtu:] * self.around(rest)],
                    )
                    for id_, device in self.known.items()
                    if device.member == member and isinstance(device.flexibility, Plant)
                ],
                partners=[
                    participant_pb2.Partner(member=f"microgrids/village/members/{other}", preference_micro_per_kwh=1000)
                    for other in LOADS_W
                    if other != member
                ],
                thermal=[
                    participant_pb2.ThermalForecast(
                        device=fields.device_name("village", id_), draw_w=[int(w) for w in draw * self.around(rest)]
                    )
                    for id_, draw in DRAWS_W.items()
                    if id_ in self.known and self.known[id_].member == member
                ],
            )
            self.database.run(
                market.add_order,
                window,
                member,
                payload=message.SerializeToString(deterministic=True),
                signature=b"",
                key_id="k",
                digest=b"",
            )

    def live(self) -> "Day":
        """From before the first gate to the end of the horizon."""
        starts = {window.start: window.name for window in self.grid.windows()}
        self.order(starts[START], 0)
        self.step(START - 300)
        for mtu in range(MTUS):
            self.pass_until(at(mtu))
            self.step(at(mtu))
            before = {id_: device.energy_wh() for id_, device in self.simulated.items()}
            self.act(at(mtu))
            self.pass_until(at(mtu) + 590)
            self.report(at(mtu) + 590)
            if at(mtu + 1) in starts:
                self.order(starts[at(mtu + 1)], mtu + 1)
            self.step(at(mtu) + 600)
            self.pass_until(at(mtu + 1))
            for id_, device in self.simulated.items():
                self.powers.setdefault(id_, []).append(4 * (device.energy_wh() - before[id_]))
                if isinstance(device, SimulatedBattery):
                    self.stored[id_, mtu] = device.stored_wh()
                elif isinstance(device, SimulatedThermostat):
                    self.temperatures.setdefault(id_, []).append(device.temperature_c())
        return self

    def pass_until(self, instant: int) -> None:
        self.physical.advance(instant - self.physical.utc().timestamp())

    def step(self, instant: int) -> None:
        self.clock.set(instant)
        asyncio.run(self.engine.advance())

    def act(self, instant: int) -> None:
        """Each device does what it was told for this MTU; without a setpoint, its failsafe."""
        told: dict[str, DeviceSetpoint] = {}
        for row in self.database.run(market.windows, "village"):
            if row.start <= instant < row.end:
                told = {s.device: s for s in self.database.run(market.setpoints, row.name) if s.mtu_start == instant}
        for id_, device in self.simulated.items():
            if isinstance(device, SimulatedThermostat):
                device.draw(DRAWS_W.get(id_, 0.0) * float(self.around(1)[0]))
            setpoint = told.get(id_)
            if setpoint and setpoint.value and id_ == self.stuck[0] and self.missed_mtus < self.stuck[1]:
                self.missed_mtus += 1
                continue
            match setpoint and setpoint.kind:
                case SetpointKind.RELAY:
                    device.apply(RelayState(closed=bool(setpoint.value)))
                case SetpointKind.POWER:
                    device.apply(Power(power_w=setpoint.value))
                case SetpointKind.PRODUCTION_LIMIT:
                    device.apply(ProductionLimit(limit_w=setpoint.value))
                case None:
                    device.apply(failsafe_of(self.known[id_]))

    def report(self, instant: int) -> None:
        states = []
        for id_, device in self.simulated.items():
            reading = device.read()
            state = DeviceState(
                device=id_,
                instant=instant,
                power_w=reading.power_w,
                closed_s=reading.closed_s,
                stored_wh=reading.stored_wh,
                closed=reading.relay_closed,
                held_s=reading.held_s,
                temperature_milli_c=reading.temperature_milli_c,
            )
            states.append(self.tell(state))
        self.database.run(registry.put_device_states, "village", [s for s in states if s is not None])

    # What came of it.

    def on(self, id_: str) -> list[bool]:
        return [abs(power) > 1.0 for power in self.powers[id_]]

    def runs(self, id_: str) -> list[tuple[bool, int, int]]:
        """Each run and rest: whether on, first MTU, length."""
        found, first = [], 0
        for on, group in groupby(self.on(id_)):
            length = len(list(group))
            found.append((on, first, length))
            first += length
        return found

    def plans(self) -> list[dict]:
        rows = self.database.run(market.windows, "village")
        return [json.loads(row.plan) for row in rows if row.plan]

    def states(self) -> set[str]:
        return {row.state for row in self.database.run(market.windows, "village")}
