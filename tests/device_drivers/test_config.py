from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from device_drivers.config import load_config, until_midnight_s
from device_drivers.config_text import BEGIN, END, reference
from device_drivers.errors import InvalidValueError
from device_drivers.failsafe import Fixed, HoldProgramme
from device_drivers.setpoint import Bounds, ProductionLimit, RelayState

BOILER = "microgrids/village/members/home-1/devices/boiler"
WHOLE = f"""
controller = "gridpact.example:50051"
pki = "pki"
state = "state"
time_zone = "Europe/Berlin"
interlocks = [["{BOILER}", "{BOILER}-2"]]

[[devices]]
name = "{BOILER}"
url = "simulated://relay?rated_w=1500"
bounds = {{ lower_w = 0, upper_w = 1500 }}
failsafe = {{ relay_closed = false }}
guard = {{ min_on_s = 60, starts_per_hour = 4, hard = true }}
options = {{ slow_s = 0.5 }}

[[devices]]
name = "{BOILER}-2"
url = "simulated://relay"
failsafe = {{ hold_s = 7200 }}
"""


def load(tmp_path, text):
    path = tmp_path / "driver.toml"
    path.write_text(text)
    return load_config(path)


def test_a_whole_file_is_read(tmp_path):
    config = load(tmp_path, WHOLE)
    one, other = config.devices
    assert one.rules().min_on_s == 60
    assert one.rules().hard
    assert one.rules().bounds == Bounds(lower_w=0, upper_w=1500)
    assert one.failsafe.value() == Fixed(target=RelayState(closed=False))
    assert other.failsafe.value() == HoldProgramme(programme_s=7200)
    assert other.rules().bounds == Bounds(lower_w=None, upper_w=None)


def test_the_environment_goes_before_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("GRIDPACT_DRIVER_CONTROLLER", "127.0.0.1:1")
    assert load(tmp_path, WHOLE).controller == "127.0.0.1:1"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("pki =", "pkj ="), "pki: got none, wanted one; pkj: unknown key"),
        (('"gridpact.example:50051"', '"gridpact.example"'), "controller: got 'gridpact.example', wanted HOST:PORT"),
        (('"gridpact.example:50051"', '"h:0"'), "controller: got 'h:0', wanted HOST:PORT"),
        (("Europe/Berlin", "Europe/Nowhere"), "time_zone: got 'Europe/Nowhere', wanted an IANA time zone"),
        (("min_on_s = 60", "min_on_s = -1"), "devices[1].guard.min_on_s: got '-1', Input should be greater"),
        (("min_on_s = 60", "min_on_s = nan"), "devices[1].guard.min_on_s: got 'nan', Input should be a finite number"),
        (("upper_w = 1500", "upper_w = -1"), "devices[1].bounds: bounds: got [0, -1] W, wanted the lower no higher"),
        (
            ("relay_closed = false", "power_w = 2000"),
            "devices[1]: failsafe: power: got 2000 W, wanted within",
        ),
        (
            ("relay_closed = false", "relay_closed = false, power_w = 0"),
            "failsafe: got power_w, relay_closed",
        ),
        (("relay_closed = false", ""), "devices[1].failsafe: got no key, wanted one of relay_closed, power_w"),
        (("relay_closed = false", "production_limit_w = 0"), "devices[1]: guard: got least times or starts"),
        (("simulated://relay?rated_w=1500", "simulated"), "devices[1]: url: got 'simulated', wanted SCHEME://HOST"),
        ((f'"{BOILER}"', '"boiler"'), "interlocks: got boiler, wanted names of devices"),
        (('boiler-2"]]', 'boiler-3"]]'), "interlocks: got microgrids/village/members/home-1/devices/boiler-3"),
        ((f'name = "{BOILER}-2"', f'name = "{BOILER}"'), f"devices: got {BOILER} twice, wanted each once"),
        (("[[devices]]", "[[device"), "no TOML"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line_that_names_the_key(tmp_path, change, complaint):
    with pytest.raises(InvalidValueError) as refused:
        load(tmp_path, WHOLE.replace(*change))
    text = str(refused.value)
    assert complaint in text or "name: got 'boiler', String should match" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("devices = []", "devices: Tuple should have at least 1 item"),
        ('[[devices]]\nname = 7\nurl = "u"', "devices[1].name: "),
    ],
)
def test_devices_are_missed_where_there_are_none_and_not_where_one_is_wrong(tmp_path, text, complaint):
    with pytest.raises(InvalidValueError) as refused:
        load(tmp_path, f'pki = "pki"\nstate = "state"\n{text}\n')
    assert str(refused.value).startswith(complaint)
    assert str(refused.value).count("at least 1 item") == text.count("[]")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidValueError, match="cannot be read"):
        load_config(tmp_path / "none.toml")


def test_midnight_is_that_of_the_time_zone():
    berlin = ZoneInfo("Europe/Berlin")
    assert until_midnight_s(berlin, datetime(2026, 7, 1, 21, 0, tzinfo=UTC)) == 3600
    # Clocks are put forward in that night: the day has 23 hours.
    assert until_midnight_s(berlin, datetime(2026, 3, 28, 23, 0, tzinfo=UTC)) == 23 * 3600


def test_a_plant_is_limited():
    text = {"name": BOILER, "url": "simulated://plant", "failsafe": {"production_limit_w": 5000}}
    config = load_config(None, {"pki": "p", "state": "s", "devices": [text | {"bounds": {"lower_w": -4000}}]})
    assert config.devices[0].failsafe.value() == Fixed(target=ProductionLimit(limit_w=5000))


def test_the_page_lists_every_key():
    page = (Path(__file__).parents[2] / "docs" / "drivers.md").read_text("utf-8")
    assert f"{BEGIN}\n{reference()}{END}" in page
