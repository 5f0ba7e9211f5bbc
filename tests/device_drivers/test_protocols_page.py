"""docs/protocols.md says what is there, and what it shows can be read."""

import asyncio
import re
import tomllib
from pathlib import Path

import pytest

from device_drivers.address import DeviceUrl
from device_drivers.conformance.checks import CHECKS
from device_drivers.errors import InvalidValueError
from device_drivers.modbus.reading_map import SHIPPED, read_map
from device_drivers.mqtt.reading_template import read_template
from device_drivers.ocpp.driver import OcppDriver
from device_drivers.s2.driver import S2Driver
from device_drivers.schemes import OWN
from device_drivers.setpoint import Power, ProductionLimit, RelayState

PAGE = (Path(__file__).parents[2] / "docs" / "protocols.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("scheme", OWN)
def test_every_protocol_has_its_row_its_section_and_its_extra(scheme):
    row = re.search(rf"^\| `{scheme}` \|.*$", PAGE, re.MULTILINE)
    extra = OWN[scheme].extra
    assert row is not None
    assert (f"`{extra}`" if extra else "none") in row[0].split("|")[3]
    assert f"## `{scheme}://" in PAGE


def test_the_maps_that_are_shown_can_be_read():
    modbus, mqtt, *_ = SHOWN
    assert read_map(modbus, "page", rated_w=5000).takes is ProductionLimit
    assert read_template(mqtt, "page", "lamp").takes is RelayState
    assert all(f"`map={name}`" in PAGE for name in SHIPPED)


@pytest.mark.parametrize(("driver", "shown"), [(OcppDriver(), 2), (S2Driver(), 3)])
def test_the_device_that_is_shown_and_every_option_of_it_are_known(driver, shown):
    device = tomllib.loads(SHOWN[shown])["devices"][0]
    address = DeviceUrl.parse(device["url"])
    section = PAGE.partition(f"## `{address.scheme}://")[2].partition("| option |")[2].partition("\n## ")[0]
    told = {
        name for names in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`(\w+)`", names)
    }
    with pytest.raises(InvalidValueError, match="option: got unknown, wanted ") as refusal:
        asyncio.run(driver.open(address, failsafe=Power(power_w=0), options={"unknown": "1"}))
    assert set(str(refusal.value).partition("wanted ")[2].split(", ")) == told
    assert set(device["options"]) <= told


def test_every_check_of_the_suite_is_explained():
    told = {name.strip() for names in re.findall(r"^\| ([a-z, ]+) \|", PAGE, re.MULTILINE) for name in names.split(",")}
    asked = {part.strip() for name, _ in CHECKS for part in name.split(",")}
    assert asked <= told
