"""Envelopes and defaults as plain JSON values, and back: what the journal and the database keep."""

import base64
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from controller.limits.values import Band, Default, Envelope, Signature, Source
from controller.microgrid import Bounds


def plain(value: Envelope | Default) -> dict[str, Any]:
    """The values of an envelope or a default."""
    values = asdict(value)
    values["signed"] = {
        "payload": base64.b64encode(value.signed.payload).decode(),
        "signature": base64.b64encode(value.signed.signature).decode(),
        "key_id": value.signed.key_id,
    }
    return values


def envelope(values: Mapping[str, Any]) -> Envelope:
    """The envelope of values that `plain` gave."""
    return Envelope(
        **{
            **values,
            "source": Source(**values["source"]),
            "periods": tuple(Bounds(**period) for period in values["periods"]),
            "signed": _signature(values["signed"]),
        }
    )


def default(values: Mapping[str, Any]) -> Default:
    """The default of values that `plain` gave."""
    return Default(**{**values, "source": Source(**values["source"]), "signed": _signature(values["signed"])})


def held(microgrid: str, holder: str, bands: Mapping[tuple[str, Source], Band]) -> dict[str, Any]:
    """The record of what held when a DSO lost control, by target and source."""
    kept = [
        {"target": target, "source": source.name, "lower_w": band.lower_w, "upper_w": band.upper_w}
        for (target, source), band in sorted(bands.items())
    ]
    return {"kind": "held", "microgrid": microgrid, "holder": holder, "bands": kept}


def held_bands(record: Mapping[str, Any]) -> dict[tuple[str, Source], Band]:
    """The bands of a record that `held` gave."""
    return {
        (kept["target"], Source(holder=record["holder"], name=kept["source"])): Band(
            lower_w=kept["lower_w"], upper_w=kept["upper_w"]
        )
        for kept in record["bands"]
    }


def microgrid_of(record: Mapping[str, Any]) -> str:
    """Whose limits a record changes."""
    inner = record.get("envelope") or record.get("default") or record
    return str(inner["microgrid"])


def _signature(values: Mapping[str, str]) -> Signature:
    return Signature(
        payload=base64.b64decode(values["payload"]),
        signature=base64.b64decode(values["signature"]),
        key_id=values["key_id"],
    )
