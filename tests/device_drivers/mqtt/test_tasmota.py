import asyncio
import json
from dataclasses import replace

import pytest
from aiomqtt import Client
from hypothesis import given
from hypothesis import strategies as st

from device_drivers.address import DeviceUrl
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.mqtt.driver import MqttDriver
from device_drivers.mqtt.tasmota import TIMER, pulse_time
from device_drivers.setpoint import Power, RelayState

OPEN, CLOSED = RelayState(closed=False), RelayState(closed=True)


def address_of(broker, topic="plug", **changes):
    url = DeviceUrl.parse(f"mqtt://plug:secret@127.0.0.1:{broker.port}/{topic}")
    return replace(url, **changes)


async def opened(broker, *, failsafe=OPEN, topic="plug", **options):
    address = address_of(broker, topic)
    return await MqttDriver().open(address, failsafe=failsafe, options={"timeout_s": 2.0, **options})


@given(st.floats(TIMER.shortest_s, TIMER.longest_s))
def test_pulse_time_never_lasts_longer_than_it_is_asked_to(seconds):
    setting = pulse_time(TIMER.armed_s(seconds))
    assert 0 < setting <= 64_900
    # As the documentation has it: tenths of a second up to 111, else seconds and 100.
    lasts_s = setting / 10 if setting < 112 else setting - 100
    assert lasts_s == TIMER.armed_s(seconds) <= seconds + 1e-6


def test_what_stands_in_flash_is_written_once_for_many_leases(broker, plug):
    async def renew():
        connection = await opened(broker)
        await connection.apply(CLOSED, revert_after_s=59.9)
        before = json.loads(plug.flash.read_text())
        for lease_s in (59.8, 59.7, 59.9):
            await connection.apply(CLOSED, revert_after_s=lease_s)
        after = json.loads(plug.flash.read_text())
        await connection.apply(OPEN, revert_after_s=None)
        await connection.aclose()
        return before, after

    before, after = asyncio.run(renew())
    assert after == before
    assert (after["PulseTime"], after["PowerOnState"]) == (159, 0)


def test_a_relay_that_is_to_be_closed_has_no_timer(broker, plug):
    async def look():
        connection = await opened(broker, failsafe=CLOSED)
        await connection.aclose()
        return connection.capabilities

    assert asyncio.run(look()).timer is None
    assert json.loads(plug.flash.read_text())["PowerOnState"] == 1


@pytest.mark.parametrize(
    ("topic", "payload", "named"),
    [
        ("STATUS11", "no json", "wanted JSON"),
        ("STATUS11", "[]", "wanted a JSON object"),
        ("STATUS11", '{"StatusSTS": {"POWER": "PERHAPS"}}', "wanted POWER to be ON or OFF"),
        ("STATUS11", '{"Status": {}}', "wanted StatusSTS"),
        ("STATUS11", '{"StatusSTS": {"POWER2": "ON"}}', "POWER2"),
    ],
)
def test_an_answer_that_makes_no_sense_is_no_reading(broker, topic, payload, named):
    async def look():
        async with Client("127.0.0.1", broker.port, username="plug", password="secret") as odd:
            await odd.subscribe("cmnd/odd/STATUS")

            async def answer():
                async for _ in odd.messages:
                    await odd.publish(f"stat/odd/{topic}", payload)

            answering = asyncio.create_task(answer())
            try:
                await opened(broker, topic="odd")
            finally:
                answering.cancel()

    with pytest.raises(DeviceError, match=named):
        asyncio.run(look())


def test_what_the_broker_kept_is_not_what_the_device_does(broker):
    stale = json.dumps({"StatusSTS": {"POWER": "ON"}})

    async def look():
        async with Client("127.0.0.1", broker.port, username="plug", password="secret") as other:
            await other.publish("stat/gone/STATUS11", stale, retain=True, qos=1)
        await opened(broker, topic="gone", timeout_s=0.2)

    with pytest.raises(DeviceError, match=r"no answer to cmnd/gone/STATUS within 0\.2 s"):
        asyncio.run(look())


def test_a_device_whose_last_will_was_published_is_offline(broker):
    async def look():
        async with Client("127.0.0.1", broker.port, username="plug", password="secret") as other:
            await other.publish("tele/away/LWT", "Offline", retain=True, qos=1)
        await opened(broker, topic="away", timeout_s=0.3)

    with pytest.raises(DeviceError, match="away is offline, says its last will"):
        asyncio.run(look())


@pytest.mark.parametrize("changes", [{"password": "wrong"}, {"username": None, "password": None}])
def test_wrong_credentials_are_said_and_the_password_is_not(broker, changes):
    with pytest.raises(DeviceError, match=r"(?i)not authori") as refusal:
        asyncio.run(MqttDriver().open(address_of(broker, **changes), failsafe=OPEN, options={}))
    assert "wrong" not in str(refusal.value)


@pytest.mark.slow
def test_a_broker_that_is_started_anew_is_found_again(broker, plug):
    async def look():
        connection = await opened(broker, timeout_s=0.5)
        try:
            broker.stop()
            with pytest.raises(DeviceError):
                await connection.read()
            broker.start()
            async with asyncio.timeout(20):
                while True:
                    try:
                        return await connection.read()
                    except DeviceError:
                        await asyncio.sleep(0.05)
        finally:
            await connection.aclose()

    assert asyncio.run(look()).relay_closed is False


@pytest.mark.parametrize(
    ("topic", "options", "named"),
    [
        ("", {}, "topic ''"),
        ("a/+/b", {}, r"a/\+/b"),
        ("plug", {"relay": 0}, "relay"),
        ("plug", {"full_topic": "%topic%/"}, "full_topic"),
        ("plug", {"ca": "nowhere.pem"}, "tls=yes"),
        ("plug", {"ca": "nowhere.pem", "tls": True}, "nowhere.pem"),
        ("plug", {"failsafe": Power(power_w=0)}, "failsafe"),
        ("plug", {"map": "nowhere.toml"}, "nowhere.toml cannot be read"),
    ],
)
def test_what_the_user_got_wrong_is_bad_input(broker, topic, options, named):
    with pytest.raises(InvalidValueError, match=named):
        asyncio.run(opened(broker, topic=topic, **options))
