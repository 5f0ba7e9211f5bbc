"""A device behind a resource manager as its URL and its options say it."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2python.generated.gen_s2 import Commodity, ResourceManagerDetails, RoleType

from device_drivers.address import DeviceUrl
from device_drivers.errors import InvalidValueError
from device_drivers.options import Options
from device_drivers.s2.control import Control, Wishes
from device_drivers.s2.envelope import Envelopes
from device_drivers.s2.line import Place
from device_drivers.s2.modes import FillRates, OperationModes
from device_drivers.s2.programme import Programmes
from device_drivers.setpoint import Power, ProductionLimit, RelayState, Target

_PATIENCE_S = 2.5
_POWER_AGE_S = 60.0
_CONTROLS: Mapping[str, type[OperationModes | FillRates | Programmes | Envelopes]] = {
    "ombc": OperationModes,
    "frbc": FillRates,
    "ppbc": Programmes,
    "pebc": Envelopes,
}
_FITTING: Mapping[type[Target], tuple[str, ...]] = {
    RelayState: ("ombc", "ppbc", "frbc"),
    Power: ("frbc", "ombc", "pebc"),
    ProductionLimit: ("pebc",),
}
"""By what the failsafe is the control types that can do it, the best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A device as its URL and its options say.

    Attributes
    ----------
    wishes : Wishes
        What is said of the device itself.
    dials : bool
        Whether the manager is connected to.
    patience_s : float
        s that an answer may take.
    power_age_s : float
        s after which a power that was measured counts no more.
    """

    wishes: Wishes
    dials: bool
    patience_s: float
    power_age_s: float


def read_spec(address: DeviceUrl, failsafe: Target, options: Mapping[str, Any]) -> tuple[Spec, Place]:
    """A device, and where its manager connects to, or is.

    Raises
    ------
    InvalidValueError
        If the URL or an option is wrong.
    """
    read = Options(options)
    dials = read.choice("mode", ("listen", "connect"), "listen") == "connect"
    control = read.choice("control", tuple(_CONTROLS)) if read.has("control") else None
    fill = read.choice("fill", ("wh", "kwh", "percent", "celsius")) if read.has("fill") else None
    wishes = Wishes(
        failsafe=failsafe,
        control=None if control is None else _CONTROLS[control].kind,
        off=read.text("off") if read.has("off") else None,
        on=read.text("on") if read.has("on") else None,
        actuator=read.text("actuator") if read.has("actuator") else None,
        fill=fill,
        capacity_wh=read.number("capacity_wh", least=1, most=1e9) if read.has("capacity_wh") else None,
    )
    token = _token(read, address)
    secured_by, tls = _client_tls(read) if dials else _server_tls(read)
    spec = Spec(
        wishes=wishes,
        dials=dials,
        patience_s=read.number("timeout_s", _PATIENCE_S, least=0.01, most=60),
        power_age_s=read.number("power_age_s", _POWER_AGE_S, least=1, most=86_400),
    )
    read.done()
    if address.port is None or address.username:
        raise InvalidValueError(f"url: got {address}, wanted s2://[:TOKEN@]HOST:PORT[/PATH], without a user")
    if control is not None and control not in _FITTING[type(failsafe)]:
        wanted = ", ".join(_FITTING[type(failsafe)])
        raise InvalidValueError(f"failsafe: got {failsafe} with control={control}, wanted control={wanted}")
    return spec, Place(
        host=address.host,
        port=address.port,
        path=f"/{address.path}",
        token=token,
        secured_by=secured_by,
        tls=tls,
    )


def _token(read: Options, address: DeviceUrl) -> str | None:
    if not read.has("token_file"):
        return address.password or None
    if address.password:
        raise InvalidValueError("option token_file: got a token in the URL too, wanted one of both")
    name = read.text("token_file")
    try:
        token = Path(name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as err:
        raise InvalidValueError(f"option token_file: got {name!r}, wanted a text: {err}") from err
    if not token:
        raise InvalidValueError(f"option token_file: got nothing in {name!r}, wanted a token")
    return token


def _client_tls(read: Options) -> tuple[tuple[str, ...], ssl.SSLContext | None]:
    encrypted = read.flag("tls")
    authority = read.text("ca") if read.has("ca") else None
    if authority is None:
        return ("system",) * encrypted, ssl.create_default_context() if encrypted else None
    if not encrypted:
        raise InvalidValueError("option ca: got one without tls=yes, wanted both")
    try:
        return (authority,), ssl.create_default_context(cafile=authority)
    except (OSError, ssl.SSLError) as err:
        raise InvalidValueError(f"option ca: got {authority!r}, wanted a file of PEM: {err}") from err


def _server_tls(read: Options) -> tuple[tuple[str, ...], ssl.SSLContext | None]:
    certificate = read.text("certificate") if read.has("certificate") else None
    key = read.text("key") if read.has("key") else None
    if certificate is None and key is None:
        return (), None
    if certificate is None or key is None:
        raise InvalidValueError("option certificate: got one of certificate and key, wanted both")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as err:
        raise InvalidValueError(f"option certificate: got {certificate!r} and its key, wanted PEM: {err}") from err
    return (certificate, key), context


def choose_control(wishes: Wishes, details: ResourceManagerDetails) -> Control:
    """The best control type that a manager offers and that does the failsafe.

    Raises
    ------
    InvalidValueError
        If there is none.
    """
    offered = set(details.available_control_types)
    for name in _FITTING[type(wishes.failsafe)]:
        control = _CONTROLS[name]
        if control is Envelopes and not _bounds(wishes.failsafe, details):
            continue
        if control.kind in offered and wishes.control in {None, control.kind}:
            return control(wishes)
    names = ", ".join(one.value for one in details.available_control_types)
    roles = ", ".join(one.role.value for one in details.roles)
    raise InvalidValueError(
        f"failsafe: got {wishes.failsafe}, wanted what a resource manager with {names} can do as {roles}"
    )


def _bounds(failsafe: Target, details: ResourceManagerDetails) -> bool:
    """Whether an envelope around this failsafe bounds anything that the device does."""
    roles = {one.role for one in details.roles if one.commodity is Commodity.ELECTRICITY}
    idle = RoleType.ENERGY_CONSUMER if isinstance(failsafe, ProductionLimit) else RoleType.ENERGY_PRODUCER
    return bool(roles - {idle})
