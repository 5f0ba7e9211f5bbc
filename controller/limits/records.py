"""Envelopes and defaults as plain JSON values, and back: what the journal and the database keep."""

import base64
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from controller.limits.values import Default, Envelope, Signature, Source
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
