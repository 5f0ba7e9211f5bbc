"""What is checked: a device, how it is opened, and the ways in which it can be troubled."""

import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Protocol

from device_drivers.address import DeviceUrl
from device_drivers.conformance.link import FaultyLink, Trouble
from device_drivers.connection import Connection, Driver, Listening
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.schemes import driver_for
from device_drivers.setpoint import Power, ProductionLimit, RelayState, Target
from device_drivers.simulated.driver import SimulatedConnection
from device_drivers.simulated.fault import Fault

LIMIT_S = 10.0
"""s after which a call counts as one that does not answer, unless told otherwise."""

SETTLE_S = 5.0
"""s that a device may take to do what it said yes to, unless told otherwise."""


class Troubles(Protocol):
    """Makes trouble between a driver and its device."""

    async def set(self, trouble: Trouble | None) -> None:
        """Have this trouble from now on; None has none."""

    async def aclose(self) -> None:
        """End it, and what it holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A device to be checked.

    Attributes
    ----------
    driver : Driver
        Opens it.
    address : DeviceUrl
        Where it is, by way of what troubles it.
    options : mapping
        As `Driver.open` takes them.
    failsafe, other : Target
        Two targets of one kind that it takes, and can be told apart by. The first is what its timer ends in.
    troubles : Troubles or None
        Makes trouble; None where none can be made.
    possible : frozenset of Trouble
        Which.
    lasting : bool
        Whether the device outlives a connection to it; one that is simulated in this process does not.
    power_cycle : callable or None
        Takes the device's power and gives it back; None where that needs a hand.
    limit_s : float
        s after which a call counts as one that does not answer.
    settle_s : float
        s that the device may take to do what it said yes to.
    round_trip_s : float
        s that setting its timer may take off what it is set to.
    late_s : float
        s after which its timer, when it has ended, must have acted.
    """

    driver: Driver
    address: DeviceUrl
    options: Mapping[str, Any]
    failsafe: Target
    other: Target
    troubles: Troubles | None
    possible: frozenset[Trouble]
    lasting: bool = True
    power_cycle: Callable[[], Awaitable[None]] | None = None
    limit_s: float = LIMIT_S
    settle_s: float = SETTLE_S
    round_trip_s: float = 0.1
    late_s: float = 0.5

    async def open(self) -> Connection:
        """A connection to the device; raises as `Driver.open` does."""
        connection = await self.driver.open(self.address, failsafe=self.failsafe, options=self.options)
        if isinstance(self.troubles, _SimulatedTroubles) and isinstance(connection, SimulatedConnection):
            self.troubles.connections.append(connection)
        return connection


async def open_bench(
    address: DeviceUrl,
    *,
    driver: Driver | None = None,
    power_w: int = 1000,
    limit_s: float = LIMIT_S,
    settle_s: float = SETTLE_S,
    power_cycle: Callable[[], Awaitable[None]] | None = None,
    randomness: Random | None = None,
) -> Bench:
    """A bench for the device at an address: opened once, to learn what it takes; nothing is switched.

    Parameters
    ----------
    address : DeviceUrl
        Its query holds the driver's options.
    driver : Driver, optional
        The one of the address's scheme where it is left out.
    power_w : int
        W that a device is told that takes a power or a limit; its failsafe is 0 W.
    limit_s, settle_s, power_cycle
        As `Bench` has them.
    randomness : Random, optional
        Makes garbage.

    Raises
    ------
    InvalidValueError
        If the address or an option is wrong, or nobody serves the scheme.
    DeviceError
        If the device cannot be reached.
    """
    driver = driver_for(address.scheme) if driver is None else driver
    random = Random(1) if randomness is None else randomness
    link, through = await _link(driver, address, random, delay_s=1.5 * limit_s)
    try:
        failsafe, other = await _kind(driver, through, power_w)
    except BaseException:
        if link is not None:
            await link.aclose()
        raise
    bench = Bench(
        driver=driver,
        address=through,
        options=address.query,
        failsafe=failsafe,
        other=other,
        troubles=link,
        possible=frozenset() if link is None else frozenset(Trouble),
        power_cycle=power_cycle,
        limit_s=limit_s,
        settle_s=settle_s,
    )
    if address.scheme == "simulated":
        return replace(bench, troubles=_SimulatedTroubles(), possible=frozenset({Trouble.SILENT}), lasting=False)
    return bench


async def _link(
    driver: Driver, address: DeviceUrl, randomness: Random, *, delay_s: float
) -> tuple[FaultyLink | None, DeviceUrl]:
    """What stands between driver and device, and the address at which the driver finds it; None where nothing can."""
    port = address.port or getattr(driver, "default_port", None)
    if port is None or address.scheme == "simulated":
        return None, address
    if not isinstance(driver, Listening) or not driver.listens(address):
        link = FaultyLink(address.host, port, randomness=randomness, delay_s=delay_s)
        return link, replace(address, host="127.0.0.1", port=await link.start())
    # Devices go on dialling what the URL says; the driver is told a port that nobody else knows.
    with socket.create_server(("127.0.0.1", 0)) as free:
        own = free.getsockname()[1]
    at = (address.host, port)
    link = FaultyLink("127.0.0.1", own, randomness=randomness, delay_s=delay_s, at=at, device_dials=True)
    try:
        await link.start()
    except OSError as err:
        raise DeviceError(f"{address}: cannot be listened on: {err.strerror or err}") from err
    return link, replace(address, host="127.0.0.1", port=own)


async def _kind(driver: Driver, address: DeviceUrl, power_w: int) -> tuple[Target, Target]:
    """Two targets of the first kind that the device takes."""
    kinds: tuple[tuple[Target, Target], ...] = (
        (RelayState(closed=False), RelayState(closed=True)),
        (Power(power_w=0), Power(power_w=power_w)),
        (ProductionLimit(limit_w=0), ProductionLimit(limit_w=power_w)),
    )
    refused: list[InvalidValueError] = []
    for failsafe, other in kinds:
        try:
            connection = await driver.open(address, failsafe=failsafe, options=address.query)
        except InvalidValueError as err:
            refused.append(err)
            continue
        try:
            if type(failsafe) in connection.capabilities.targets:
                return failsafe, other
        finally:
            await connection.aclose()
    # What is wrong with every kind is wrong with the address; of the rest each names another failsafe.
    for refusal in refused:
        if not str(refusal).startswith("failsafe"):
            raise refusal
    raise InvalidValueError(f"url: {address} takes none of the kinds of target that there are") from (
        refused[0] if refused else None
    )


class _SimulatedTroubles:
    """A simulated device has no network to trouble: it is mute."""

    def __init__(self) -> None:
        self.connections: list[SimulatedConnection] = []

    async def set(self, trouble: Trouble | None) -> None:
        for connection in self.connections:
            connection.fail(None if trouble is None else Fault.MUTE)

    async def aclose(self) -> None:
        self.connections.clear()
