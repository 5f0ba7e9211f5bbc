"""A SunSpec device's register map, found in the device: which models it has and where, and what they are scaled by.

Where points stand in their models comes from the models' own definitions, which pysunspec2 carries. Power counts as
positive when the device feeds in there, and when it draws here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from device_drivers.connection import Timer
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.modbus.field import Field, NoValueError, Table
from device_drivers.modbus.register_map import RegisterMap, Role, Write
from device_drivers.modbus.transport import RefusedError, Transport
from device_drivers.setpoint import Power, ProductionLimit, Target

_BASES = (40_000, 50_000, 0)
_MARK = [0x5375, 0x6E53]
_END = 0xFFFF
_MOST_MODELS = 100
_METERS = (701, 101, 102, 103, 111, 112, 113)

_ABSENT: Mapping[str, int | None] = {
    "int16": -0x8000,
    "uint16": 0xFFFF,
    "enum16": 0xFFFF,
    "sunssf": -0x8000,
    "int32": -0x8000_0000,
    "uint32": 0xFFFF_FFFF,
    "float32": None,
}
"""Types of points that are read or written here, with what says that a point is not implemented."""

_RAW = {"enum16": "uint16", "sunssf": "int16"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """One model in a device: where it begins, and its points' definitions with their offsets."""

    id: int
    address: int
    points: Mapping[str, tuple[int, Mapping[str, Any]]]

    def field(self, point: str, scale: float = 1.0) -> Field:
        offset, definition = self.points[point]
        kind = definition["type"]
        return Field(
            name=f"model {self.id} {point}",
            table=Table.HOLDING,
            address=self.address + offset,
            type=_RAW.get(kind, kind),
            scale=scale,
            absent=_ABSENT[kind],
        )


async def find_map(transport: Transport, takes: type[Target], rated_w: int | None) -> RegisterMap:
    """The map of a SunSpec device for one kind of target.

    A limit goes to model 704, else 123; a power to model 704.

    Parameters
    ----------
    transport : Transport
        To the device.
    takes : type
        `ProductionLimit` or `Power`.
    rated_w : int, optional
        W that percents are of, where the device does not say.

    Raises
    ------
    InvalidValueError
        If the device has no model for such targets, or says no rating and none is given.
    DeviceError
        If it cannot be reached, or is no SunSpec device.
    """
    if takes not in (Power, ProductionLimit):
        raise InvalidValueError(f"failsafe: got a {takes.__name__}, wanted a Power or a ProductionLimit for SunSpec")
    models = await _models(transport)
    power = await _meter(transport, models)
    if takes is Power:
        if 704 not in models:
            raise InvalidValueError(f"failsafe: got a Power of a device with the models {_listed(models)}, wanted 704")
        return await _power_map(transport, models[704], power)
    most_w = float(rated_w) if rated_w is not None else await _rating_w(transport, models)
    if 704 in models:
        return await _limit_map(transport, models[704], most_w, power)
    if 123 in models:
        return await _old_limit_map(transport, models[123], most_w, power)
    raise InvalidValueError(f"map: got a device with the models {_listed(models)}, wanted 704 or 123")


async def _limit_map(transport: Transport, model: _Model, most_w: float, power: Field | None) -> RegisterMap:
    """Model 704: what it reverts to is written with the limit."""
    watts = most_w / 100 * await _factor(transport, model, "WMaxLimPct")
    return RegisterMap(
        takes=ProductionLimit,
        writes=(
            Write(field=model.field("WMaxLimPctEna"), role=Role.CONSTANT, value=1),
            Write(field=model.field("WMaxLimPct", watts), role=Role.TARGET),
            Write(field=model.field("WMaxLimPctRvrt", watts), role=Role.REVERT),
            Write(field=model.field("WMaxLimPctEnaRvrt"), role=Role.CONSTANT, value=1),
            Write(field=model.field("WMaxLimPctRvrtTms"), role=Role.TIMER),
        ),
        power=power,
        timer=Timer(shortest_s=1, longest_s=86_400, resolution_s=1),
        most_w=most_w,
    )


async def _power_map(transport: Transport, model: _Model, power: Field | None) -> RegisterMap:
    """Model 704 in W: what it reverts to and when stands before the power."""
    watts = -await _factor(transport, model, "WSet")
    return RegisterMap(
        takes=Power,
        writes=(
            Write(field=model.field("WSetMod"), role=Role.CONSTANT, value=1),
            Write(field=model.field("WSetRvrt", watts), role=Role.REVERT),
            Write(field=model.field("WSetEnaRvrt"), role=Role.CONSTANT, value=1),
            Write(field=model.field("WSetRvrtTms"), role=Role.TIMER),
            Write(field=model.field("WSet", watts), role=Role.TARGET),
            Write(field=model.field("WSetEna"), role=Role.CONSTANT, value=1),
        ),
        power=power,
        timer=Timer(shortest_s=1, longest_s=86_400, resolution_s=1),
    )


async def _old_limit_map(transport: Transport, model: _Model, most_w: float, power: Field | None) -> RegisterMap:
    """Model 123: its timer ends in no limit at all, so that it is of use only where that is the failsafe."""
    watts = most_w / 100 * await _factor(transport, model, "WMaxLimPct")
    return RegisterMap(
        takes=ProductionLimit,
        writes=(
            Write(field=model.field("WMaxLimPct", watts), role=Role.TARGET),
            Write(field=model.field("WMaxLimPct_WinTms"), role=Role.CONSTANT, value=0),
            Write(field=model.field("WMaxLimPct_RvrtTms"), role=Role.TIMER),
            Write(field=model.field("WMaxLimPct_RmpTms"), role=Role.CONSTANT, value=0),
            Write(field=model.field("WMaxLim_Ena"), role=Role.CONSTANT, value=1),
        ),
        power=power,
        timer=Timer(shortest_s=1, longest_s=65_534, resolution_s=1),
        ends_in=ProductionLimit(limit_w=int(most_w) + 1),
        most_w=most_w,
    )


async def _models(transport: Transport) -> dict[int, _Model]:
    """The models of the device that are of use here, the first of each kind."""
    base = await _base(transport)
    wanted = {704, 123, 702, 121, 120, *_METERS}
    found: dict[int, _Model] = {}
    address = base + 2
    for _ in range(_MOST_MODELS):
        number, length = await transport.read(Table.HOLDING, address, 2)
        if number == _END:
            return found
        if number in wanted and number not in found:
            model = _Model(id=number, address=address, points=_points(number))
            reach = max(offset + definition["size"] for offset, definition in model.points.values())
            if number in {704, 123} and length + 2 < reach:
                raise DeviceError(f"sunspec: got the model {number} of {length} registers, wanted {reach - 2} or more")
            found[number] = model
        address += 2 + length
        if address > 65_533:
            break
    raise DeviceError("sunspec: got no end of the models, wanted the id 65535")


async def _base(transport: Transport) -> int:
    for base in _BASES:
        try:
            if await transport.read(Table.HOLDING, base, 2) == _MARK:
                return base
        except RefusedError:
            continue
    raise DeviceError(f"sunspec: got no mark 'SunS' at {', '.join(map(str, _BASES))}, wanted it at one of them")


async def _meter(transport: Transport, models: Mapping[int, _Model]) -> Field | None:
    for number in _METERS:
        model = models.get(number)
        if model is None:
            continue
        scale = 1.0 if model.points["W"][1]["type"] == "float32" else await _factor(transport, model, "W")
        return model.field("W", -scale)
    return None


async def _rating_w(transport: Transport, models: Mapping[int, _Model]) -> float:
    """W that percents are of: what is set, else what the plate says."""
    for number, point in ((702, "WMax"), (702, "WMaxRtg"), (121, "WMax"), (120, "WRtg")):
        model = models.get(number)
        if model is None:
            continue
        try:
            field = model.field(point, await _factor(transport, model, point))
            rating_w = field.decode(await transport.read(field.table, field.address, field.count))
        except NoValueError:
            continue
        if rating_w > 0:
            return rating_w
    raise InvalidValueError("option rated_w: got none, and none of the device, wanted the W that its percents are of")


async def _factor(transport: Transport, model: _Model, point: str) -> float:
    """What a step of a point is worth."""
    scaled_by = model.points[point][1].get("sf")
    if scaled_by is None:
        return 1.0
    field = model.field(scaled_by)
    exponent = field.decode(await transport.read(field.table, field.address, 1))
    if not -10 <= exponent <= 10:
        raise DeviceError(f"sunspec: {field.name}: got {exponent:g}, wanted -10 to 10")
    return float(10**exponent)


def _points(number: int) -> dict[str, tuple[int, Mapping[str, Any]]]:
    text = files("sunspec2").joinpath("models", "json", f"model_{number}.json").read_text(encoding="utf-8")
    points = {}
    offset = 0
    for definition in json.loads(text)["group"]["points"]:
        points[definition["name"]] = (offset, definition)
        offset += definition["size"]
    return points


def _listed(models: Mapping[int, _Model]) -> str:
    return ", ".join(map(str, sorted(models))) or "none"
