"""The appliances: what a catalogue may say, and what the shipped one says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.demo.catalogue import load_catalogue
from controller.demo.grid import DATA
from controller.errors import InputError

Write = Callable[..., Path]

PUBLISHED = (
    ("refrigerator", False, "00:00", "24:00", 24, 0.125),
    ("electric vehicle", True, "19:00", "06:00", 6, 3.65),
    ("air conditioner", True, "19:00", "24:00", 7, 1.00),
    ("cloth dryer", False, "06:00", "22:00", 4, 0.74),
    ("dish washer", False, "22:00", "23:00", 1.5, 0.47),
    ("hair dryer", False, "06:00", "08:00", 0.5, 1.00),
    ("pool pump", True, "12:00", "21:00", 8, 2.00),
    ("television", False, "07:00", "24:00", 4, 0.25),
    ("water heater", True, "06:00", "23:00", 3, 1.50),
    ("electric stove", False, "06:00", "21:00", 5, 1.50),
    ("light", False, "16:00", "24:00", 7, 0.50),
    ("personal computer", False, "08:00", "18:00", 5, 0.25),
    ("vacuum cleaner", False, "10:00", "12:00", 0.5, 1.50),
    ("iron", False, "21:00", "23:00", 2, 1.50),
)
"""Casquico et al. (2021), Table 8: name, flexible, from, to, hours, kW."""
CORRECTED = {
    "air conditioner": ("air conditioner", True, "19:00", "24:00", 4, 1.00),
    "dish washer": ("dish washer", False, "22:00", "23:30", 1.5, 0.47),
}


def set_row(**values: object) -> Callable[[Any], object]:
    return lambda catalogue: catalogue["appliances"][0].update(values)


def shipped() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((DATA / "appliances.json").read_text("utf-8"))["appliances"]
    return rows


def test_the_shipped_table_is_the_published_one_but_for_the_corrections() -> None:
    rows = [(r["name"], r["flexible"], r["from"], r["to"], r["hours"], r["power_kw"]) for r in shipped()]
    assert rows == [CORRECTED.get(row[0], row) for row in PUBLISHED]


def test_each_correction_says_what_was_published_and_why_it_cannot_be() -> None:
    notes = {row["name"]: row["correction"] for row in shipped() if "correction" in row}
    assert notes.keys() == CORRECTED.keys()
    assert "7 h in a window of 5 h" in notes["air conditioner"]
    assert "1.5 h in a window of 1 h" in notes["dish washer"]


def test_the_shipped_table_loads() -> None:
    appliances = {appliance.name: appliance for appliance in load_catalogue(DATA / "appliances.json")}
    assert len(appliances) == len(PUBLISHED)
    vehicle = appliances["electric vehicle"]
    assert (vehicle.from_minute, vehicle.to_minute, vehicle.window_minutes) == (19 * 60, 6 * 60, 11 * 60)
    assert (vehicle.minutes, vehicle.power_w, vehicle.share) == (360, 3650, 0.6)
    assert appliances["refrigerator"].window_minutes == 24 * 60
    assert all(appliance.share == 0 for appliance in appliances.values() if not appliance.flexible)


def test_a_compressor_and_a_pump_are_spared() -> None:
    appliances = {appliance.name: appliance for appliance in load_catalogue(DATA / "appliances.json")}
    cooler, pump, heater = (appliances[name] for name in ("air conditioner", "pool pump", "water heater"))
    assert (cooler.run_minutes, cooler.rest_minutes, cooler.starts_per_day) == (30, 30, None)
    assert (pump.run_minutes, pump.rest_minutes, pump.starts_per_day) == (60, 0, 3)
    assert (heater.run_minutes, heater.rest_minutes, heater.starts_per_day) == (0, 0, None)


@pytest.mark.parametrize("name", CORRECTED)
def test_a_published_row_with_more_hours_than_its_window_is_refused_by_name(write: Write, name: str) -> None:
    row = next(row for row in PUBLISHED if row[0] == name)
    values = dict(zip(("name", "flexible", "from", "to", "hours", "power_kw"), row, strict=True))
    path = write("catalogue", set_row(**values))
    window = {"air conditioner": "5 hours", "dish washer": "1 hours"}[name]
    with pytest.raises(InputError) as caught:
        load_catalogue(path)
    assert str(caught.value) == (
        f"{path}: appliances[0]: appliance {name!r}: got {row[4]:g} hours between {row[2]} and {row[3]}, "
        f"wanted at most the {window} of that window"
    )


@pytest.mark.parametrize(
    ("row", "accepted"),
    [
        ({"from": "19:00", "to": "23:00", "hours": 4}, True),
        ({"from": "19:00", "to": "23:00", "hours": 4.25}, False),
        ({"from": "23:00", "to": "01:00", "hours": 2}, True),
        ({"from": "23:00", "to": "01:00", "hours": 2.25}, False),
        ({"from": "06:00", "to": "06:00", "hours": 24}, True),
        ({"from": "00:00", "to": "24:00", "hours": 24}, True),
    ],
)
def test_a_row_asks_for_at_most_its_window_even_over_midnight(
    write: Write, row: dict[str, object], accepted: bool
) -> None:
    path = write("catalogue", set_row(**row))
    if accepted:
        assert len(load_catalogue(path)) == 1
    else:
        with pytest.raises(InputError, match=r"'water heater'.*wanted at most"):
            load_catalogue(path)


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("name", "", "a text"),
        ("name", None, "a text"),
        ("name", "Water Heater", "lower case words"),
        ("name", "water  heater", "lower case words"),
        ("name", "water-heater", "lower case words"),
        ("name", "<b>heater", "lower case words"),
        ("name", "h" * 31, "at most 30 characters"),
        ("flexible", "yes", "true or false"),
        ("flexible", 1, "true or false"),
        ("from", "6:00", "a time of day"),
        ("from", "24:15", "a time of day"),
        ("from", "25:00", "a time of day"),
        ("from", "06:60", "a time of day"),
        ("from", 6, "a text"),
        ("to", "noon", "a time of day"),
        ("to", None, "a text"),
        ("hours", -1, "a number from 0 to 24"),
        ("hours", 25, "a number from 0 to 24"),
        ("hours", "3", "a number"),
        ("hours", None, "a number"),
        ("hours", True, "a number"),
        ("hours", 0.1, "a multiple of a quarter of an hour"),
        ("power_kw", 0, "a number from 0.001 to 1000"),
        ("power_kw", -1.5, "a number from 0.001 to 1000"),
        ("power_kw", 1001, "a number from 0.001 to 1000"),
        ("power_kw", [1.5], "a number"),
        ("share", 1.1, "a number from 0 to 1"),
        ("share", -0.1, "a number from 0 to 1"),
        ("share", None, "a number"),
        ("min_run_hours", 3.25, "a number from 0 to 3"),  # longer than it runs at all
        ("min_run_hours", 0.1, "a multiple of a quarter of an hour"),
        ("min_rest_hours", 25, "a number from 0 to 24"),
        ("starts_per_day", 0, "a whole number from 1 to 96"),
    ],
)
def test_a_malformed_field_is_named_with_file_got_and_wanted(
    write: Write, field: str, value: object, wanted: str
) -> None:
    path = write("catalogue", set_row(**{field: value}))
    with pytest.raises(InputError) as caught:
        load_catalogue(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: appliances[0].{field}: got {value!r}, wanted ")
    assert wanted in message


@pytest.mark.parametrize("field", ["name", "flexible", "from", "to", "hours", "power_kw", "share"])
def test_a_missing_field_is_named(write: Write, field: str) -> None:
    path = write("catalogue", lambda catalogue: catalogue["appliances"][0].pop(field))
    with pytest.raises(InputError, match=rf"catalogue\.json: appliances\[0\]: field '{field}': got none"):
        load_catalogue(path)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_hours_that_are_no_finite_number_are_refused(write: Write, value: str) -> None:
    path = write("catalogue", set_row(hours=12345))
    path.write_text(path.read_text().replace("12345", value))
    with pytest.raises(InputError, match=r"catalogue\.json"):
        load_catalogue(path)


def test_a_row_that_stands_twice_is_refused(write: Write) -> None:
    path = write("catalogue", lambda catalogue: catalogue["appliances"].append(catalogue["appliances"][0]))
    with pytest.raises(InputError, match="'water heater': got 2 rows, wanted one"):
        load_catalogue(path)


def test_a_file_of_another_format_is_refused(write: Write) -> None:
    path = write("catalogue", lambda catalogue: catalogue.update(format="gridpact.grid.v1"))
    with pytest.raises(InputError, match=r"format: got 'gridpact.grid.v1', wanted 'gridpact.appliances.v1'"):
        load_catalogue(path)


@pytest.mark.parametrize("content", ["[]", "null", "3", '"text"'])
def test_a_file_that_holds_no_object_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "catalogue.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"catalogue\.json: got .*, wanted an object"):
        load_catalogue(path)
