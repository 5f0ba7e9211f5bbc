"""Opens charging stations, which connect to the address that the URL names."""

from collections.abc import Mapping
from pathlib import Path
from random import SystemRandom
from typing import Any

from device_drivers.address import DeviceUrl
from device_drivers.clock import BoottimeClock, Clock
from device_drivers.errors import InvalidValueError
from device_drivers.ocpp.connection import OcppConnection, Ways
from device_drivers.ocpp.dialect import Dialect
from device_drivers.ocpp.listener import LINGER_S, Listener, Place
from device_drivers.ocpp.profile import Scale, Unit
from device_drivers.ocpp.station import MOST_CONNECTORS, Terms
from device_drivers.ocpp.v16 import V16
from device_drivers.ocpp.v201 import V201
from device_drivers.options import Options
from device_drivers.setpoint import Power, RelayState, Target

PORT = 9000

_PATIENCE_S = 2.5
"""Less than a device may take to answer unless told otherwise, so that the reason is heard."""
_VERSIONS = {"any": ("ocpp2.0.1", "ocpp1.6"), "1.6": ("ocpp1.6",), "2.0.1": ("ocpp2.0.1",)}
_MOST_W = 10**7
_HIGHEST_LEVEL = 1000
_LONGEST_TAG = 20
"""Characters of an idTag in 1.6."""


class OcppDriver:
    """Opens ``ocpp://HOST[:PORT]/STATION``: this machine's address, and how the station calls itself.

    Parameters
    ----------
    clock : Clock, optional
        The machine's where it is left out.
    linger_s : float
        s for which stations that nobody drives stay connected.
    """

    default_port = PORT

    def __init__(self, clock: Clock | None = None, linger_s: float = LINGER_S) -> None:
        self._clock = BoottimeClock() if clock is None else clock
        self._linger_s = linger_s
        randomness = SystemRandom()
        dialects: tuple[Dialect, ...] = (V16(randomness), V201(randomness))
        self._dialects = {dialect.subprotocol: dialect for dialect in dialects}
        self._listeners: dict[tuple[str, int], Listener] = {}

    def listens(self, address: DeviceUrl) -> bool:
        """Always: stations dial us."""
        return address.scheme == "ocpp"

    async def open(self, address: DeviceUrl, *, failsafe: Target, options: Mapping[str, Any]) -> OcppConnection:
        """A connection to an outlet of a station, once that is connected; it switches nothing.

        Raises
        ------
        InvalidValueError
            If the URL or an option is wrong, or the failsafe is of a kind that a station does not take.
        DeviceError
            If the address cannot be listened on, the station is not connected, or cannot be read.
        """
        read = Options(options)
        place, terms, ways = _place(address, read), _terms(read), _ways(read)
        read.done()
        if ways.tag and terms.tags and ways.tag not in terms.tags:
            raise InvalidValueError(
                f"option tags: got {', '.join(sorted(terms.tags))}, wanted {ways.tag} of id_tag too"
            )
        if not address.path or "/" in address.path or address.username is not None:
            raise InvalidValueError(f"url: got {address}, wanted ocpp://HOST[:PORT]/STATION")
        known = self._listeners.get((place.host, place.port))
        if known is None:
            known = self._listeners[place.host, place.port] = Listener(
                place, self._dialects, self._clock, self._linger_s
            )
        if known.place != place:
            raise InvalidValueError(
                f"option certificate: got another than other stations at {place} have, wanted the same, or another port"
            )
        listener, name = known, address.path
        outlet = _drivable(failsafe, ways)
        station = await listener.claim(name, terms)
        connection = OcppConnection(
            station,
            outlet,
            ways,
            now=self._clock.now,
            absent=lambda: listener.why_absent(station),
            let_go=lambda: listener.release(name),
        )
        try:
            await connection.read()
        except BaseException:
            await connection.aclose()
            raise
        return connection


def _place(address: DeviceUrl, read: Options) -> Place:
    certificate, key = (Path(read.text(name)) if read.has(name) else None for name in ("certificate", "key"))
    if (certificate is None) is not (key is None):
        raise InvalidValueError("option certificate: got it, or key, alone, wanted both or neither")
    for name, path in (("certificate", certificate), ("key", key)):
        if path is not None and not path.is_file():
            raise InvalidValueError(f"option {name}: got {str(path)!r}, wanted a file")
    return Place(host=address.host, port=address.port or PORT, certificate=certificate, key=key)


def _terms(read: Options) -> Terms:
    password = read.text("password") if read.has("password") else None
    if read.has("password_file"):
        if password is not None:
            raise InvalidValueError("option password: got it and password_file, wanted one of them")
        path = Path(read.text("password_file"))
        try:
            password = path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as err:
            raise InvalidValueError(f"option password_file: {path} cannot be read: {err}") from err
        if not password:
            raise InvalidValueError(f"option password_file: got nothing in {path}, wanted a password")
    tags = read.text("tags").split(",") if read.has("tags") else []
    return Terms(
        password=password,
        versions=_VERSIONS[read.choice("version", _VERSIONS, "any")],
        tags=frozenset(tag.strip() for tag in tags),
        heartbeat_s=read.integer("heartbeat_s", 60, least=5, most=86_400),
    )


def _ways(read: Options) -> Ways:
    asked = read.choice("meter", ("asked", "sent"), "asked") == "asked"
    age_s = read.number("meter_age_s", 120.0, least=1, most=3600)
    if asked and read.has("meter_age_s"):
        raise InvalidValueError("option meter_age_s: got it without meter=sent, wanted both")
    tag = read.text("id_tag") if read.has("id_tag") else ""
    if len(tag) > _LONGEST_TAG:
        raise InvalidValueError(f"option id_tag: got {len(tag)} characters, wanted {_LONGEST_TAG} at most")
    rated_w = read.integer("rated_w", least=1, most=_MOST_W) if read.has("rated_w") else None
    if tag and rated_w is None:
        raise InvalidValueError("option id_tag: got it without rated_w, wanted both: it is for relays")
    return Ways(
        outlet=read.integer("connector", 1, least=0, most=MOST_CONNECTORS),
        scale=Scale(
            unit=Unit(read.choice("unit", [unit.value for unit in Unit], Unit.WATTS.value)),
            phases=read.integer("phases", 3, least=1, most=3),
            voltage_v=read.number("voltage", 230.0, least=50, most=1000),
        ),
        rated_w=rated_w,
        level=read.integer("level", 0, least=0, most=_HIGHEST_LEVEL),
        own=read.choice("profile", ("transaction", "default"), "transaction") == "transaction",
        tag=tag,
        pushed_s=None if asked else age_s,
        patience_s=read.number("timeout_s", _PATIENCE_S, least=0.01, most=60),
    )


def _drivable(failsafe: Target, ways: Ways) -> RelayState | Power:
    """The failsafe, of a kind that the options drive."""
    if ways.rated_w is None:
        if isinstance(failsafe, Power) and failsafe.power_w >= 0:
            return failsafe
        raise InvalidValueError(
            f"failsafe: got {failsafe}, wanted a power, not negative; or, with the option rated_w, a state of the relay"
        )
    if not isinstance(failsafe, RelayState):
        raise InvalidValueError(f"failsafe: got {failsafe}, wanted a state of the relay, as rated_w makes it one")
    return failsafe
