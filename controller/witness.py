"""A clearing as its solver gave it, kept beside its window: what followed from it can be computed again.

It is no evidence by itself. Whoever gets it checks it against the window's inputs, and rounds it again: trades that
come out differently did not follow from it.
"""

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from controller.errors import InputError
from controller.microgrid import Bounds
from optimization.clearing import Clearing
from optimization.quantities import DeviceId, Floats

FORMAT = "gridpact.clearing.v1"
MAX_BYTES = 2**28
"""Unpacked: what a validator is ready to hold of one clearing."""
TABLES = ("trade_kwh", "import_kwh", "export_kwh", "price")
SERIES = ("device_kw", "state_kwh", "temperature_c")


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """What a solver answered.

    Attributes
    ----------
    clearing : the answer
    relaxed : by target, what it kept of limits that nobody could keep
    """

    clearing: Clearing
    relaxed: Mapping[str, tuple[Bounds, ...]]


def pack(witness: Witness) -> bytes:
    """A witness as bytes; equal ones give equal bytes."""
    clearing = witness.clearing
    values = {
        "format": FORMAT,
        "relaxed": {
            target: [[each.start, each.end, each.lower_w, each.upper_w] for each in periods]
            for target, periods in witness.relaxed.items()
        },
        "shortfall": {device: float(value).hex() for device, value in clearing.shortfall.items()},
        "objective": float(clearing.objective).hex(),
        "lower_bound": float(clearing.lower_bound).hex(),
        **{name: _table(getattr(clearing, name)) for name in TABLES},
        **{name: {device: _table(series) for device, series in getattr(clearing, name).items()} for name in SERIES},
    }
    return zlib.compress(json.dumps(values, sort_keys=True, separators=(",", ":")).encode(), 6)


def unpack(data: bytes) -> Witness:
    """The witness that ``pack`` gave as bytes.

    Raises
    ------
    InputError
        If it is none; says where.
    """
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(data, MAX_BYTES)
        if unpacker.unconsumed_tail or not unpacker.eof:
            raise InputError(f"clearing: got more than {MAX_BYTES} bytes or a part, wanted one whole and no more")
        values: dict[str, Any] = json.loads(text)
        if values["format"] != FORMAT:
            raise InputError(f"clearing: got format {values['format']!r:.80}, wanted {FORMAT!r}")
        return Witness(
            clearing=Clearing(
                **{name: _array(values[name]) for name in TABLES},
                device_kw=_of_devices(values["device_kw"]),
                state_kwh=_of_devices(values["state_kwh"]),
                temperature_c=_of_devices(values["temperature_c"]),
                shortfall={DeviceId(id_): float.fromhex(value) for id_, value in values["shortfall"].items()},
                objective=float.fromhex(values["objective"]),
                lower_bound=float.fromhex(values["lower_bound"]),
            ),
            relaxed={
                str(target): tuple(
                    Bounds(start=start, end=end, lower_w=lower, upper_w=upper) for start, end, lower, upper in periods
                )
                for target, periods in values["relaxed"].items()
            },
        )
    except (zlib.error, ValueError, KeyError, TypeError, AttributeError) as err:
        raise InputError(f"clearing: got {type(err).__name__}: {err}, wanted {FORMAT}") from err


def _of_devices(values: Mapping[str, Any]) -> dict[DeviceId, Floats]:
    return {DeviceId(id_): _array(series) for id_, series in values.items()}


def _table(values: Floats) -> list[Any]:
    array = np.ascontiguousarray(values, dtype="<f8")
    return [list(array.shape), base64.b64encode(array.tobytes()).decode()]


def _array(stated: list[Any]) -> Floats:
    shape, data = stated
    return np.frombuffer(base64.b64decode(data, validate=True), dtype="<f8").reshape(shape).astype(np.float64)
