"""A driver process: every device of a configuration served over one channel, until it is told to stop."""

import asyncio
import fcntl
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

from device_drivers.address import DeviceUrl
from device_drivers.clock import BoottimeClock, Clock
from device_drivers.config import DeviceSection, DriverConfig, until_midnight_s
from device_drivers.connection import Connection, Driver
from device_drivers.core import DeviceCore
from device_drivers.counting import ClosedTime, CountedConnection
from device_drivers.errors import InvalidValueError, UnfitError
from device_drivers.failsafe import at_rest
from device_drivers.gateway import Gateway
from device_drivers.link import DeviceLink
from device_drivers.memory import MemoryFile, boot_id
from device_drivers.messages import read_group_limit
from device_drivers.refusal import Refused
from device_drivers.report import Report
from device_drivers.schemes import driver_for
from device_drivers.served import ServedDevice
from device_drivers.setpoint import Target
from device_drivers.signed_limits import DEFAULT_ENVELOPE, ENVELOPE, GroupLimit, LimitBook, read_key
from device_drivers.station import Station, check_ramp
from device_drivers.switching import Switching
from device_drivers.uplink import Uplink
from gridpact.v1 import driver_pb2, types_pb2

log = logging.getLogger(__name__)

LIMITS_S = 0.5
"""s between two looks at which limits have expired, at most: a machine may sleep meanwhile."""
SOONEST_S = 0.001
"""s between two looks, at least."""
LAST_WORDS_S = 0.5
"""s that reports have to reach the controller when the driver stops."""


class Driving:
    """The parts of a driver process, put together and not yet running.

    Parameters
    ----------
    config : DriverConfig
        What to drive.
    uplink : Uplink
        The channel.
    clock : Clock
        The driver's.
    randomness : random.Random
        Spreads attempts.
    drivers : callable
        Gives the driver of a scheme.

    Raises
    ------
    InvalidValueError
        If the configuration contradicts itself, or names no driver that is there.
    """

    def __init__(
        self,
        config: DriverConfig,
        uplink: Uplink,
        *,
        clock: Clock | None = None,
        randomness: Random | None = None,
        drivers: Callable[[str], Driver] = driver_for,
    ) -> None:
        self._config = config
        self._uplink = uplink
        self._clock = BoottimeClock() if clock is None else clock
        self._randomness = Random() if randomness is None else randomness
        zone = ZoneInfo(config.time_zone)
        self._lock = lock_state(config.state)
        memories = {
            device.name: MemoryFile(config.state / "devices", device.name)
            for device in config.devices
            if device.rules().remembers
        }
        boot, now, utc = boot_id(), self._clock.now(), self._clock.utc()
        cores, rested = {}, []
        for device in config.devices:
            rules = device.rules()
            memory = memories[device.name].load() if device.name in memories else None
            midnight_s = until_midnight_s(zone, utc)
            switching = Switching(rules, memory, boot_id=boot, now=now, midnight_s=midnight_s)
            if memory is None and (until := switching.held_until(now)) is not None:
                rested.append((until, device.name))
            cores[device.name] = DeviceCore(
                rules=rules, failsafe=device.failsafe.value(), switching=switching, timer=None
            )
        if rested:
            until, last = max(rested)
            log.warning(
                "%d of the devices have no memory in %s: they count as just switched, every start used up; "
                "the last of them, %s, may start at %s",
                len(rested),
                config.state,
                last,
                (utc + timedelta(seconds=until - now)).astimezone(zone).isoformat(timespec="seconds"),
            )
        check_ramp(cores, config.ramp_w_per_10s)
        gateway = Gateway(
            {device.name: device.bounds.value() for device in config.devices},
            groups={limit.group: limit.devices or tuple(cores) for limit in config.limits},
            interlocks=config.interlocks,
            trusted_s=max(10.0, 3 * max(device.poll_s for device in config.devices)),
            ramp_w_per_10s=config.ramp_w_per_10s,
        )
        self.station = Station(cores, gateway, partial(until_midnight_s, zone))
        self._mistakes: dict[str, InvalidValueError] = {}
        self._ended = asyncio.Event()
        self._identities = {limit.group: limit.driver for limit in config.limits}
        self._limits = LimitBook(
            {key_id: read_key(path) for key_id, path in config.dso_keys.items()},
            {limit.group: limit.default.value() for limit in config.limits},
            config.state / "limits.json",
        )
        found: dict[str, Driver] = {}
        self.devices: dict[str, ServedDevice] = {}
        self.links: dict[str, DeviceLink] = {}
        for device in config.devices:
            address = DeviceUrl.parse(device.url)
            if address.scheme not in found:
                found[address.scheme] = _driver(drivers, address.scheme)
            served = ServedDevice(
                device.name,
                station=self.station,
                open_connection=_opener(
                    found[address.scheme],
                    address,
                    device,
                    ClosedTime(config.state / "closed", device.name, self._clock),
                    self._mistaken,
                ),
                memory=memories.get(device.name),
                clock=self._clock,
                say=partial(self._say, device.name),
                poll_s=device.poll_s,
                timeout_s=device.timeout_s,
                randomness=self._randomness,
            )
            self.devices[device.name] = served
            self.links[device.name] = DeviceLink(
                device.name,
                station=self.station,
                stub=uplink.stub,
                clock=self._clock,
                wake=served.wake,
                interval_s=config.heartbeat_s,
                telemetry_s=config.telemetry_s,
                patience_s=config.patience_s,
                randomness=self._randomness,
                take_limit=self.take_limit,
                believes=self.believes,
            )
        absent = [one for one in found.values() if isinstance(one, _Absent)]
        if len(absent) == len(found):
            raise absent[0].why
        self._apply_limits()

    def take_limit(self, signed: types_pb2.Signed) -> None:
        """Let a limit of the grid operator hold, where it is one, and is fresh and new."""
        if not self._identities:
            return
        if not self._limits.verifies(signed.payload, signed.signature, signed.key_id):
            log.error("limit: got a signature of key %r that does not verify: it does not count", signed.key_id)
            return
        limit = read_group_limit(signed.payload)
        if isinstance(limit, GroupLimit) and self._identities.get(limit.group) != limit.driver:
            return  # of a group of another driver
        try:
            refused = (
                limit if isinstance(limit, Refused) else self._limits.take(limit, self._clock.now(), self._clock.utc())
            )
        except OSError as err:
            log.error("limit: its counter cannot be kept, so it does not count: %s", err)  # noqa: TRY400
            return
        if refused is not None:
            log.warning("limit: %s", refused.reason)
        self._apply_limits()

    def believes(self, command: driver_pb2.Command) -> bool:
        """Whether a limit made a command smaller, as it says: where the operator's key is known, it has to have signed.

        Otherwise whoever has the controller could switch devices off within their minimum times.
        """
        return not self._limits.knows_operator or any(
            self._limits.verifies(signed.payload, signed.signature, signed.key_id, kind)
            for signed in command.limits
            for kind in (ENVELOPE, DEFAULT_ENVELOPE)
        )

    def _apply_limits(self) -> None:
        now = self._clock.now()
        for group in self._identities:
            for name in self.station.limit(group, self._limits.bounds(group, now)):
                self.devices[name].wake()

    async def _watch_limits(self) -> NoReturn:
        """Have defaults hold when limits expire."""
        while True:
            end = self._limits.next_end()
            left_s = LIMITS_S if end is None else end - self._clock.now()
            await asyncio.sleep(min(LIMITS_S, max(SOONEST_S, left_s)))
            self._apply_limits()

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve until told to stop; then every device is told its failsafe, as far as it answers in time.

        Raises
        ------
        InvalidValueError
            If nothing is left to be driven: the address or the options of each device were found to be wrong when it
            was first connected to.
        """
        told = asyncio.create_task(stopping.wait())
        told.add_done_callback(lambda _: self._ended.set())
        try:
            await self._serve()
        finally:
            told.cancel()
        if len(self._mistakes) == len(self.devices):
            name, mistake = next(iter(self._mistakes.items()))
            raise InvalidValueError(f"{name}: {mistake}") from mistake

    def _mistaken(self, name: str, err: InvalidValueError) -> None:
        """Say that a device is wrong in the configuration, or not what that says; end where no other is left."""
        log.error("%s: it cannot be driven: %s", name, " ".join(str(err).split()))
        self._mistakes[name] = err
        if len(self._mistakes) == len(self.devices):
            self._ended.set()

    async def _serve(self) -> None:
        serving = [asyncio.create_task(device.run(), name=name) for name, device in self.devices.items()]
        linking: list[asyncio.Task[NoReturn]] = [
            asyncio.create_task(link.run(), name=name) for name, link in self.links.items()
        ]
        if self._identities:
            linking.append(asyncio.create_task(self._watch_limits(), name="limits"))
        try:
            await self._ended.wait()
            log.info("stopping: %d devices go to their failsafes", len(serving))
            for device in self.devices.values():
                device.release()
            _, late = await asyncio.wait(serving, timeout=self._config.stop_s)
            for task in late:
                log.warning("%s: it did not take its failsafe in time", task.get_name())
            await asyncio.sleep(LAST_WORDS_S)
        finally:
            for task in [*serving, *linking]:
                task.cancel()
            await asyncio.gather(*serving, *linking, return_exceptions=True)
            await self._uplink.close()
            os.close(self._lock)

    def _say(self, name: str, report: Report) -> None:
        self.links[name].say(report)


class _Absent:
    """In the place of a driver that is not there: its devices fail, and the others' go on.

    Parameters
    ----------
    why : InvalidValueError
        Why it is not.
    """

    def __init__(self, why: InvalidValueError) -> None:
        self.why = why

    async def open(self, address: DeviceUrl, *, failsafe: Target, options: Mapping[str, Any]) -> Connection:
        """Never a connection."""
        del address, failsafe, options
        raise InvalidValueError(str(self.why))


def _driver(drivers: Callable[[str], Driver], scheme: str) -> Driver:
    try:
        return drivers(scheme)
    except InvalidValueError as err:
        return _Absent(err)


def _opener(
    driver: Driver,
    address: DeviceUrl,
    device: DeviceSection,
    closed_time: ClosedTime,
    mistaken: Callable[[str, InvalidValueError], None],
) -> Callable[[], Awaitable[Connection]]:
    """What opens a device's connection.

    What is wrong at the first attempt is said to `mistaken`, unless that is only who dialled. It is tried again all the
    same: a device may have been changed for another.
    """
    attempts = count()
    options = MappingProxyType({**address.query, **device.options})
    failsafe = at_rest(device.failsafe.value())

    async def open_connection() -> Connection:
        first = next(attempts) == 0
        try:
            connection = await driver.open(address, failsafe=failsafe, options=options)
        except InvalidValueError as err:
            if first and not isinstance(err, UnfitError):
                mistaken(device.name, err)
            raise
        return CountedConnection(connection, closed_time)

    return open_connection


def lock_state(folder: Path) -> int:
    """The lock of a folder, as a file descriptor: two drivers would forget each other's switchings.

    Raises
    ------
    InvalidValueError
        If the folder cannot be written, or another driver has it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as err:
        raise InvalidValueError(f"state: {folder}: cannot be written: {err.strerror}") from err
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as err:
        os.close(lock)
        raise InvalidValueError(f"state: {folder}: another driver has it, wanted a folder of its own") from err
    return lock


def read_credentials(folder: Path, identity: str) -> tuple[bytes, bytes, bytes]:
    """PEM of the authority, the driver's certificate and its key.

    Raises
    ------
    InvalidValueError
        If a file is missing or cannot be read; names it.
    """
    found: list[bytes] = []
    for name in ("ca.pem", f"{identity}.pem", f"{identity}.key"):
        try:
            found.append((folder / name).read_bytes())
        except OSError as err:
            raise InvalidValueError(f"pki: {folder / name}: cannot be read: {err.strerror}") from err
        if b"-----BEGIN " not in found[-1]:
            raise InvalidValueError(f"pki: {folder / name}: got no PEM, wanted a certificate or key")
    return found[0], found[1], found[2]
