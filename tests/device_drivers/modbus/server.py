"""Devices behind a server of pymodbus. Usage: server.py FRAMER PORT; says its port on the first line of its output.

Unit 1 is a relay with a meter and a timer of its own, unit 2 an inverter with SunSpec models 1, 701, 702, 704, unit 3
one with 1, 103, 120, 123. What makes them devices is `Device`: timers that end, power that follows. Where points stand
is written out here, and not taken from where the driver takes it.
"""

import asyncio
import socket
import sys
import time

from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerType
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

AVAILABLE_W = 4000
SCALE_1 = 0xFFFF  # -1
SCALE_2 = 0xFFFE  # -2


class Device:
    """Registers from an address on; `write` looks at each write first; `switched` hears when it is on and when off."""

    def __init__(self, unit, start, registers):
        self.unit = unit
        self.start = start
        self.first = registers
        self.reverts_at = None
        self.ending = None
        self.switched = lambda on: None

    def sim(self):
        data = [SimData(self.start, values=self.first, datatype=DataType.REGISTERS)]
        return SimDevice(self.unit, data, action=self.act)

    async def act(self, function, start, address, count, registers, values):
        if self.reverts_at is not None and time.monotonic() >= self.reverts_at:
            self.reverts_at = None
            self.revert(registers)
        if values is not None:
            fault = self.write(registers, address - start, values)
            if fault is not None:
                return fault
        self.follow(registers)
        return None

    def arm(self, seconds):
        if self.ending is not None:
            self.ending.cancel()
        self.reverts_at = self.ending = None
        if seconds:
            self.reverts_at = time.monotonic() + seconds
            self.ending = asyncio.get_running_loop().call_later(seconds, self.switched, False)


class Relay(Device):
    """0: relay, 1 to 2: power in W (words turned round), 3: timer in s, 4: keeps nothing, 5: refuses, 6: holds."""

    def revert(self, registers):
        registers[0] = 0

    def write(self, registers, offset, values):
        for index, value in enumerate(values, offset):
            if index == 5 or (index == 0 and value not in {0, 256}):
                return ExcCodes.ILLEGAL_VALUE
            if index == 3:
                self.arm(value)
            if index == 4:
                values[index - offset] = 7
            if index == 0:
                self.switched(value == 256)
        return None

    def follow(self, registers):
        registers[1], registers[2] = (2000 if registers[0] else 0), 0


class Inverter(Device):
    def __init__(self, unit, models):
        registers = [0x5375, 0x6E53]
        self.at = {}
        for number, length, points in models:
            self.at[number] = len(registers)
            registers += [number, length, *(points.get(offset, 0xFFFF) for offset in range(2, length + 2))]
        super().__init__(unit, 40_000, [*registers, 0xFFFF, 0])


class New(Inverter):
    """Models 701, 702, 704."""

    def __init__(self, unit):
        controls = dict.fromkeys(range(2, 67), 0) | {54: SCALE_1, 55: 0}
        super().__init__(
            unit, [(1, 66, {}), (701, 153, {10: 0, 116: 0}), (702, 50, {2: 5000, 45: 0}), (704, 65, controls)]
        )
        self.armed = None

    def write(self, registers, offset, values):
        base = self.at[704]
        after = list(registers)
        after[offset : offset + len(values)] = values
        if after[base + 15] > 1000:
            return ExcCodes.ILLEGAL_VALUE
        for timer, kind in ((18, "limit"), (31, "set")):
            if offset <= base + timer + 1 and offset + len(values) > base + timer:
                self.armed = kind
                self.arm(after[base + timer] * 65_536 + after[base + timer + 1])
        self.follow(after)
        registers[self.at[701] + 10] = after[self.at[701] + 10]
        self.switched(after[self.at[701] + 10] > 0)
        return None

    def revert(self, registers):
        base = self.at[704]
        if self.armed == "limit":
            registers[base + 14], registers[base + 15] = registers[base + 17], registers[base + 16]
        else:
            registers[base + 24 : base + 26], registers[base + 22] = (
                registers[base + 26 : base + 28],
                registers[base + 30],
            )

    def follow(self, registers):
        base = self.at[704]
        power = AVAILABLE_W
        if registers[base + 14] == 1:
            power = min(power, registers[base + 15] * 5000 // 1000)
        if registers[base + 22] == 1:
            power = registers[base + 24] * 65_536 + registers[base + 25]
        registers[self.at[701] + 10] = power & 0xFFFF


class Old(Inverter):
    """Models 103, 120, 123."""

    def __init__(self, unit):
        controls = dict.fromkeys(range(2, 26), 0) | {23: SCALE_2}
        super().__init__(unit, [(1, 66, {}), (103, 50, {14: 0, 15: 0}), (120, 26, {3: 50, 4: 2}), (123, 24, controls)])

    def write(self, registers, offset, values):
        base = self.at[123]
        after = list(registers)
        after[offset : offset + len(values)] = values
        self.arm(after[base + 7])
        self.follow(after)
        registers[self.at[103] + 14] = after[self.at[103] + 14]

    def revert(self, registers):
        registers[self.at[123] + 9] = 0

    def follow(self, registers):
        base = self.at[123]
        limited = registers[base + 9] == 1
        registers[self.at[103] + 14] = (
            min(AVAILABLE_W, registers[base + 5] * 5000 // 10_000) if limited else AVAILABLE_W
        )


def relay(unit):
    return Relay(unit, 0, [0, 0, 0, 0, 7, 0, 6])


async def serve(devices, port=0, framer=FramerType.SOCKET):
    """Serve devices; returns the port."""
    if port == 0:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
    server = ModbusTcpServer([device.sim() for device in devices], framer=framer, address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    return port


async def main():
    print(await serve([relay(1), New(2), Old(3)], int(sys.argv[2]), FramerType(sys.argv[1])), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
