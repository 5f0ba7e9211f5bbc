"""Calls of a device's RPC, each over a connection of its own: the devices keep none open, and have room for six."""

import asyncio
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import aiohttp

from device_drivers import plain_json
from device_drivers.errors import DeviceError

_LONGEST_BYTES = 65_536
_USER = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a device is.

    Attributes
    ----------
    host : str
        Name or address.
    port : int
        TCP.
    password : str or None
        Of its one user; None where it asks for none.
    patience_s : float
        s that a call may take in all.
    """

    host: str
    port: int
    password: str | None = field(default=None, repr=False)
    patience_s: float = 3.0

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Transport:
    """Makes calls.

    Parameters
    ----------
    place : Place
        Where the device is.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._numbers = count(1)

    async def call(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """The result of a call.

        Raises
        ------
        DeviceError
            If the device cannot be reached, takes too long, refuses, or answers what makes no sense.
        """
        number = next(self._numbers)
        try:
            async with asyncio.timeout(self._place.patience_s):
                status, body = await self._post({"id": number, "method": method, "params": dict(params)})
        except TimeoutError as err:
            raise DeviceError(f"shelly: {self._place} did not answer within {self._place.patience_s:g} s") from err
        except (aiohttp.ClientError, OSError, ValueError) as err:
            raise DeviceError(f"shelly: {self._place} cannot be asked: {err}") from err
        if status == 401:
            raise DeviceError(f"shelly: {self._place} refuses the password" + _or_asks(self._place))
        return _result(status, body, number, method)

    async def _post(self, request: Mapping[str, Any]) -> tuple[int, bytes]:
        digest = None if self._place.password is None else aiohttp.DigestAuthMiddleware(_USER, self._place.password)
        # `timeout` is off: ours counts for all of it.
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True, socket_factory=_reset_on_close),
                timeout=aiohttp.ClientTimeout(total=None),
                middlewares=() if digest is None else (digest,),
            ) as session,
            session.post(f"http://{_bracketed(self._place)}/rpc", json=request, allow_redirects=False) as answer,
        ):
            return answer.status, await answer.content.read(_LONGEST_BYTES)


def _reset_on_close(address: Any) -> socket.socket:
    """A socket that forgets what was not delivered when it is closed: a call given up must not act minutes later."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return made


def _result(status: int, body: bytes, number: int, method: str) -> dict[str, Any]:
    try:
        answer = plain_json.loads(body)
    except ValueError as err:
        raise DeviceError(f"shelly: {method}: got {body[:40]!r} with HTTP {status}, wanted JSON") from err
    if not isinstance(answer, dict) or answer.get("id") != number:
        raise DeviceError(f"shelly: {method}: got {str(answer)[:80]!r}, wanted the answer to call {number}")
    error = answer.get("error")
    if isinstance(error, dict):
        raise DeviceError(f"shelly: {method} was refused: {error.get('code')} {str(error.get('message', ''))[:80]}")
    result = answer.get("result")
    if not isinstance(result, dict):
        raise DeviceError(f"shelly: {method}: got {str(answer)[:80]!r}, wanted a result")
    return result


def _or_asks(place: Place) -> str:
    return ", of which the URL names none" if place.password is None else ""


def _bracketed(place: Place) -> str:
    host = f"[{place.host}]" if ":" in place.host else place.host
    return f"{host}:{place.port}"
