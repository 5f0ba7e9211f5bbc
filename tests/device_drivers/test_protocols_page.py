"""docs/protocols.md says what is there, and what it shows can be read."""

import re
from pathlib import Path

import pytest

from device_drivers.conformance.checks import CHECKS
from device_drivers.modbus.reading_map import SHIPPED, read_map
from device_drivers.mqtt.reading_template import read_template
from device_drivers.schemes import OWN
from device_drivers.setpoint import ProductionLimit, RelayState

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
    modbus, mqtt = SHOWN
    assert read_map(modbus, "page", rated_w=5000).takes is ProductionLimit
    assert read_template(mqtt, "page", "lamp").takes is RelayState
    assert all(f"`map={name}`" in PAGE for name in SHIPPED)


def test_every_check_of_the_suite_is_explained():
    told = {name.strip() for names in re.findall(r"^\| ([a-z, ]+) \|", PAGE, re.MULTILINE) for name in names.split(",")}
    asked = {part.strip() for name, _ in CHECKS for part in name.split(",")}
    assert asked <= told
