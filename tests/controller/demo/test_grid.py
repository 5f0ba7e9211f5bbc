"""Extracts of grids: what one may say, and that the shipped ones are whole."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from controller.demo.grid import ALIASES, DATA, PROFILE_MTUS, grid_names, load_grid
from controller.errors import InputError

Write = Callable[..., Path]

DAY = "2016-07-20"
SEASONS = {1: "winter", 4: "spring", 7: "summer", 10: "autumn"}
TWO_MEGABYTES = 2 * 1000 * 1000


def set_at(path: tuple[str | int, ...], value: object) -> Callable[[Any], object]:
    def change(extract: Any) -> None:
        for step in path[:-1]:
            extract = extract[step]
        extract[path[-1]] = value

    return change


def remove_at(path: tuple[str | int, ...]) -> Callable[[Any], object]:
    def change(extract: Any) -> None:
        for step in path[:-1]:
            extract = extract[step]
        del extract[path[-1]]

    return change


def place_of(path: tuple[str | int, ...]) -> str:
    """How a message spells the path to a field."""
    first, *rest = path
    return f"{first}" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in rest)


def complaint(path: Path, day: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        load_grid(str(path), day)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_an_extract_loads(write: Write) -> None:
    grid = load_grid(str(write("grid")), None)
    assert (grid.name, grid.day, grid.time_zone.key) == ("1-LV-hamlet--0-sw", date(2016, 7, 20), "Europe/Berlin")
    assert [(load.id, load.section) for load in grid.loads] == [
        ("anna", "feeder-1"),
        ("bert", "feeder-2"),
        ("carl", "feeder-2"),
    ]
    assert {len(series) for series in (*grid.load_w.values(), *grid.available_w.values())} == {PROFILE_MTUS}


FIELDS: list[tuple[tuple[str | int, ...], object, str]] = [
    (("format",), "gridpact.grid.v2", "'gridpact.grid.v1'"),
    (("format",), None, "'gridpact.grid.v1'"),
    (("name",), "", "a text"),
    (("name",), 7, "a text"),
    (("time_zone",), "Europe/Nowhere", "an IANA time zone"),
    (("time_zone",), "Europe", "an IANA time zone"),
    (("time_zone",), "../etc/passwd", "an IANA time zone"),
    (("time_zone",), "Z" * 300, "an IANA time zone"),
    (("time_zone",), None, "an IANA time zone"),
    (("mtu_minutes",), 60, "15"),
    (("mtu_minutes",), "15", "15"),
    (("transformer",), None, "an object"),
    (("transformer", "rated_va"), 0, "a whole number from 1"),
    (("transformer", "rated_va"), 1e5, "a whole number from 1"),
    (("transformer", "bus"), "1", "a whole number from 0"),
    (("lines",), {}, "a list"),
    (("lines", 0), 3, "an object"),
    (("lines", 0, "from_bus"), -1, "a whole number from 0"),
    (("lines", 2, "to_bus"), 4.5, "a whole number from 0"),
    (("loads",), [], "at least one load"),
    (("loads",), "anna", "a list"),
    (("loads", 1, "bus"), 9, "a bus that lines connect with the transformer"),
    (("loads", 1, "bus"), True, "a whole number"),
    (("loads", 1, "profile"), "", "a text"),
    (("loads", 1, "id"), "Bert", "lower case letters"),
    (("loads", 1, "id"), "bert/1", "lower case letters"),
    (("loads", 1, "id"), "../bert", "lower case letters"),
    (("loads", 1, "id"), "bért", "lower case letters"),
    (("loads", 1, "id"), "1-bert", "a letter first"),
    (("loads", 1, "id"), "b" * 25, "1 to 24"),
    (("loads", 1, "id"), "", "a text"),
    (("loads", 1, "id"), "grid", "none of the ledger's own accounts"),
    (("loads", 1, "id"), "dso", "none of the ledger's own accounts"),
    (("loads", 1, "id"), "community", "none of the ledger's own accounts"),
    (("pv",), None, "a list"),
    (("pv", 0, "bus"), 1, "a bus with a load"),
    (("pv", 0, "rated_w"), 0, "a whole number from 1"),
    (("pv", 0, "rated_w"), 10**10, "a whole number from 1"),
    (("storages", 0, "bus"), 99, "a bus with a load"),
    (("storages", 0, "capacity_wh"), 0, "a whole number from 1"),
    (("storages", 0, "rated_w"), -1, "a whole number from 1"),
    (("storages", 0, "efficiency"), 0, "a number from 0.01 to 1"),
    (("storages", 0, "efficiency"), 1.01, "a number from 0.01 to 1"),
    (("storages", 0, "efficiency"), None, "a number"),
    (("default_day",), 20160720, "a text"),
    (("days",), {}, "at least one day"),
    (("days",), [DAY], "an object"),
    (("days", DAY), [], "an object"),
    (("days", DAY, "load_w"), None, "an object"),
    (("days", DAY, "load_w", "bert"), None, "a list"),
    (("days", DAY, "load_w", "bert", 77), None, "a whole number from 0"),
    (("days", DAY, "load_w", "bert", 119), -1, "a whole number from 0"),
    (("days", DAY, "load_w", "bert", 0), 0.5, "a whole number from 0"),
    (("days", DAY, "load_w", "bert", 0), "300", "a whole number from 0"),
    (("days", DAY, "load_w", "bert", 0), 10**10, "a whole number from 0"),
    (("days", DAY, "pv_w", "roof", 50), None, "a whole number from 0 to 5000"),
    (("days", DAY, "pv_w", "roof", 50), 5001, "a whole number from 0 to 5000"),
]


@pytest.mark.parametrize(("path", "value", "wanted"), FIELDS, ids=lambda item: str(item)[:40])
def test_a_malformed_field_is_named_with_file_got_and_wanted(
    write: Write, path: tuple[str | int, ...], value: object, wanted: str
) -> None:
    file = write("grid", set_at(path, value))
    message = complaint(file)
    assert message.startswith(f"{file}: {place_of(path)}: got {repr(value)[:60]}")
    assert f", wanted {wanted}" in message or wanted in message.split(", wanted ")[1]


REQUIRED: list[tuple[str | int, ...]] = sorted(
    {path for path, _, _ in FIELDS if not isinstance(path[-1], int)} | {("days", DAY, "pv_w", "roof")}, key=str
)


@pytest.mark.parametrize("path", REQUIRED, ids=place_of)
def test_a_missing_field_is_named(write: Write, path: tuple[str | int, ...]) -> None:
    file = write("grid", remove_at(path))
    message = complaint(file)
    assert message.startswith(str(file)) or message.startswith("day: got '2016-07-20'")
    assert f"{path[-1]}" in message or "at least one day" in message
    assert "got" in message
    assert "wanted" in message


@pytest.mark.parametrize("values", [0, 96, 119, 121])
def test_a_profile_that_is_not_thirty_hours_long_is_refused(write: Write, values: int) -> None:
    file = write("grid", set_at(("days", DAY, "load_w", "carl"), [400] * values))
    assert complaint(file) == f"{file}: days.{DAY}.load_w.carl: got {values} values, wanted {PROFILE_MTUS}"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_profile_value_that_is_no_number_is_refused(write: Write, number: str) -> None:
    file = write("grid", set_at(("days", DAY, "load_w", "carl", 5), 123_454_321))
    file.write_text(file.read_text().replace("123454321", number))
    assert number in complaint(file)


@pytest.mark.parametrize(
    ("kind", "entry"),
    [
        ("loads", {"id": "anna", "bus": 3, "profile": "H0-A"}),
        ("pv", {"id": "anna", "bus": 2, "rated_w": 10}),
        ("pv", {"id": "roof", "bus": 3, "rated_w": 10}),
        ("storages", {"id": "roof", "bus": 2, "rated_w": 10, "capacity_wh": 10, "efficiency": 1}),
    ],
)
def test_an_id_that_stands_twice_is_refused(write: Write, kind: str, entry: dict[str, object]) -> None:
    message = complaint(write("grid", lambda extract: extract[kind].append(entry)))
    assert f"id {entry['id']!r}: got 2 times, wanted once" in message


def test_a_key_that_stands_twice_is_refused(write: Write) -> None:
    file = write("grid")
    file.write_text(file.read_text().replace('"load_w": {', '"load_w": {"anna": [], '))
    assert "'anna'" in complaint(file)


def test_a_bus_without_a_line_is_refused(write: Write) -> None:
    file = write("grid", lambda extract: extract["lines"].pop())
    assert complaint(file).startswith(f"{file}: loads[2].bus: got 4, wanted a bus that lines connect")


@pytest.mark.parametrize("day", ["2016-07-21", "20160720", "today", "", "2016-02-30", "../2016-07-20"])
def test_an_unknown_day_is_refused_with_those_that_there_are(write: Write, day: str) -> None:
    file = write("grid")
    assert complaint(file, day) == f"day: got {day!r}, wanted one of {DAY} ({file})"


@pytest.mark.parametrize(
    ("day", "wanted"),
    [
        ("soon", "dates such as"),
        ("2016-02-30", "dates such as"),
        ("1950-01-01", "2000-01-02 to 2099-12-30"),
        ("9999-12-31", "2000-01-02 to 2099-12-30"),
        ("2016-03-26", "clocks of Europe/Berlin do not change"),
        ("2016-03-27", "clocks of Europe/Berlin do not change"),
        ("2016-10-29", "clocks of Europe/Berlin do not change"),
        ("2016-10-30", "clocks of Europe/Berlin do not change"),
    ],
)
def test_a_day_that_cannot_be_lived_is_refused(write: Write, day: str, wanted: str) -> None:
    file = write("grid", lambda extract: extract["days"].update({day: extract["days"][DAY]}))
    message = complaint(file, day)
    assert message.startswith(f"{file}: days: got ")
    assert wanted in message


@pytest.mark.parametrize("name", ["rural2", "", "..", "RURAL1", "1-LV-rural1", "/etc/passwd"])
def test_an_unknown_grid_is_refused_with_those_that_there_are(name: str) -> None:
    with pytest.raises(InputError) as caught:
        load_grid(name, None)
    assert str(caught.value).startswith(f"grid: got {name!r}, wanted one of rural1, rural3, ")


def test_a_missing_extract_is_named(tmp_path: Path) -> None:
    assert complaint(tmp_path / "missing.json").startswith(f"{tmp_path / 'missing.json'}: cannot be read")
    (tmp_path / "folder.json").mkdir()
    assert complaint(tmp_path / "folder.json").startswith(f"{tmp_path / 'folder.json'}: cannot be read")


def test_the_shipped_grids_are_the_two_of_simbench() -> None:
    assert grid_names() == ("1-LV-rural1--2-sw", "1-LV-rural3--2-sw")
    assert set(ALIASES.values()) == set(grid_names())


def test_the_shipped_extracts_stay_under_two_megabytes() -> None:
    assert sum(path.stat().st_size for path in DATA.glob("*.json")) < TWO_MEGABYTES


@pytest.mark.parametrize("name", ["rural1", "rural3"])
class TestShipped:
    """Each shipped extract."""

    def extract(self, name: str) -> Any:
        return json.loads((DATA / f"{ALIASES[name]}.json").read_text("utf-8"))

    def test_has_one_day_of_each_season_that_loads(self, name: str) -> None:
        days = [date.fromisoformat(day) for day in self.extract(name)["days"]]
        assert [SEASONS[day.month] for day in days] == ["winter", "spring", "summer", "autumn"]
        for day in days:
            assert load_grid(name, day.isoformat()).day == day

    def test_is_the_grid_that_it_names(self, name: str) -> None:
        grid = load_grid(name, None)
        peers, plants, stores, rated_va = {"rural1": (28, 8, 5, 160_000), "rural3": (153, 27, 16, 400_000)}[name]
        assert grid.name == ALIASES[name]
        assert (len(grid.loads), len(grid.plants), len(grid.stores)) == (peers, plants, stores)
        assert grid.transformer_va == rated_va

    def test_lines_connect_every_bus_with_the_transformer(self, name: str) -> None:
        extract = self.extract(name)
        reached = {extract["transformer"]["bus"]}
        lines = {(line["from_bus"], line["to_bus"]) for line in extract["lines"]}
        for _ in extract["buses"]:
            reached |= {b for a, b in lines if a in reached} | {a for a, b in lines if b in reached}
        assert reached == {bus["id"] for bus in extract["buses"]}
        assert {load["bus"] for load in extract["loads"]} <= reached

    def test_has_thirty_hours_of_every_profile_and_no_flat_day(self, name: str) -> None:
        extract = self.extract(name)
        for profiles in extract["days"].values():
            assert set(profiles["load_w"]) == {load["id"] for load in extract["loads"]}
            assert set(profiles["pv_w"]) == {plant["id"] for plant in extract["pv"]}
            for series in (*profiles["load_w"].values(), *profiles["pv_w"].values()):
                assert len(series) == 120
            assert len({sum(values) for values in zip(*profiles["load_w"].values(), strict=True)}) > 50

    def test_the_sun_shines_by_day_and_shortest_in_winter(self, name: str) -> None:
        bright = {}
        for day, profiles in self.extract(name)["days"].items():
            sums = [sum(values) for values in zip(*profiles["pv_w"].values(), strict=True)]
            assert max(sums[:16]) == 0
            bright[SEASONS[int(day[5:7])]] = sum(power > 0 for power in sums[:96])
        assert min(bright, key=lambda season: bright[season]) == "winter"

    def test_says_its_licence_and_source(self, name: str) -> None:
        extract = self.extract(name)
        assert extract["license"] == "ODbL-1.0"
        assert "SimBench" in extract["source"]


def test_licence_and_notice_stand_beside_the_data() -> None:
    notice = (DATA / "NOTICE.md").read_text("utf-8")
    licence = (DATA / "LICENSE-ODbL.txt").read_text("utf-8")
    assert "Open Database License" in licence
    assert "4.2 Notices" in licence or "4.3 Notice" in licence
    for name in grid_names():
        assert f"{name}.json" in notice
    assert "SimBench, Copyright (c) 2019 University of Kassel" in notice
    assert "Open Database License (ODbL) 1.0" in notice
    assert "opendatacommons.org/licenses/odbl" in notice
