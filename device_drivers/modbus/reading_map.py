"""Register maps from TOML; docs/protocols.md says what one holds."""

import tomllib
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from device_drivers.connection import Timer
from device_drivers.errors import InvalidValueError
from device_drivers.modbus.field import Field, Table, check_apart
from device_drivers.modbus.register_map import RegisterMap, Role, Write
from device_drivers.options import Options
from device_drivers.setpoint import Power, ProductionLimit, RelayState, Target

SHIPPED = ("relay-coil",)
"""Names of the maps in ``maps/``."""

_TAKES: Mapping[str, type] = {"relay": RelayState, "power": Power, "production-limit": ProductionLimit}
_SECTIONS = ("target", "relay", "power", "timer", "revert")
_WATTS = {"W": 1.0, "kW": 1000.0, "mW": 0.001}
_SECONDS = {"s": 1.0, "min": 60.0, "ms": 0.001}
_LONGEST_S = 86_400.0


def read_shipped(name: str, *, rated_w: int | None = None, channel: int = 0) -> RegisterMap:
    """The map of that name that comes with this package; see `read_map`."""
    text = files("device_drivers.modbus").joinpath("maps", f"{name}.toml").read_text(encoding="utf-8")
    return read_map(text, name, rated_w=rated_w, channel=channel)


def read_map(text: str, name: str, *, rated_w: int | None = None, channel: int = 0) -> RegisterMap:
    """A register map.

    Parameters
    ----------
    text : str
        TOML.
    name : str
        What the map is called in messages.
    rated_w : int, optional
        W that percents are of.
    channel : int
        Which of a device's equal parts: addresses are that many steps further.

    Raises
    ------
    InvalidValueError
        If the text is no map; names the section and the key.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        raise InvalidValueError(f"map {name}: got no TOML: {err}") from err
    try:
        return _Reader(document, rated_w, channel).read()
    except InvalidValueError as err:
        raise InvalidValueError(f"map {name}: {err}") from err


class _Reader:
    def __init__(self, document: Mapping[str, Any], rated_w: int | None, channel: int) -> None:
        self._document = document
        self._rated_w = rated_w
        self._channel = channel
        top = Options({key: value for key, value in document.items() if not isinstance(value, dict | list)})
        self._takes = _TAKES[top.choice("takes", _TAKES)]
        top.done()
        unknown = sorted(key for key, value in document.items() if isinstance(value, dict) and key not in _SECTIONS)
        if unknown:
            raise InvalidValueError(f"section: got {', '.join(unknown)}, wanted {', '.join(_SECTIONS)}, constant")

    def read(self) -> RegisterMap:
        target = self._field("target", self._target_scale)
        if target is None:
            raise InvalidValueError("section target: got none, wanted where the device is told")
        relay = self._field("relay", self._target_scale)
        if relay is not None and self._takes is not RelayState:
            raise InvalidValueError("section relay: got one of a device that takes no relay, wanted none")
        revert = self._field("revert", self._target_scale)
        timer_field, timer, ends_in = self._timer(revert is not None)
        power = self._field("power", _watts)
        constants = self._constants()
        check_apart(
            [one for one in (target, revert, timer_field, *(write.field for write in constants)) if one is not None]
        )
        check_apart([one for one in (target, power) if one is not None])
        return RegisterMap(
            takes=self._takes,
            writes=(
                *(() if revert is None else (Write(field=revert, role=Role.REVERT),)),
                *(() if timer_field is None else (Write(field=timer_field, role=Role.TIMER),)),
                Write(field=target, role=Role.TARGET),
                *constants,
            ),
            relay=relay or (target if self._takes is RelayState else None),
            power=power,
            timer=timer,
            ends_in=ends_in,
            most_w=None if self._rated_w is None else float(self._rated_w),
        )

    def _field(self, section: str, scale_of: Callable[[Options], float]) -> Field | None:
        table = self._document.get(section)
        if table is None:
            return None
        if not isinstance(table, dict):
            raise InvalidValueError(f"section {section}: got {table!r}, wanted a table")
        return self._one(section, Options(table), scale_of)

    def _one(self, section: str, read: Options, scale_of: Callable[[Options], float], done: bool = True) -> Field:
        try:
            table = Table(read.choice("table", [one.value for one in Table]))
            field = Field(
                name=section,
                table=table,
                address=read.integer("address", least=0, most=65_535)
                + self._channel * read.integer("step", 0, least=0, most=1000),
                type="bit" if table.bits else read.text("type"),
                order=read.text("order", "ABCD"),
                scale=scale_of(read) * read.number("scale", 1.0),
            )
            if done:
                read.done()
        except InvalidValueError as err:
            raise InvalidValueError(f"section {section}: {err}") from err
        return field

    def _target_scale(self, read: Options) -> float:
        if self._takes is RelayState:
            return 1 / read.integer("on", 1, least=1, most=65_535)
        unit = read.choice("unit", ("W", "kW", "%"), "W")
        if unit == "%":
            if self._rated_w is None:
                raise InvalidValueError("option unit: got % without the option rated_w of the device, wanted both")
            return _sign(read, self._takes) * self._rated_w / 100
        return _sign(read, self._takes) * _WATTS[unit]

    def _timer(self, written: bool) -> tuple[Field | None, Timer | None, Target | None]:
        table = self._document.get("timer")
        if table is None:
            if written:
                raise InvalidValueError("section revert: got one without a timer, wanted both")
            return None, None, None
        if not isinstance(table, dict):
            raise InvalidValueError(f"section timer: got {table!r}, wanted a table")
        read = Options(table)
        field = self._one("timer", read, lambda options: _SECONDS[options.choice("unit", _SECONDS, "s")], done=False)
        try:
            resolution_s = abs(field.scale)
            timer = Timer(
                shortest_s=read.number("least_s", resolution_s, least=0),
                longest_s=read.number("most_s", _LONGEST_S, least=0),
                resolution_s=resolution_s,
            )
            ends_in = None if written else self._ends_in(read)
            read.done()
        except InvalidValueError as err:
            raise InvalidValueError(f"section timer: {err}") from err
        return field, timer, ends_in

    def _ends_in(self, read: Options) -> Target:
        if self._takes is RelayState:
            return RelayState(closed=read.choice("ends_in", ("off", "on")) == "on")
        power_w = read.integer("ends_in_w", most=10**9)
        return Power(power_w=power_w) if self._takes is Power else ProductionLimit(limit_w=power_w)

    def _constants(self) -> tuple[Write, ...]:
        listed = self._document.get("constant", [])
        if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
            raise InvalidValueError("section constant: got no list of tables, wanted [[constant]]")
        writes = []
        for index, one in enumerate(listed):
            read = Options(one)
            name = f"constant {index + 1}"
            field = self._one(name, read, lambda _: 1.0, done=False)
            try:
                writes.append(Write(field=field, role=Role.CONSTANT, value=read.integer("value")))
                read.done()
            except InvalidValueError as err:
                raise InvalidValueError(f"section {name}: {err}") from err
        return tuple(writes)


def _watts(read: Options) -> float:
    return _WATTS[read.choice("unit", _WATTS, "W")] * (
        -1 if read.choice("positive", ("consumption", "production"), "consumption") == "production" else 1
    )


def _sign(read: Options, takes: type) -> int:
    """A limit of production has no sign; a power is positive when it is drawn unless the map says otherwise."""
    if takes is ProductionLimit:
        return 1
    return -1 if read.choice("positive", ("consumption", "production"), "consumption") == "production" else 1
