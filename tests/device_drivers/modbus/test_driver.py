import asyncio

import pytest
from pymodbus.client import AsyncModbusTcpClient

from device_drivers.address import DeviceUrl
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.modbus.driver import ModbusDriver
from device_drivers.setpoint import Power, ProductionLimit, RelayState
from tests.device_drivers.modbus.conftest import FOLDER

OPEN, CLOSED = RelayState(closed=False), RelayState(closed=True)
NOTHING = ProductionLimit(limit_w=0)
REVERTS_AT = 40_000 + 2 + 68 + 52 + 28 + 7
"""WMaxLimPct_RvrtTms of model 123 in unit 3, behind the mark and the models 1, 103 and 120."""


async def opened(server, unit, *, failsafe=OPEN, **options):
    address = DeviceUrl(scheme="modbus", host="127.0.0.1", port=server.port, path=str(unit))
    return await ModbusDriver().open(address, failsafe=failsafe, options={"timeout_s": 1.0, **options})


def test_a_limit_is_written_in_percent_and_what_it_reverts_to_with_it(server):
    async def limit():
        inverter = await opened(server, 2, failsafe=NOTHING, map="sunspec")
        await inverter.apply(ProductionLimit(limit_w=2501), revert_after_s=30)
        limited = await inverter.read()
        await inverter.apply(ProductionLimit(limit_w=99_999), revert_after_s=30)
        free = await inverter.read()
        await inverter.apply(NOTHING, revert_after_s=None)
        await inverter.aclose()
        return limited.power_w, free.power_w, inverter.capabilities.timer

    limited_w, free_w, timer = asyncio.run(limit())
    assert (limited_w, free_w) == (-2500, -4000)
    assert timer is not None


@pytest.mark.parametrize(("limit_w", "counts"), [(0, False), (4999, False), (5000, True), (9000, True)])
def test_the_old_timer_counts_only_where_no_limit_is_the_failsafe(server, limit_w, counts):
    async def timer():
        inverter = await opened(server, 3, failsafe=ProductionLimit(limit_w=limit_w), map="sunspec")
        await inverter.aclose()
        return inverter.capabilities.timer

    assert (asyncio.run(timer()) is not None) is counts


async def reverts_after(server):
    """s to which the timer of unit 3 is set."""
    async with AsyncModbusTcpClient("127.0.0.1", port=server.port) as client:
        return (await client.read_holding_registers(REVERTS_AT, count=1, device_id=3)).registers[0]


@pytest.mark.slow
def test_the_old_timer_ends_in_no_limit_with_its_driver_gone(server):
    async def let_go():
        inverter = await opened(server, 3, failsafe=ProductionLimit(limit_w=5000), map="sunspec")
        await inverter.apply(ProductionLimit(limit_w=1250), revert_after_s=2.5)
        limited_w, reverts_s = (await inverter.read()).power_w, await reverts_after(server)
        await inverter.aclose()
        again = await opened(server, 3, failsafe=ProductionLimit(limit_w=5000), map="sunspec")
        for _ in range(100):
            if (free_w := (await again.read()).power_w) != limited_w:
                break
            await asyncio.sleep(0.05)
        await again.aclose()
        return limited_w, reverts_s, free_w

    assert asyncio.run(let_go()) == (-1250, 2, -4000)


def test_the_old_timer_is_not_set_where_it_would_end_in_more_than_the_failsafe(server):
    async def limit():
        inverter = await opened(server, 3, failsafe=NOTHING, map="sunspec")
        await inverter.apply(ProductionLimit(limit_w=1250), revert_after_s=30)
        power_w = (await inverter.read()).power_w
        await inverter.aclose()
        return power_w, await reverts_after(server)

    assert asyncio.run(limit()) == (-1250, 0)


RELAY = (FOLDER / "relay.toml").read_text(encoding="utf-8")
DROPPED = """
[[constant]]
table = "holding"
address = 4
type = "uint16"
value = 8
"""


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (RELAY + DROPPED, "wrote 8 into holding 4, read back 7"),
        (RELAY + DROPPED.replace("4", "5"), "write constant 1: illegal value"),
        (RELAY.replace("address = 3", "address = 99"), "write timer: illegal address"),
    ],
    ids=["dropped", "refused", "nowhere"],
)
def test_a_write_that_does_not_stand_is_told(server, tmp_path, text, named):
    path = tmp_path / "relay.toml"
    path.write_text(text, encoding="utf-8")

    async def close():
        relay = await opened(server, 1, map=str(path))
        try:
            await relay.apply(CLOSED, revert_after_s=30)
        finally:
            await relay.aclose()

    with pytest.raises(DeviceError, match=named):
        asyncio.run(close())


def test_a_relay_that_says_neither_is_no_reading(server, tmp_path):
    path = tmp_path / "relay.toml"
    path.write_text(RELAY.replace("address = 0", "address = 6", 1).replace("on = 256", "on = 1"))
    with pytest.raises(DeviceError, match="target: got 6, wanted 0 or 1"):
        asyncio.run(opened(server, 1, map=str(path)))


@pytest.mark.parametrize(
    ("unit", "options", "named"),
    [
        (9, {"map": "relay-coil"}, "unit 9"),
        (1, {"map": "relay-coil", "channel": 200}, "illegal address"),
        (1, {"map": "sunspec", "failsafe": NOTHING}, "SunS"),
    ],
)
def test_a_device_that_is_not_there_is_an_error_of_the_device(server, unit, options, named):
    with pytest.raises(DeviceError, match=named):
        asyncio.run(opened(server, unit, **options))


@pytest.mark.parametrize(
    ("path", "options", "named"),
    [
        ("256", {"map": "relay-coil"}, "unit '256'"),
        ("one", {"map": "relay-coil"}, "unit 'one'"),
        ("1", {}, "option map"),
        ("1", {"map": "toaster"}, "toaster"),
        ("1", {"map": "nowhere.toml"}, "nowhere.toml cannot be read"),
        ("1", {"map": "relay-coil", "framing": "ascii"}, "framing"),
        ("1", {"map": "relay-coil", "failsafe": Power(power_w=0)}, "failsafe"),
        ("2", {"map": "sunspec", "failsafe": OPEN}, "failsafe"),
        ("3", {"map": "sunspec", "failsafe": Power(power_w=0)}, "103, 120, 123, wanted 704"),
    ],
)
def test_what_the_user_got_wrong_is_bad_input(server, path, options, named):
    with pytest.raises(InvalidValueError, match=named):
        asyncio.run(opened(server, path, **options))
