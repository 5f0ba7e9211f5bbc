"""What is asked of a driver beneath the runtime, by controllers that speak the API itself on the loopback.

One controller is ended and another takes its place, or two of them believe that the device is theirs: what it does has
to follow the newer one alone.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

from device_drivers.clock import BoottimeClock
from device_drivers.conformance.bench import Bench
from device_drivers.conformance.controller import DONE, REJECTED, Address, Controller
from device_drivers.conformance.result import NotShown
from device_drivers.core import DeviceCore
from device_drivers.device import obeys
from device_drivers.failsafe import Fixed
from device_drivers.gateway import Gateway
from device_drivers.guard import GuardRules
from device_drivers.link import DeviceLink
from device_drivers.report import Report
from device_drivers.served import ServedDevice
from device_drivers.setpoint import Bounds, Target
from device_drivers.station import Station
from device_drivers.switching import Switching

NAME = "microgrids/check/members/check/devices/check"
CONNECTED_S = 15.0
"""s that a driver may take to find a controller again."""
FREE = Bounds(lower_w=None, upper_w=None)

_POLL_S = 0.1


async def survives_its_controller(bench: Bench) -> str:
    """A lease outlives the controller that gave it, and what that one said counts no more once another has spoken."""
    async with _driven(bench) as driven:
        first = Controller(epoch=1)
        await driven.meet(first)
        await driven.follows(first, bench.other, sequence=1)
        await driven.address.end()
        second = Controller(epoch=2)
        await driven.meet(second)
        await driven.keeps(bench.other, "once another controller was there, under a lease that has not ended")
        await driven.ignores(second, bench.failsafe, epoch=1, sequence=1000)
        await driven.keeps(bench.other, "after a command of the controller before")
        await driven.follows(second, bench.failsafe, sequence=1)
        return "kept its lease, refused the old controller's command, followed the new one's"


async def follows_one_of_two(bench: Bench) -> str:
    """Of two controllers at once the newer one has the device: their setpoints do not take turns."""
    async with _driven(bench) as driven:
        newer, older = Controller(epoch=2), Controller(epoch=1)
        await driven.meet(newer)
        await driven.follows(newer, bench.other, sequence=1)
        for sequence in (2, 3):
            await driven.ignores(newer, bench.failsafe, epoch=1, sequence=sequence)
            await driven.follows(newer, bench.other, sequence=sequence)
        await driven.meet(older)
        await driven.ignores(older, bench.failsafe, epoch=1, sequence=1000)
        await driven.keeps(bench.other, "after commands of an older controller")
        await driven.meet(newer)
        await driven.follows(newer, bench.failsafe, sequence=4)
        return "the newer one alone, over one stream and over several"


class _Driven:
    """A device under the runtime, and the address at which its controllers are."""

    def __init__(self, bench: Bench, core: DeviceCore) -> None:
        self._bench = bench
        self._core = core
        self.address = Address()

    async def meet(self, controller: Controller) -> None:
        """Have the driver find this controller at the address, in the place of whoever was there."""
        before, self.address.controller = self.address.controller, controller
        controller.met.clear()
        if not self.address.listens:
            await self.address.listen()
        elif before is not None:
            await before.send_away()
        await _within(controller.met.wait(), CONNECTED_S, lambda: "no heartbeat", "the driver to connect again")

    async def follows(self, controller: Controller, target: Target, *, sequence: int) -> None:
        """A command is carried out."""
        id_ = await controller.say(target, epoch=controller.epoch, sequence=sequence)
        await _within(
            controller.heard(id_, DONE),
            self._bench.limit_s + self._bench.settle_s + 1.0,
            lambda: controller.last(id_),
            f"{target} done",
        )

    async def ignores(self, controller: Controller, target: Target, *, epoch: int, sequence: int) -> None:
        """A command is refused."""
        id_ = await controller.say(target, epoch=epoch, sequence=sequence)
        await _within(
            controller.heard(id_, REJECTED),
            self._bench.limit_s + self._bench.settle_s + 1.0,
            lambda: controller.last(id_),
            f"a command of the old epoch {epoch} rejected",
        )

    async def keeps(self, target: Target, when: str) -> None:
        """The device does this, in the readings of now."""
        await asyncio.sleep(3 * _POLL_S)
        reading = self._core.fresh_reading(BoottimeClock().now())
        if self._core.target != target or (reading is not None and obeys(reading, target) is False):
            raise NotShown(f"got {self._core.target}, read back {reading}, {when}, wanted {target}")


@asynccontextmanager
async def _driven(bench: Bench) -> AsyncIterator[_Driven]:
    """The bench's device served by the runtime, in its failsafe at the end."""
    clock, randomness = BoottimeClock(), Random(1)
    rules = GuardRules(bounds=FREE)
    switching = Switching(rules, None, boot_id="check", now=clock.now(), midnight_s=0.0)
    core = DeviceCore(rules=rules, failsafe=Fixed(target=bench.failsafe), switching=switching, timer=None)
    station = Station({NAME: core}, Gateway({NAME: FREE}, groups={}), lambda _: 0.0)

    def say(report: Report) -> None:
        link.say(report)

    device = ServedDevice(
        NAME,
        station=station,
        open_connection=bench.open,
        memory=None,
        clock=clock,
        say=say,
        poll_s=_POLL_S,
        timeout_s=bench.limit_s,
        randomness=randomness,
    )
    driven = _Driven(bench, core)
    await driven.address.listen()
    channel, stub = driven.address.connect()
    link = DeviceLink(
        NAME,
        station=station,
        stub=lambda: stub,
        clock=clock,
        wake=device.wake,
        interval_s=1.0,
        telemetry_s=1.0,
        patience_s=CONNECTED_S,
        randomness=randomness,
        take_limit=lambda _: None,
        believes=lambda _: False,
    )
    serving = asyncio.create_task(device.run())
    linking = asyncio.create_task(link.run())
    try:
        yield driven
    finally:
        device.release()
        await asyncio.wait({serving}, timeout=2 * bench.limit_s)
        for task in (serving, linking):
            task.cancel()
        await asyncio.gather(serving, linking, return_exceptions=True)
        await channel.close()
        await driven.address.end()


async def _within(wait: Awaitable[object], seconds: float, got: Callable[[], str], wanted: str) -> None:
    try:
        async with asyncio.timeout(seconds):
            await wait
    except TimeoutError as err:
        raise NotShown(f"got {got()} in {seconds:g} s, wanted {wanted}") from err
