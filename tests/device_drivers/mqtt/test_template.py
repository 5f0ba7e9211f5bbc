import asyncio

import pytest

from device_drivers.address import DeviceUrl
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.mqtt.driver import MqttDriver
from device_drivers.mqtt.reading_template import read_template
from device_drivers.mqtt.template import Source
from device_drivers.setpoint import Power, ProductionLimit, RelayState
from tests.device_drivers.mqtt.conftest import FOLDER

SWITCH = (FOLDER / "switch.toml").read_text(encoding="utf-8")
LIMIT = """
takes = "production-limit"
[command]
topic = "pv/{topic}/limit"
text = '{"kW": {value}}'
unit = "kW"
scale = 0.1
[request]
topic = "pv/{topic}/get"
[power]
topic = "pv/{topic}/power"
positive = "production"
"""


def test_a_switch_says_its_power(broker, switch):
    async def look():
        url = f"mqtt://plug:secret@127.0.0.1:{broker.port}/switch?map={FOLDER / 'switch.toml'}"
        address = DeviceUrl.parse(url)
        connection = await MqttDriver().open(address, failsafe=RelayState(closed=False), options=address.query)
        await connection.apply(RelayState(closed=True), revert_after_s=60)
        reading = await connection.read()
        await connection.apply(RelayState(closed=False), revert_after_s=None)
        await connection.aclose()
        return reading

    reading = asyncio.run(look())
    assert (reading.relay_closed, reading.power_w) == (True, 800)


def test_a_limit_is_told_in_the_steps_of_the_template():
    template = read_template(LIMIT, "pv", "roof")
    assert template.command_topic == "pv/roof/limit"
    assert template.command(ProductionLimit(limit_w=1250)) == '{"kW": 12}'
    assert template.power.watts("1500") == -1500
    assert template.topics() == ("pv/roof/power",)


def test_a_power_may_be_positive_the_other_way_round():
    text = (
        LIMIT.replace('"production-limit"', '"power"')
        .replace('unit = "kW"', 'positive = "production"')
        .replace("0.1", "1")
    )
    assert read_template(text, "pv", "roof").command(Power(power_w=-700)) == '{"kW": 700}'


@pytest.mark.parametrize("text", ["", "much", "nan", "1e300", "inf"])
def test_a_power_that_is_no_number_is_an_error_of_the_device(text):
    with pytest.raises(DeviceError, match="wanted a number"):
        Source(topic="t", key=()).watts(text)


@pytest.mark.parametrize("text", ["{}", "[]", "7", "x", '{"meter": 5}', '{"meter": {"power": true}}'])
def test_a_message_without_its_key_is_an_error_of_the_device(text):
    with pytest.raises(DeviceError, match=r"wanted (meter\.power in it|a number)"):
        Source(topic="t", key=("meter", "power")).watts(text)


@pytest.mark.parametrize(
    ("text", "before", "after", "named"),
    [
        (SWITCH, 'takes = "relay"', "", "option takes"),
        (SWITCH, 'takes = "relay"', 'takes = "relay"\nmaker = "x"', "maker"),
        (SWITCH, "[availability]", "[presence]", "presence"),
        (SWITCH, 'key = "state"', "keys = 1", "section state: option: got keys"),
        (SWITCH, '[request]\ntopic = "bridge/{topic}/get"', "[request]", "section request: option topic"),
        (SWITCH, "takes", "takes =", "no TOML"),
        (LIMIT, "{value}", "{watts}", "section command: option text"),
        (LIMIT, "scale = 0.1", "scale = 0", "section command: option scale"),
        (LIMIT, '[power]\ntopic = "pv/{topic}/power"\npositive = "production"', "", "neither state nor power"),
    ],
)
def test_a_template_that_is_wrong_is_refused_by_section_and_key(text, before, after, named):
    assert before in text
    with pytest.raises(InvalidValueError, match=f"map plug: .*{named}"):
        read_template(text.replace(before, after, 1), "plug", "a")
