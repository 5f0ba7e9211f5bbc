"""Reads and writes registers over one TCP connection, which is given up whenever anything about an answer is wrong."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerType
from pymodbus.pdu import ModbusPDU

from device_drivers.errors import DeviceError
from device_drivers.modbus.field import Field, Table

_EXCEPTIONS = {
    1: "illegal function",
    2: "illegal address",
    3: "illegal value",
    4: "device failure",
    5: "acknowledge",
    6: "busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target did not answer",
}


class RefusedError(DeviceError):
    """The device answered with an exception of the protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a device is.

    Attributes
    ----------
    host : str
        Name or address of the device, or of the gateway before it.
    port : int
        TCP.
    unit : int
        0 to 255.
    rtu : bool
        Whether the frames are those of the serial line, as simple gateways pass them.
    patience_s : float
        s that a request may take in all, connecting included.
    """

    host: str
    port: int
    unit: int
    rtu: bool
    patience_s: float

    def __str__(self) -> str:
        return f"{self.host}:{self.port} unit {self.unit}"


class Transport:
    """A connection that is made when it is needed, and anew after each fault: no late answer is taken for another.

    Parameters
    ----------
    place : Place
        Where the device is.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._client: AsyncModbusTcpClient | None = None

    async def read(self, table: Table, address: int, count: int) -> list[int]:
        """Values of registers, or of bits.

        Raises
        ------
        DeviceError
            If the device cannot be reached, takes too long, says no, or answers something else.
        """

        def ask(client: AsyncModbusTcpClient) -> Awaitable[ModbusPDU]:
            asking = {
                Table.COIL: client.read_coils,
                Table.DISCRETE: client.read_discrete_inputs,
                Table.HOLDING: client.read_holding_registers,
                Table.INPUT: client.read_input_registers,
            }[table]
            return asking(address, count=count, device_id=self._place.unit)

        answer = await self._exchange(ask, f"read {table.value} {address}")
        if table.bits:
            return [int(bit) for bit in answer.bits[:count]]
        if len(answer.registers) != count:
            self.close()
            raise DeviceError(f"modbus: {self._place} gave {len(answer.registers)} registers, wanted {count}")
        return list(answer.registers)

    async def write(self, field: Field, values: Sequence[int]) -> None:
        """Write registers from a field on, or a bit, in one message; raises as `read` does."""

        def ask(client: AsyncModbusTcpClient) -> Awaitable[ModbusPDU]:
            if not field.table.bits:
                return client.write_registers(field.address, list(values), device_id=self._place.unit)
            if len(values) == 1:
                return client.write_coil(field.address, bool(values[0]), device_id=self._place.unit)
            return client.write_coils(field.address, [bool(value) for value in values], device_id=self._place.unit)

        await self._exchange(ask, f"write {field.name}")

    def close(self) -> None:
        """Let go of the connection; what was not delivered yet is dropped, and must not act minutes later."""
        client, self._client = self._client, None
        if client is None:
            return
        transport = client.ctx.transport
        connection = None if transport is None else transport.get_extra_info("socket")
        if connection is not None:
            with suppress(OSError):  # the other end may have closed it already
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()

    async def _exchange(self, ask: Callable[[AsyncModbusTcpClient], Awaitable[ModbusPDU]], what: str) -> ModbusPDU:
        done = False
        try:
            async with asyncio.timeout(self._place.patience_s):
                answer = await ask(await self._connected())
            done = True
        except TimeoutError as err:
            raise DeviceError(
                f"modbus: {self._place} did not answer within {self._place.patience_s:g} s: {what}"
            ) from err
        except (ModbusException, OSError) as err:
            raise DeviceError(f"modbus: {self._place} failed: {what}: {err}") from err
        except (
            ValueError,
            IndexError,
            struct.error,
        ) as err:  # what pymodbus makes of frames that lie about their length
            raise DeviceError(f"modbus: {self._place} answered what makes no sense: {what}: {err}") from err
        finally:
            if not done:
                self.close()
        if answer.isError():
            code = getattr(answer, "exception_code", 0)
            raise RefusedError(f"modbus: {self._place} refused: {what}: {_EXCEPTIONS.get(code, f'exception {code}')}")
        return answer

    async def _connected(self) -> AsyncModbusTcpClient:
        if self._client is not None and self._client.connected:
            return self._client
        self.close()
        self._client = AsyncModbusTcpClient(
            self._place.host,
            port=self._place.port,
            framer=FramerType.RTU if self._place.rtu else FramerType.SOCKET,
            # Never by itself: what is sent again unasked may act after it was given up.
            retries=0,
            reconnect_delay=0,
            timeout=2 * self._place.patience_s,
        )
        if not await self._client.connect():
            raise OSError("cannot be reached")
        return self._client
