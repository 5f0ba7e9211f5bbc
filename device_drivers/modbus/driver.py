"""What a target means in a device's registers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from device_drivers.address import DeviceUrl
from device_drivers.arming import Arming
from device_drivers.connection import Capabilities
from device_drivers.device import Reading
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.modbus.field import Field
from device_drivers.modbus.reading_map import SHIPPED, read_map, read_shipped
from device_drivers.modbus.register_map import RegisterMap, Role, messages
from device_drivers.modbus.sunspec import find_map
from device_drivers.modbus.transport import Place, Transport
from device_drivers.options import Options
from device_drivers.setpoint import Target

PORT = 502
SUNSPEC = "sunspec"

_PATIENCE_S = 3.0


class ModbusDriver:
    """Opens ``modbus://HOST[:PORT]/UNIT?map=NAME``."""

    default_port = PORT

    async def open(self, address: DeviceUrl, *, failsafe: Target, options: Mapping[str, Any]) -> "ModbusConnection":
        """A connection to a device; it switches nothing.

        Raises
        ------
        InvalidValueError
            If the map, an option or the unit is wrong, or the map does not take the failsafe's kind of target.
        DeviceError
            If the device cannot be reached, or is no SunSpec device where one is wanted.
        """
        read = Options(options)
        name = read.text("map")
        rated_w = read.integer("rated_w", least=1, most=10**9) if read.has("rated_w") else None
        channel = read.integer("channel", 0, least=0, most=255)
        place = Place(
            host=address.host,
            port=address.port or PORT,
            unit=_unit(address),
            rtu=read.choice("framing", ("tcp", "rtu"), "tcp") == "rtu",
            patience_s=read.number("timeout_s", _PATIENCE_S, least=0.01, most=60),
        )
        read.done()
        found = None if name == SUNSPEC else _file_map(name, rated_w, channel)
        transport = Transport(place)
        try:
            if found is None:
                found = await find_map(transport, type(failsafe), rated_w)
            connection = ModbusConnection(transport, found, failsafe)
            await connection.read()
        except BaseException:
            transport.close()
            raise
        return connection


class ModbusConnection:
    """A device behind its register map.

    Parameters
    ----------
    transport : Transport
        To the device.
    registers : RegisterMap
        What they mean.
    failsafe : Target
        What its timer shall end in.

    Raises
    ------
    InvalidValueError
        If the failsafe is of another kind than the map takes.
    """

    def __init__(self, transport: Transport, registers: RegisterMap, failsafe: Target) -> None:
        if type(failsafe) is not registers.takes:
            raise InvalidValueError(f"failsafe: got {failsafe}, wanted a {registers.takes.__name__}, as the map takes")
        self._transport = transport
        self._map = registers
        self._failsafe = failsafe
        timer = registers.timer_for(failsafe)
        self._arming = None if timer is None else Arming(timer)
        self._capabilities = Capabilities(
            targets=frozenset({registers.takes}),
            timer=timer,
            measures_power=registers.power is not None,
            reads_state=registers.relay is not None or registers.power is not None,
        )

    @property
    def capabilities(self) -> Capabilities:
        """What the map says."""
        return self._capabilities

    async def apply(self, target: Target, *, revert_after_s: float | None) -> None:
        """Write the target with what its timer ends in and when, and read back that it stands."""
        if type(target) is not self._map.takes:
            raise DeviceError(f"modbus: got {target}, wanted a {self._map.takes.__name__}, as the map takes")
        if self._arming is None or revert_after_s is None or target == self._failsafe:
            await self._write(target, 0)
        else:
            await self._arming.arm(revert_after_s, lambda seconds: self._write(target, seconds))

    async def read(self) -> Reading:
        """What the relay and the meter say."""
        power = None if self._map.power is None else round(await self._value(self._map.power))
        closed = None
        if self._map.relay is not None:
            state = await self._value(self._map.relay)
            if state not in {0, 1}:
                raise DeviceError(f"modbus: {self._map.relay.name}: got {state:g}, wanted 0 or 1")
            closed = state == 1
        return Reading(power_w=power, relay_closed=closed, closed_s=None if closed is not None else 0, stored_wh=None)

    async def aclose(self) -> None:
        """End the connection."""
        self._transport.close()

    async def _write(self, target: Target, timer_s: float) -> None:
        values = {
            Role.TARGET: self._map.value(target),
            Role.REVERT: self._map.value(self._failsafe),
            Role.TIMER: timer_s,
        }
        encoded = [(one, one.field.encode(values.get(one.role, one.value))) for one in self._map.writes]
        told = messages([(one.field, registers) for one, registers in encoded])
        if timer_s == 0 and len(told) > 1:
            # A timer runs before what it is to end; what is to last stands before its timer is stopped.
            encoded.sort(key=lambda pair: pair[0].role is Role.TIMER)
            told = messages([(one.field, registers) for one, registers in encoded])
        for field, registers in told:
            await self._transport.write(field, registers)
        # Devices say yes to writes that they override or drop. Timers alone run down meanwhile.
        running = {
            (one.field.table, one.field.address + step)
            for one in self._map.writes
            if one.role is Role.TIMER
            for step in range(one.field.count)
        }
        for field, registers in told:
            kept = await self._transport.read(field.table, field.address, len(registers))
            for step, (wrote, reads) in enumerate(zip(registers, kept, strict=True)):
                if wrote != reads and (field.table, field.address + step) not in running:
                    raise DeviceError(
                        f"modbus: wrote {wrote} into {field.table.value} {field.address + step}, read back {reads}"
                    )

    async def _value(self, field: Field) -> float:
        return field.decode(await self._transport.read(field.table, field.address, field.count))


def _unit(address: DeviceUrl) -> int:
    if address.username is not None:
        raise InvalidValueError(f"url: got {address} with a name, wanted none: Modbus knows nobody")
    if not address.path:
        return 1
    if not (address.path.isascii() and address.path.isdigit() and int(address.path) <= 255):
        raise InvalidValueError(f"url: got the unit {address.path!r}, wanted 0 to 255")
    return int(address.path)


def _file_map(name: str, rated_w: int | None, channel: int) -> RegisterMap:
    if name in SHIPPED:
        return read_shipped(name, rated_w=rated_w, channel=channel)
    if not name.endswith(".toml"):
        raise InvalidValueError(
            f"option map: got {name!r}, wanted {SUNSPEC}, one of {', '.join(SHIPPED)}, or the path of a .toml file"
        )
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise InvalidValueError(f"option map: {name} cannot be read: {err}") from err
    return read_map(text, name, rated_w=rated_w, channel=channel)
