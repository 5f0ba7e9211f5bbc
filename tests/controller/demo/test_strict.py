"""Every complaint about a file names the file, the field, what was got and what was wanted."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.demo.strict import Reader
from controller.errors import InputError

DEEP = 10_000


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b'{"a": 1}, ', "JSON"),
        (b'{"a": 01}', "JSON"),
        (b"{'a': 1}", "JSON"),
        (b"\x00\x01\x02\x03", "JSON"),
        (b"\xff\xfe{\x00}\x00", "utf-8"),
        (b"\x89PNG\r\n\x1a\n", "utf-8"),
        (b"SQLite format 3\x00", "JSON"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": [Infinity]}', "Infinity"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": ' + b"9" * 5000 + b"}", "JSON"),
        (b'{"a": 1, "b": 2, "a": 1}', "'a'"),
        (b'{"outer": {"a": 1, "a": 2}}', "'a'"),
        (b"[" * DEEP + b"]" * DEEP, "16 deep"),
        (b'{"a":' * DEEP + b"1" + b"}" * DEEP, "16 deep"),
        (b"[" * DEEP, "16 deep"),
    ],
)
def test_what_is_no_json_is_refused_with_the_name_of_its_file(tmp_path: Path, content: bytes, wanted: str) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        Reader.of_file(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert wanted in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_deep_nesting_is_refused_under_the_recursion_limit_of_the_embedded_chain(tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    path.write_bytes(b"[" * 1_000_000)
    script = (
        "import sys; sys.setrecursionlimit(100_000)\n"
        "from pathlib import Path\n"
        "from controller.demo.strict import Reader\n"
        "from controller.errors import InputError\n"
        "try: Reader.of_file(Path(sys.argv[1]))\n"
        "except InputError: print('refused')"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", script, path], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"


@pytest.mark.parametrize("name", [".", "missing.json", "missing/below.json"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        Reader.of_file(tmp_path / name)


READS: dict[str, Callable[[Reader], object]] = {
    "text": Reader.text,
    "truth": Reader.truth,
    "integer": lambda reader: reader.integer(lower=1, upper=9),
    "number": lambda reader: reader.number(lower=0.5, upper=9),
    "items": Reader.items,
    "entries": Reader.entries,
    "field": lambda reader: reader.field("there"),
}
VALUES: dict[str, object] = {
    "null": None,
    "true": True,
    "zero": 0,
    "one": 1,
    "half": 0.5,
    "many": 10,
    "digits": 10**400,
    "nan": float("nan"),
    "infinity": float("inf"),
    "nothing": "",
    "word": "word",
    "list": [1],
    "object": {"there": 1},
}
ACCEPTED = {
    ("text", "word"),
    ("truth", "true"),
    ("integer", "one"),
    ("number", "one"),
    ("number", "half"),
    ("items", "list"),
    ("entries", "object"),
    ("field", "object"),
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("value", VALUES)
def test_each_reading_takes_its_own_type_within_bounds_and_nothing_else(read: str, value: str) -> None:
    place = Reader(VALUES[value], "file.json: place")
    if (read, value) in ACCEPTED:
        READS[read](place)
        return
    with pytest.raises(InputError) as caught:
        READS[read](place)
    got = repr(VALUES[value])[:60]
    assert str(caught.value).startswith(f"file.json: place: got {got}")
    assert ", wanted a" in str(caught.value) or ", wanted true" in str(caught.value)


def test_a_place_is_the_path_to_it() -> None:
    root = Reader({"days": {"monday": [{"load": None}]}}, "file.json")
    place = root.field("days").field("monday").items()[0].field("load")
    assert place.place == "file.json: days.monday[0].load"


def test_a_missing_field_is_named_beside_those_that_are_there() -> None:
    with pytest.raises(InputError) as caught:
        Reader({"form": 1, "fort": 2}, "file.json").field("format")
    assert str(caught.value) == "file.json: field 'format': got none beside ['form', 'fort'], wanted one"


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ([1, 2], "got 2 values, wanted 3"),
        ([1, 2, 3, 4], "got 4 values, wanted 3"),
        ([1, None, 3], r"\[1\]: got None, wanted a whole number from 0 to 50"),
        ([1, 2, -1], r"\[2\]: got -1, wanted a whole number from 0 to 50"),
        ([1, 2, 51], r"\[2\]: got 51, wanted a whole number from 0 to 50"),
        ([1.0, 2, 3], r"\[0\]: got 1.0, wanted a whole number"),
        ("123", "got '123', wanted a list"),
    ],
)
def test_a_profile_has_all_its_values_in_whole_watts(values: object, complaint: str) -> None:
    with pytest.raises(InputError, match=f"file.json: load.*{complaint}"):
        Reader(values, "file.json: load").watts(3, upper=50)


def test_a_whole_profile_is_read() -> None:
    assert Reader([1, 0, 50], "file.json: load").watts(3, upper=50) == (1, 0, 50)
