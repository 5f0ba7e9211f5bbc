"""Frames of the local protocol: a length, then JSON under a running XOR.

Each byte is combined with the one before it as it was sent; the first with 171. That hides nothing from
anybody: whoever reaches the plug's port may switch it.
"""

import json
from collections.abc import Mapping
from typing import Any

from device_drivers import plain_json
from device_drivers.errors import DeviceError

HEADER_BYTES = 4
LONGEST_BYTES = 65_536
"""A plug's longest answers have a few kB; one that announces more is not speaking this protocol."""

_FIRST_KEY = 171


def encode(request: Mapping[str, Any]) -> bytes:
    """The frame of a request: four bytes of length, most significant first, and what they count."""
    body = _mask(json.dumps(request, separators=(",", ":")).encode())
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def body_bytes(header: bytes) -> int:
    """How many bytes follow a header.

    Raises
    ------
    DeviceError
        If no plug would say so.
    """
    length = int.from_bytes(header, "big")
    if not 0 < length <= LONGEST_BYTES:
        raise DeviceError(f"kasa: got an answer of {length} bytes, wanted 1 to {LONGEST_BYTES}")
    return length


def decode(body: bytes) -> dict[str, Any]:
    """The answer in a frame's body.

    Raises
    ------
    DeviceError
        If it is no JSON object.
    """
    plain = _unmask(body)
    try:
        answer = plain_json.loads(plain)
    except ValueError as err:
        raise DeviceError(f"kasa: got an answer that is no JSON ({plain[:40]!r})") from err
    if not isinstance(answer, dict):
        raise DeviceError(f"kasa: got the answer {plain[:40]!r}, wanted a JSON object")
    return answer


def _mask(plain: bytes) -> bytes:
    masked = bytearray(len(plain))
    key = _FIRST_KEY
    for index, byte in enumerate(plain):
        key = masked[index] = byte ^ key
    return bytes(masked)


def _unmask(masked: bytes) -> bytes:
    return bytes(byte ^ key for byte, key in zip(masked, (_FIRST_KEY, *masked), strict=False))
