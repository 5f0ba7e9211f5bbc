import io
import json
import logging

import pytest

from controller import logs


@pytest.fixture
def stream():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_json_has_one_object_a_line_with_the_fields_that_are_there(stream):
    logs.configure("info", "json", stream)
    logging.getLogger("controller.x").info("closed %s", "a\nb", extra={"window": "w", "payload": "secret"})
    (line,) = stream.getvalue().splitlines()
    told = json.loads(line)
    assert told.pop("time").endswith("Z")
    assert told == {"level": "info", "logger": "controller.x", "message": "closed a\nb", "window": "w"}


def test_an_exception_stays_within_its_line(stream):
    logs.configure("info", "json", stream)
    logging.getLogger("x").error("failed", exc_info=ValueError("why"))
    (line,) = stream.getvalue().splitlines()
    assert "ValueError: why" in json.loads(line)["exception"]


def test_text_is_for_people(stream):
    logs.configure("warning", "text", stream)
    logging.getLogger("x").info("unheard")
    logging.getLogger("x").warning("heard", extra={"microgrid": "village"})
    (line,) = stream.getvalue().splitlines()
    assert line.endswith("Z warning heard microgrid=village")
