"""What is asked of every driver. Each check is a function of the bench: it returns what was seen, or raises.

Each opens the device itself, and starts and leaves it in its failsafe.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from device_drivers.conformance.bench import Bench
from device_drivers.conformance.controlled import follows_one_of_two, survives_its_controller
from device_drivers.conformance.link import Trouble
from device_drivers.conformance.result import NotAsked, NotShown
from device_drivers.connection import Connection, Timer
from device_drivers.device import Reading, obeys
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.setpoint import Power, ProductionLimit, RelayState, Target

Check = Callable[[Bench], Awaitable[str]]

_T = TypeVar("_T")

_KINDS = frozenset[type]((RelayState, Power, ProductionLimit))

_POLL_S = 0.05


async def describes(bench: Bench) -> str:
    """It says what the device can do, and takes the targets that it is checked with."""
    async with _opened(bench) as connection:
        can = connection.capabilities
        if not can.targets or not can.targets <= _KINDS:
            raise NotShown(f"got the targets {_names(can.targets)}, wanted some of those that there are")
        if {type(bench.failsafe), type(bench.other)} - can.targets:
            raise NotShown(f"got the targets {_names(can.targets)}, wanted {bench.failsafe} among them")
        timer = "no timer of its own" if can.timer is None else f"own timer {can.timer.shortest_s:g} s and more"
        power = "measures power" if can.measures_power else "measures no power"
        return f"{_names(can.targets)}; {timer}; {power}"


async def sets(bench: Bench) -> str:
    """It does what it is told, and reads back as it does."""
    async with _opened(bench) as connection:
        for target in (bench.other, bench.failsafe, bench.other):
            await _call(bench, connection.apply(target, revert_after_s=None))
            reading = await _settled(bench, connection, target)
            if reading is not None and isinstance(target, RelayState) and reading.relay_closed is None:
                raise NotShown(f"got {reading} of a relay that can be read, wanted whether it is closed")
        if reading is None:
            return "told; cannot be read back"
        power = "" if reading.power_w is None else f" at {reading.power_w} W"
        if obeys(reading, bench.other) is None:
            return f"told; what is read{power} does not say whether it obeys"
        return f"told and read back{power}"


async def refuses(bench: Bench) -> str:
    """It says no to what it cannot do, and does not do it."""
    async with _opened(bench) as connection:
        foreign = [
            one
            for one in (RelayState(closed=True), Power(power_w=1), ProductionLimit(limit_w=1))
            if type(one) not in connection.capabilities.targets
        ]
        for target in foreign:
            await _refused(bench, connection, target, None)
        if connection.capabilities.timer is not None:
            short_s = connection.capabilities.timer.shortest_s + connection.capabilities.timer.resolution_s
            await _refused(bench, connection, bench.other, short_s / 1000)
        await _settled(bench, connection, bench.failsafe)
        return f"{len(foreign)} kinds of target" + (
            "" if connection.capabilities.timer is None else ", a lease too short for its timer"
        )


async def refuses_options(bench: Bench) -> str:
    """It says no to an option that it does not know."""
    try:
        connection = await _call(
            bench, bench.driver.open(bench.address, failsafe=bench.failsafe, options={**bench.options, "unknown!": "1"})
        )
    except InvalidValueError as err:
        if "unknown!" not in str(err):
            raise NotShown(f"got {err}, wanted the option named") from err
        return str(err)[:100]
    await connection.aclose()
    raise NotShown("got a connection with the option 'unknown!', wanted it refused")


async def keeps(bench: Bench) -> str:
    """Opening a device and letting go of it switches nothing."""
    if not bench.lasting:
        raise NotAsked("the device lives in the driver")
    async with _opened(bench) as connection:
        await _call(bench, connection.apply(bench.other, revert_after_s=None))
        await _settled(bench, connection, bench.other)
        await connection.aclose()
        again = await _call(bench, bench.open())
        try:
            await _settled(bench, again, bench.other)
        finally:
            await again.aclose()
        return "the same after the driver was started anew"


async def refreshes_and_expires(bench: Bench) -> str:
    """A lease that is renewed holds; one that is not ends in the failsafe, whether the driver lives or not."""
    async with _opened(bench) as connection:
        timer = connection.capabilities.timer
        if timer is None:
            raise NotAsked("no timer of its own: where its driver dies, it stays as it is")
        span_s = _span_s(bench, timer)
        loop = asyncio.get_running_loop()
        await _call(bench, connection.apply(bench.other, revert_after_s=span_s))
        started = loop.time()
        await asyncio.sleep(span_s / 2)
        await _call(bench, connection.apply(bench.other, revert_after_s=span_s))
        renewed = loop.time()
        # Between the end of the first lease and the earliest end of the second.
        await asyncio.sleep(started + span_s - loop.time())
        between_s = (renewed + _least_s(bench, timer, span_s) - loop.time()) / 2
        await asyncio.sleep(max(0.0, between_s))
        if await _obeys(bench, connection, bench.other) is False:
            raise NotShown(f"got the failsafe at the end of the first {span_s:g} s, wanted them renewed")
        if not bench.lasting:
            await asyncio.sleep(renewed + span_s + bench.late_s - loop.time())
            await _reads_at_once(bench, connection, bench.failsafe, "once its lease was over")
            return f"renewed after {span_s / 2:.1f} s, in the failsafe when {span_s:.1f} s were over"
        await connection.aclose()
        await _without_driver(bench, renewed + span_s + bench.late_s - loop.time())
        again = await _reached(bench)
        try:
            await _reads_at_once(bench, again, bench.failsafe, "once the lease of a driver that is gone was over")
        finally:
            await again.aclose()
        return f"renewed after {span_s / 2:.1f} s; its driver gone, in the failsafe when {span_s:.1f} s were over"


def loses(trouble: Trouble) -> Check:
    """The check that this trouble is told, not guessed around, and got over."""

    async def check(bench: Bench) -> str:
        if bench.troubles is None or trouble not in bench.possible:
            raise NotAsked("no way to make this trouble here")
        async with _opened(bench) as connection:
            await bench.troubles.set(trouble)
            try:
                if trouble is Trouble.HALF:
                    # A whole answer may come with what is said unasked behind it, and only that be halved.
                    await _give_up(connection.read(), bench.limit_s)
                told = await _fails(bench, connection.read(), "read")
                await _fails(bench, connection.apply(bench.other, revert_after_s=None), "told")
            finally:
                await bench.troubles.set(None)
            await _recovers(bench, connection)
            if trouble in {Trouble.CUT, Trouble.SILENT}:
                # What was given up must not act when the network finds its way again.
                await asyncio.sleep(2 * bench.late_s)
                await _reads_at_once(bench, connection, bench.failsafe, "after a command that was given up")
            for target in (bench.other, bench.failsafe):
                await _call(bench, connection.apply(target, revert_after_s=None))
                await _settled(bench, connection, target)
            return told

    return check


async def survives_cancelling(bench: Bench) -> str:
    """A call that is given up half-way leaves the connection usable."""
    async with _opened(bench) as connection:
        for _ in range(3):
            await _give_up(connection.read())
            await _give_up(connection.apply(bench.failsafe, revert_after_s=None))
        await _recovers(bench, connection)
        await _call(bench, connection.apply(bench.other, revert_after_s=None))
        await _settled(bench, connection, bench.other)
        return ""


async def loses_power(bench: Bench) -> str:
    """A device that lost its power is read as it is, and obeys again."""
    if bench.power_cycle is None:
        raise NotAsked("nobody here to take its power")
    async with _opened(bench) as connection:
        await _call(bench, connection.apply(bench.other, revert_after_s=None))
        await _settled(bench, connection, bench.other)
        await bench.power_cycle()
        await _recovers(bench, connection)
        seen = await _obeys(bench, connection, bench.other)
        again = await _call(bench, bench.open())
        try:
            if await _obeys(bench, again, bench.other) is not seen:
                raise NotShown("got what it did before, wanted what it does since its power is back")
        finally:
            await again.aclose()
        await _call(bench, connection.apply(bench.other, revert_after_s=None))
        await _settled(bench, connection, bench.other)
        return f"came back {'as it was' if seen else 'in its power-on state'}, and obeys"


async def lets_go(bench: Bench) -> str:
    """A connection may be closed twice, and under trouble."""
    connection = await _call(bench, bench.open())
    await _call(bench, connection.aclose())
    await _call(bench, connection.aclose())
    if bench.troubles is None or Trouble.SILENT not in bench.possible:
        return "twice"
    connection = await _call(bench, bench.open())
    await bench.troubles.set(Trouble.SILENT)
    try:
        await _call(bench, connection.aclose())
    finally:
        await bench.troubles.set(None)
    return "twice, and while nothing gets through"


CHECKS: tuple[tuple[str, Check], ...] = (
    ("describe", describes),
    ("set, read back", sets),
    ("refuse", refuses),
    ("refuse options", refuses_options),
    ("restart driver", keeps),
    ("refresh, expire", refreshes_and_expires),
    ("lose link", loses(Trouble.CUT)),
    ("silence", loses(Trouble.SILENT)),
    ("slow", loses(Trouble.SLOW)),
    ("garbage", loses(Trouble.GARBAGE)),
    ("half frames", loses(Trouble.HALF)),
    ("cancel", survives_cancelling),
    ("restart controller", survives_its_controller),
    ("two controllers", follows_one_of_two),
    ("lose power", loses_power),
    ("close", lets_go),
)
"""Every check with its name, in the order in which they are run."""


def _least_s(bench: Bench, timer: Timer, seconds: float) -> float:
    """The shortest time in s that a timer may be set to for a lease of so many."""
    return seconds - timer.resolution_s - bench.round_trip_s


def _span_s(bench: Bench, timer: Timer) -> float:
    """A lease that the timer can keep, and whose half is longer than what it may lose to rounding."""
    lost_s = timer.resolution_s + 4 * bench.round_trip_s
    return max(timer.shortest_s, lost_s) + lost_s


@asynccontextmanager
async def _opened(bench: Bench) -> AsyncIterator[Connection]:
    """A connection to the device, which is in its failsafe before and after."""
    connection = await _call(bench, bench.open())
    try:
        await _call(bench, connection.apply(bench.failsafe, revert_after_s=None))
        await _settled(bench, connection, bench.failsafe)
        yield connection
    finally:
        await connection.aclose()
        if bench.lasting:
            last = await _call(bench, bench.open())
            try:
                await _call(bench, last.apply(bench.failsafe, revert_after_s=None))
            finally:
                await last.aclose()


async def _call(bench: Bench, call: Awaitable[_T]) -> _T:
    """What a call returns, which must not take longer than the limit."""
    try:
        async with asyncio.timeout(bench.limit_s):
            return await call
    except TimeoutError as err:
        raise NotShown(f"got no end of a call in {bench.limit_s:g} s, wanted its result") from err


async def _without_driver(bench: Bench, seconds: float) -> None:
    """Let time pass in which nothing of a driver reaches the device: what it left running is no timer of the device."""
    if bench.troubles is None or Trouble.CUT not in bench.possible:
        await asyncio.sleep(seconds)
        return
    await bench.troubles.set(Trouble.CUT)
    try:
        await asyncio.sleep(seconds)
    finally:
        await bench.troubles.set(None)


async def _reached(bench: Bench) -> Connection:
    """A connection to a device whose network has just come back."""
    deadline = asyncio.get_running_loop().time() + bench.limit_s + bench.settle_s
    while True:
        try:
            return await _call(bench, bench.open())
        except DeviceError as err:
            if asyncio.get_running_loop().time() >= deadline:
                raise NotShown(f"got {err} after the network was back, wanted a connection") from err
            await asyncio.sleep(_POLL_S)


async def _give_up(call: Awaitable[object], after_s: float = 0.0) -> None:
    """Let a call begin, and cancel it where it has not ended after a while."""
    task = asyncio.ensure_future(call)
    await asyncio.wait({task}, timeout=after_s)
    task.cancel()
    # Whatever it raises: what counts is what comes after.
    await asyncio.gather(task, return_exceptions=True)


async def _fails(bench: Bench, call: Awaitable[object], what: str) -> str:
    """How a call fails that cannot succeed: by itself, or by being given up."""
    try:
        async with asyncio.timeout(bench.limit_s):
            got = await call
    except DeviceError as err:
        return str(err)[:100]
    except TimeoutError:
        return f"does not end by itself, and can be given up after {bench.limit_s:g} s"
    raise NotShown(f"got {got} of a device that cannot be {what}, wanted a DeviceError")


async def _refused(bench: Bench, connection: Connection, target: Target, revert_after_s: float | None) -> None:
    try:
        await _call(bench, connection.apply(target, revert_after_s=revert_after_s))
    except DeviceError:
        return
    lease = "" if revert_after_s is None else f" for {revert_after_s:g} s"
    raise NotShown(f"got a yes to {target}{lease}, wanted a DeviceError")


async def _recovers(bench: Bench, connection: Connection) -> None:
    """Wait until the device is read again over the same connection."""
    deadline = asyncio.get_running_loop().time() + bench.limit_s + bench.settle_s
    while True:
        try:
            await _call(bench, connection.read())
        except DeviceError as err:
            if asyncio.get_running_loop().time() >= deadline:
                raise NotShown(f"got {err} after the trouble was over, wanted a reading") from err
            await asyncio.sleep(_POLL_S)
        else:
            return


async def _obeys(bench: Bench, connection: Connection, target: Target) -> bool | None:
    if not connection.capabilities.reads_state:
        return None
    return obeys(await _call(bench, connection.read()), target)


async def _settled(bench: Bench, connection: Connection, target: Target) -> Reading | None:
    """The reading that says that the device does this; None where no reading can say it."""
    if not connection.capabilities.reads_state:
        return None
    loop = asyncio.get_running_loop()
    deadline = loop.time() + bench.settle_s
    while True:
        reading = await _call(bench, connection.read())
        if connection.capabilities.measures_power and reading.power_w is None:
            raise NotShown(f"got {reading} of a device that measures power, wanted its power")
        if obeys(reading, target) is not False:
            return reading
        if loop.time() >= deadline:
            raise NotShown(f"got {reading} {bench.settle_s:g} s after {target}, wanted that")
        await asyncio.sleep(_POLL_S)


async def _reads_at_once(bench: Bench, connection: Connection, target: Target, when: str) -> None:
    if await _obeys(bench, connection, target) is False:
        raise NotShown(f"got {await _call(bench, connection.read())} {when}, wanted {target}")


def _names(targets: frozenset[type]) -> str:
    return ", ".join(sorted(one.__name__ for one in targets)) or "none"
