"""Runs the demonstration day: moves the virtual clock, and lets everyone do what they do at that time.

Everybody talks to the service over gRPC with certificates of their own; nothing here reaches into it, apart from
letting it take the steps that are due, which in operation a timer does.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from time import perf_counter
from typing import TypeVar

import grpc

from controller.access import Role
from controller.app import Service
from controller.clock import VirtualClock
from controller.demo.clients import (
    AggregatorClient,
    AuditorClient,
    Dialer,
    DsoClient,
    GatewayClient,
    OperatorClient,
    ParticipantClient,
    ValidatorClient,
)
from controller.demo.scenario import MTU_MINUTES, Scenario
from controller.demo.validators import DemoValidators
from controller.demo.world import World
from controller.microgrid import Window
from controller.wire import fields
from device_drivers.client import DriverClient

T = TypeVar("T")

MTU_S = MTU_MINUTES * 60
SET_UP_LEAD_S = 1800
ORDER_LEAD_S = 600
POWER_FACTOR = 0.95
"""What the transformer carries at this power factor is the DSO's everyday envelope for feeding in."""
DEMAND_W, UNDIVERSIFIED = 3200, 4
"""For consuming, it is the demand after diversity that the grid was planned for: a connection, and four more."""
EVENING_NOTICE_HOUR = 17
EVENING_FROM_HOUR, EVENING_TO_HOUR = 18, 26
AT_ONCE = 32
"""How many clients call at the same time."""


@dataclass(slots=True, kw_only=True)
class Diary:
    """What was seen during the day by those who took part.

    Attributes
    ----------
    evening_limit_w : the tightened limit
    evening : its start and end in Unix seconds
    planned_before_w : by MTU start, the load that was planned before the DSO tightened the limit
    acted_w : by device and MTU start, the power read back after the setpoint was applied
    seconds : wall time of each window's clearing
    """

    evening_limit_w: int = 0
    evening: tuple[int, int] = (0, 0)
    planned_before_w: dict[int, int] = field(default_factory=dict)
    acted_w: dict[tuple[str, int], int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


class Progress:
    """Told what is happening; this one keeps it to itself."""

    def step(self, done: int, total: int, text: str) -> None:
        """``done`` of ``total`` MTUs are over; ``text`` says what goes on."""


class Conductor:
    """The day from 06:00 to 06:00.

    Parameters
    ----------
    scenario, world : who and what
    service : running
    clock : the service's
    dialer : opens the clients' connections
    validators : sign what is anchored
    progress : is told
    """

    def __init__(
        self,
        *,
        scenario: Scenario,
        world: World,
        service: Service,
        clock: VirtualClock,
        dialer: Dialer,
        validators: DemoValidators,
        progress: Progress,
    ) -> None:
        self._scenario = scenario
        self._grid = scenario.microgrid
        self._world = world
        self._service = service
        self._clock = clock
        self._progress = progress
        self._rated_w = round(scenario.grid.transformer_va * POWER_FACTOR)
        self.diary = Diary()
        self._operator = OperatorClient(dialer, scenario)
        self._dso = DsoClient(dialer, self._grid.name)
        self._aggregator = AggregatorClient(dialer, self._grid.name)
        self._participants = [ParticipantClient(dialer, scenario, p) for p in scenario.participants]
        self._gateway = GatewayClient(dialer, self._grid.name)
        self._validator = ValidatorClient(dialer)
        self._auditor = AuditorClient(dialer, self._grid.name)
        self._driver_channels = {id_: dialer.channel(Role.DRIVER, id_) for id_ in world.runtimes}
        self._drivers = {
            id_: DriverClient(self._driver_channels[id_], fields.device_name(self._grid.id, id_), runtime, world.clock)
            for id_, runtime in world.runtimes.items()
        }
        self._validators = validators
        self._attested: set[str] = set()

    async def run(self) -> Diary:
        """Live through the day."""
        await self._set_up()
        windows = {window.start: window for window in self._grid.windows()}
        ticks = range(self._grid.start, self._grid.end + 1, MTU_S)
        events = sorted(
            [(start - ORDER_LEAD_S, 0, window) for start, window in windows.items() if start > self._grid.start]
            + [(start - self._grid.lead_minutes * 60, 1, window) for start, window in windows.items()]
            + [(tick, 2, None) for tick in ticks],
            key=lambda event: event[:2],
        )
        for instant, kind, window in events:
            self._set_clock(instant)
            if kind == 2:
                await self._tick(instant)
            elif window is not None and kind == 0:
                await self._order(window)
            elif window is not None:
                await self._close_gate(window)
        await self._witness()
        return self.diary

    async def close(self) -> None:
        """Let all connections go."""
        await _each(self._drivers.values(), lambda driver: driver.close())
        channels: list[grpc.aio.Channel] = [client.channel for client in self._participants]
        channels += [
            client.channel
            for client in (
                self._operator,
                self._dso,
                self._aggregator,
                self._gateway,
                self._validator,
                self._auditor,
            )
        ]
        await _each([*channels, *self._driver_channels.values()], lambda channel: channel.close(None))

    async def _set_up(self) -> None:
        self._say("setting up the community")
        await self._operator.set_up()
        await _each(self._participants, lambda client: client.register_devices())
        await _each(self._participants, lambda client: client.give_mandate())
        await self._dso.limit(
            "transformer",
            start=self._grid.start,
            end=self._grid.end,
            lower_w=-self._rated_w,
            upper_w=min(self._rated_w, DEMAND_W * (len(self._participants) + UNDIVERSIFIED)),
            reason="rated power of the transformer, and the demand that the grid was planned for",
        )
        await self._order(self._grid.windows()[0])
        self._say("planning the day")
        await self._aggregator.request_plan("day-ahead")
        await _each(self._drivers.values(), lambda driver: driver.connect())

    async def _order(self, window: Window) -> None:
        mtu = (window.start - self._grid.start) // MTU_S
        await _each(self._participants, lambda client: client.order(window.name, mtu))

    async def _close_gate(self, window: Window) -> None:
        if self._local_hour(window.start) == EVENING_NOTICE_HOUR + 1 and not self.diary.evening_limit_w:
            await self._tighten()
        self._say(f"clearing {datetime.fromtimestamp(window.start, self._scenario.grid.time_zone):%H:%M}")
        started = perf_counter()
        await self._service.advance()
        self.diary.seconds[window.name] = perf_counter() - started
        await self._aggregator.clearing(window.name)

    async def _tighten(self) -> None:
        """The DSO sees the evening's planned peak and lowers the limit for the evening."""
        start, planned = await self._dso.planned_load()
        midnight = self._grid.start - 6 * 3600
        evening = midnight + EVENING_FROM_HOUR * 3600, midnight + EVENING_TO_HOUR * 3600
        by_mtu = {start + k * MTU_S: load for k, load in enumerate(planned)}
        inside = {mtu: load for mtu, load in by_mtu.items() if evening[0] <= mtu < evening[1]}
        if not inside:
            return
        # Half-way between the evening's mean and its peak: the peak goes, the energy still fits. Rounded up, so that
        # it fits where the load is small and flat, too.
        peak, mean = max(inside.values()), sum(inside.values()) / len(inside)
        limit = max(1000, ceil((peak + mean) / 2000) * 1000)
        self.diary.evening, self.diary.evening_limit_w = evening, limit
        self.diary.planned_before_w = inside
        await self._dso.limit(
            "evening",
            start=evening[0],
            end=evening[1],
            lower_w=-self._rated_w,
            upper_w=limit,
            reason=f"planned evening peak {peak} W is too high",
        )

    async def _tick(self, instant: int) -> None:
        """The start of an MTU: meters report, windows move on, drivers fetch and act."""
        done = (instant - self._grid.start) // MTU_S
        total = (self._grid.end - self._grid.start) // MTU_S
        local = datetime.fromtimestamp(instant, self._scenario.grid.time_zone)
        self._progress.step(done, total, f"{local:%H:%M}")
        await self._gateway.submit([meter.read() for meter in self._world.meters])
        await self._service.advance()
        if instant < self._grid.end:
            await _each(self._drivers.values(), lambda driver: driver.beat())
            await _each(self._drivers.values(), lambda driver: driver.sync())
            for id_, runtime in self._world.runtimes.items():
                reading = runtime.reading()
                self.diary.acted_w[id_, instant] = 0 if reading is None else reading.power_w or 0
        await self._service.anchor()
        await self._attest(instant)

    async def _attest(self, instant: int) -> None:
        """A validator attests what was settled, and all of them sign the batches, which are anchored then."""
        known = len(self._attested)
        for window in self._grid.windows():
            if window.end <= instant and window.name not in self._attested:
                await self._validator.attest(window.name)
                self._attested.add(window.name)
        if len(self._attested) > known:
            await asyncio.to_thread(self._validators.turn)
            await self._service.anchor()

    async def _witness(self) -> None:
        """At the end, a household and the auditor fetch what proves the day, as strangers would."""
        headers = await self._auditor.headers()
        if len(headers) != len(self._grid.windows()):
            raise RuntimeError(f"headers: got {len(headers)}, wanted {len(self._grid.windows())}")
        for window in reversed(self._grid.windows()):
            for trade in await self._participants[0].trades(window.name):
                await self._participants[0].proof(trade.name)
                return

    def _local_hour(self, instant: int) -> int:
        return datetime.fromtimestamp(instant, self._scenario.grid.time_zone).hour

    def _set_clock(self, instant: int) -> None:
        self._world.clock.advance(instant - self._clock.now())
        self._clock.set(instant)

    def _say(self, text: str) -> None:
        done = max(0, int(self._clock.now() - self._grid.start) // MTU_S)
        self._progress.step(done, (self._grid.end - self._grid.start) // MTU_S, text)


async def _each(items: Iterable[T], act: Callable[[T], Awaitable[object]]) -> None:
    """Act on all, a few at a time; the first failure is raised when all have ended."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(item: T) -> None:
        async with gate:
            await act(item)

    results = await asyncio.gather(*(one(item) for item in items), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
