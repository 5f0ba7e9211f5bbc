"""Frames of the serial line over TCP, as simple gateways pass them: with a checksum, and without numbers."""

import asyncio

import pytest

from device_drivers.address import DeviceUrl
from device_drivers.errors import DeviceError
from device_drivers.modbus.driver import ModbusDriver
from device_drivers.setpoint import ProductionLimit, RelayState
from tests.device_drivers.modbus.conftest import FOLDER

OPEN, CLOSED = RelayState(closed=False), RelayState(closed=True)
RELAY = str(FOLDER / "relay.toml")


async def opened(port, unit=1, *, failsafe=OPEN, **options):
    address = DeviceUrl(scheme="modbus", host="127.0.0.1", port=port, path=str(unit))
    defaults = {"timeout_s": 1.0, "framing": "rtu", "map": RELAY}
    return await ModbusDriver().open(address, failsafe=failsafe, options=defaults | options)


def test_a_relay_behind_a_gateway_is_switched_and_read_back(gateway):
    async def switch():
        relay = await opened(gateway.port)
        found = []
        for target in (CLOSED, OPEN):
            await relay.apply(target, revert_after_s=30)
            reading = await relay.read()
            found.append((reading.relay_closed, reading.power_w))
        await relay.aclose()
        return found

    assert asyncio.run(switch()) == [(True, 2000), (False, 0)]


def test_a_sunspec_inverter_is_found_and_limited_behind_a_gateway(gateway):
    async def limit():
        inverter = await opened(gateway.port, 2, failsafe=ProductionLimit(limit_w=0), map="sunspec")
        await inverter.apply(ProductionLimit(limit_w=1500), revert_after_s=30)
        power_w = (await inverter.read()).power_w
        await inverter.aclose()
        return power_w

    assert asyncio.run(limit()) == -1500


def test_what_a_device_behind_a_gateway_refuses_is_told(gateway):
    with pytest.raises(DeviceError, match="unit 1 refused: read coil 200: illegal address"):
        asyncio.run(opened(gateway.port, map="relay-coil", channel=200))


@pytest.mark.parametrize("spoken", ["rtu", "tcp"])
def test_frames_of_the_other_kind_are_no_answer(gateway, server, spoken):
    port = gateway.port if spoken == "rtu" else server.port
    with pytest.raises(DeviceError, match="unit 1"):
        asyncio.run(opened(port, framing="tcp" if spoken == "rtu" else "rtu", timeout_s=0.3))


def frame(*said):
    """Bytes with their checksum, CRC-16/MODBUS, as the serial line has it."""
    crc = 0xFFFF
    for byte in said:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return bytes(said) + crc.to_bytes(2, "little")


ONE, HOLDING = 1, 3
RIGHT = frame(ONE, HOLDING, 2, 1, 0)
WRONG = {
    "checksum": RIGHT[:-1] + bytes((RIGHT[-1] ^ 1,)),
    "bit": RIGHT[:3] + bytes((RIGHT[3] ^ 1,)) + RIGHT[4:],
    "another unit": frame(2, HOLDING, 2, 1, 0),
    "half": RIGHT[:4],
    "two registers": frame(ONE, HOLDING, 4, 1, 0, 1, 0),
    "nothing": b"",
}
BARE = """
takes = "relay"
[target]
table = "holding"
address = 0
type = "uint16"
on = 256
"""


async def read_from(answer, path):
    """What a relay reads whose gateway gives this answer to all that it is asked."""
    path.write_text(BARE)

    async def serve(reader, writer):
        while await reader.read(300):
            writer.write(answer)

    gateway = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with gateway:
        relay = await opened(gateway.sockets[0].getsockname()[1], map=str(path), timeout_s=0.3)
        try:
            return (await relay.read()).relay_closed
        finally:
            await relay.aclose()


def test_a_frame_that_is_right_is_a_reading(tmp_path):
    assert asyncio.run(read_from(RIGHT, tmp_path / "bare.toml")) is True


@pytest.mark.parametrize("wrong", WRONG)
def test_a_frame_that_is_not_right_is_no_reading(wrong, tmp_path):
    with pytest.raises(DeviceError, match="unit 1"):
        asyncio.run(read_from(WRONG[wrong], tmp_path / "bare.toml"))
