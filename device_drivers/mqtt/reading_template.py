"""Templates from TOML; docs/protocols.md says what one holds."""

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from device_drivers.errors import InvalidValueError
from device_drivers.mqtt.template import Source, Template
from device_drivers.options import Options
from device_drivers.setpoint import Power, ProductionLimit, RelayState

_TAKES: Mapping[str, type] = {"relay": RelayState, "power": Power, "production-limit": ProductionLimit}
_SECTIONS = ("command", "request", "state", "power", "availability")
_WATTS = {"W": 1.0, "kW": 1000.0, "mW": 0.001}


def read_template(text: str, name: str, topic: str) -> Template:
    """A template.

    Parameters
    ----------
    text : str
        TOML.
    name : str
        What it is called in messages.
    topic : str
        What stands for ``{topic}``.

    Raises
    ------
    InvalidValueError
        If it is none; names the section and the key.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        raise InvalidValueError(f"map {name}: got no TOML: {err}") from err
    try:
        return _Reader(document, topic).read()
    except InvalidValueError as err:
        raise InvalidValueError(f"map {name}: {err}") from err


class _Reader:
    def __init__(self, document: Mapping[str, Any], topic: str) -> None:
        self._topic = topic
        self._sections = {key: value for key, value in document.items() if isinstance(value, dict)}
        top = Options({key: value for key, value in document.items() if key not in self._sections})
        self._takes = _TAKES[top.choice("takes", _TAKES)]
        top.done()
        unknown = sorted(set(self._sections) - set(_SECTIONS))
        if unknown:
            raise InvalidValueError(f"section: got {', '.join(unknown)}, wanted {', '.join(_SECTIONS)}")

    def read(self) -> Template:
        relay = self._takes is RelayState
        on = off = told = is_on = is_off = availability = offline = ""
        scale = 1.0
        with self._section("command") as read:
            command_topic = self._named(read)
            if relay:
                on, off = read.text("on", "ON"), read.text("off", "OFF")
            else:
                told = _with_value(read.text("text", "{value}"))
                scale = _scale(read) * read.number("scale", 1.0, least=1e-6, most=1e6)
        with self._section("request") as read:
            request_topic, request = self._named(read), read.text("payload", "?")
        state = power = None
        if relay or "state" in self._sections:
            with self._section("state") as read:
                state = self._source(read, scale)
                if relay:
                    is_on, is_off = read.text("on", "ON"), read.text("off", "OFF")
        if "power" in self._sections:
            with self._section("power") as read:
                power = self._source(read, _scale(read))
        if state is None and power is None:
            raise InvalidValueError("section: got neither state nor power, wanted one: nobody knows whether it obeys")
        if "availability" in self._sections:
            with self._section("availability") as read:
                availability, offline = self._named(read), read.text("offline", "offline")
        return Template(
            takes=self._takes,
            command_topic=command_topic,
            on=on,
            off=off,
            text=told,
            scale=scale,
            request_topic=request_topic,
            request=request,
            state=state,
            is_on=is_on,
            is_off=is_off,
            power=power,
            availability_topic=availability,
            offline=offline,
        )

    @contextmanager
    def _section(self, name: str) -> Iterator[Options]:
        """A section's options, of which each has to be asked for."""
        read = Options(self._sections.get(name, {}))
        try:
            yield read
            read.done()
        except InvalidValueError as err:
            raise InvalidValueError(f"section {name}: {err}") from err

    def _named(self, read: Options) -> str:
        return read.text("topic").replace("{topic}", self._topic)

    def _source(self, read: Options, scale: float) -> Source:
        key = read.text("key").split(".") if read.has("key") else ()
        return Source(topic=self._named(read), key=tuple(key), scale=scale)


def _with_value(text: str) -> str:
    if "{value}" not in text:
        raise InvalidValueError(f"option text: got {text!r}, wanted {{value}} in it")
    return text


def _scale(read: Options) -> float:
    sign = -1 if read.choice("positive", ("consumption", "production"), "consumption") == "production" else 1
    return sign * _WATTS[read.choice("unit", _WATTS, "W")]
