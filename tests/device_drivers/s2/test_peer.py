"""Against the library's own resource manager, whose devices measure what they do."""

import asyncio

import pytest

from device_drivers.errors import DeviceError
from device_drivers.setpoint import Power, ProductionLimit, RelayState
from tests.device_drivers.s2.conftest import start_manager
from tests.device_drivers.s2.scripted_manager import opened

OPEN, CLOSED, IDLE = RelayState(closed=False), RelayState(closed=True), Power(power_w=0)


async def told(kind, failsafe, *targets):
    """What is read after each target, of a device behind a manager that was just started."""
    peer = await asyncio.to_thread(start_manager, kind)
    try:
        device = await opened(peer.port, path=kind, failsafe=failsafe, timeout_s=15)
        found = []
        for target in targets:
            await device.apply(target, revert_after_s=None)
            await asyncio.sleep(0.1)  # it measures on
            found.append(await device.read())
        await device.aclose()
        return found
    finally:
        peer.stop()


@pytest.mark.slow
def test_a_battery_is_charged_and_discharged_and_says_what_it_holds():
    found = asyncio.run(told("frbc", IDLE, Power(power_w=1500), Power(power_w=-900), IDLE))
    assert [one.power_w for one in found] == [1500, -900, 0]
    assert {one.stored_wh for one in found} == {5000}


@pytest.mark.slow
def test_what_a_device_cannot_do_is_refused_before_it_is_told():
    with pytest.raises(DeviceError, match="0 to 0 W, 0 to 3000 W, -3000 to 0 W"):
        asyncio.run(told("frbc", IDLE, Power(power_w=3500)))
    with pytest.raises(ValueError, match=r"failsafe: got ProductionLimit.* with POWER_ENVELOPE_BASED_CONTROL"):
        asyncio.run(told("pebc", ProductionLimit(limit_w=0)))
