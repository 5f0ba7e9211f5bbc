import json
import sys

import pytest

from device_drivers.plain_json import DEEPEST, loads


@pytest.fixture
def raised():
    """The interpreter's limit as another library of the process may have set it."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10**6)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":', '["[[", [', '[" \\" [", ['])
def test_what_is_nested_too_deeply_ends_nothing(raised, opening):
    with pytest.raises(ValueError, match="nested more than 64 deep"):
        loads(opening * 100_000)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[" * DEEPEST + "]" * DEEPEST, None),
        (b'{"a": ["[[[", 1]}', {"a": ["[[[", 1]}),
        ('["' + "[{" * 100 + '"]', ["[{" * 100]),
        ("[[],[]]" * 0 + "[" + ",".join(["[]"] * 100) + "]", [[]] * 100),
    ],
)
def test_honest_json_is_read(text, value):
    assert value is None or loads(text) == value
    loads(text)


@pytest.mark.parametrize("text", ["", "[", '"open', b"\xff", "[}", "nan"])
def test_what_is_no_json_is_refused(text):
    with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
        loads(text)
