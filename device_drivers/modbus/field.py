"""One value in a device's registers."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from device_drivers.errors import DeviceError, InvalidValueError


class NoValueError(DeviceError):
    """A device's registers say that there is no value."""


class Table(Enum):
    """The four address spaces of Modbus."""

    COIL = "coil"
    """Bits, read and written."""
    DISCRETE = "discrete"
    """Bits, read."""
    HOLDING = "holding"
    """Registers of 16 bits, read and written."""
    INPUT = "input"
    """Registers of 16 bits, read."""

    @property
    def bits(self) -> bool:
        """Whether it holds bits."""
        return self in {Table.COIL, Table.DISCRETE}

    @property
    def written(self) -> bool:
        """Whether it can be written."""
        return self in {Table.COIL, Table.HOLDING}


FORMATS = {
    "bit": "",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float32": "f",
    "float64": "d",
}
"""Types of values, with what `struct` calls them."""

ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")
"""How a value's bytes stand in its registers: in order, with the registers, the bytes in each, or both turned round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Where a value stands, and how.

    Attributes
    ----------
    name : str
        What it is called in messages.
    table : Table
        Which address space.
    address : int
        Of its first register or bit, counted from 0 as the protocol does.
    type : str
        One of `FORMATS`.
    order : str
        One of `ORDERS`.
    scale : float
        What one step of the raw value is worth; not 0. Negative where the sign is the other way round.
    absent : int or None
        Raw value that says that there is none; None where each one counts.
    """

    name: str
    table: Table
    address: int
    type: str
    order: str = "ABCD"
    scale: float = 1.0
    absent: int | None = None

    def __post_init__(self) -> None:
        if self.type not in FORMATS or (self.type == "bit") is not self.table.bits:
            wanted = "bit" if self.table.bits else ", ".join(one for one in FORMATS if one != "bit")
            raise InvalidValueError(f"{self.name}: got the type {self.type!r} in {self.table.value}, wanted {wanted}")
        if self.order not in ORDERS:
            raise InvalidValueError(f"{self.name}: got the order {self.order!r}, wanted one of {', '.join(ORDERS)}")
        if not math.isfinite(self.scale) or self.scale == 0:
            raise InvalidValueError(f"{self.name}: got the scale {self.scale}, wanted a number that is not 0")
        if not 0 <= self.address <= 65_536 - self.count:
            raise InvalidValueError(f"{self.name}: got the address {self.address}, wanted 0 to {65_536 - self.count}")

    @property
    def count(self) -> int:
        """How many registers, or bits, it takes."""
        return 1 if self.type == "bit" else struct.calcsize(FORMATS[self.type]) // 2

    def encode(self, value: float) -> list[int]:
        """Registers, or the bit, that hold a value, rounded towards 0.

        Raises
        ------
        DeviceError
            If it does not fit.
        """
        # A limit that is 29.999999999999996 steps by floats is 30.
        raw = math.trunc(value / self.scale + math.copysign(1e-9, value / self.scale))
        if self.type == "bit":
            if raw not in {0, 1}:
                raise DeviceError(f"modbus: {self.name}: got {value:g}, wanted 0 or 1")
            return [raw]
        try:
            packed = struct.pack(f">{FORMATS[self.type]}", value / self.scale if self.type.startswith("float") else raw)
        except (struct.error, OverflowError) as err:
            raise DeviceError(f"modbus: {self.name}: got {value:g}, which {self.type} cannot hold") from err
        if self.absent is not None and raw == self.absent:
            raise DeviceError(f"modbus: {self.name}: got {value:g}, which would say that there is none")
        return self._arranged(list(struct.unpack(f">{self.count}H", packed)))

    def decode(self, registers: Sequence[int]) -> float:
        """The value that registers, or a bit, hold.

        Raises
        ------
        NoValueError
            If there is none.
        """
        if len(registers) != self.count:
            raise DeviceError(f"modbus: {self.name}: got {len(registers)} registers, wanted {self.count}")
        if self.type == "bit":
            return registers[0] * self.scale
        packed = struct.pack(f">{self.count}H", *self._arranged(list(registers)))
        raw: float = struct.unpack(f">{FORMATS[self.type]}", packed)[0]
        value = raw * self.scale
        if not math.isfinite(value) or (self.absent is not None and raw == self.absent):
            raise NoValueError(f"modbus: {self.name}: got {raw:g}, which is no value")
        return value

    def _arranged(self, registers: list[int]) -> list[int]:
        if self.order in {"CDAB", "DCBA"}:
            registers.reverse()
        if self.order in {"BADC", "DCBA"}:
            registers = [(register & 0xFF) << 8 | register >> 8 for register in registers]
        return registers


def check_apart(fields: Sequence[Field]) -> None:
    """Refuse fields that share a register, unless they are the same one.

    Raises
    ------
    InvalidValueError
        Names both.
    """
    ordered = sorted(fields, key=lambda field: (field.table.value, field.address))
    for index, one in enumerate(ordered):
        for other in ordered[index + 1 :]:
            if other.table is one.table and other.address < one.address + one.count:
                raise InvalidValueError(
                    f"map: got {one.name} at {one.table.value} {one.address} to {one.address + one.count - 1} and "
                    f"{other.name} at {other.address} to {other.address + other.count - 1}, wanted them apart"
                )
