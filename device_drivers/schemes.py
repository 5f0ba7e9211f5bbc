"""Which driver serves which scheme: those of this package, and those that others install."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from device_drivers.connection import Driver
from device_drivers.errors import InvalidValueError

GROUP = "gridpact.drivers"
"""Entry points of this group are drivers: the name is the scheme, the object is called without arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """A driver of this package.

    Attributes
    ----------
    factory : str
        ``module:name`` of what is called for the driver.
    extra : str or None
        The extra of the distribution that brings its libraries; None where it needs none.
    """

    factory: str
    extra: str | None = None


OWN = MappingProxyType(
    {
        "kasa": Own(factory="device_drivers.kasa.driver:KasaDriver"),
        "modbus": Own(factory="device_drivers.modbus.driver:ModbusDriver", extra="modbus"),
        "mqtt": Own(factory="device_drivers.mqtt.driver:MqttDriver", extra="mqtt"),
        "ocpp": Own(factory="device_drivers.ocpp.driver:OcppDriver", extra="ocpp"),
        "s2": Own(factory="device_drivers.s2.driver:S2Driver", extra="s2"),
        "shelly": Own(factory="device_drivers.shelly.driver:ShellyDriver", extra="shelly"),
        "simulated": Own(factory="device_drivers.simulated.driver:SimulatedDriver"),
    }
)


def driver_for(scheme: str, installed: Callable[[], Iterable[EntryPoint]] | None = None) -> Driver:
    """The driver of a scheme.

    Parameters
    ----------
    scheme : str
        In lower case.
    installed : callable, optional
        Gives the entry points to look through; those of the environment where it is left out.

    Raises
    ------
    InvalidValueError
        If nobody serves the scheme, its library is not installed, or two distributions claim it.
    """
    known = OWN.get(scheme)
    if known is not None:
        return _own(scheme, known)
    found = [one for one in (entry_points(group=GROUP) if installed is None else installed()) if one.name == scheme]
    if not found:
        raise InvalidValueError(f"url: got the scheme {scheme!r}, wanted one of {', '.join(schemes(installed))}")
    if len(found) > 1:
        claims = ", ".join(sorted(one.value for one in found))
        raise InvalidValueError(f"url: got the scheme {scheme!r}, which {claims} claim, wanted one of them installed")
    try:
        driver: Driver = found[0].load()()
    except Exception as err:  # others' code: whatever it raises, only this driver is lost
        raise InvalidValueError(f"url: the driver {found[0].value} of {scheme!r} cannot be loaded: {err}") from err
    return driver


def schemes(installed: Callable[[], Iterable[EntryPoint]] | None = None) -> tuple[str, ...]:
    """Every scheme that somebody serves, in order."""
    others = entry_points(group=GROUP) if installed is None else installed()
    return tuple(sorted({*OWN, *(one.name for one in others)}))


def _own(scheme: str, known: Own) -> Driver:
    module, _, name = known.factory.partition(":")
    try:
        driver: Driver = getattr(import_module(module), name)()
    except ModuleNotFoundError as err:
        if known.extra is None:
            raise
        raise InvalidValueError(
            f"url: the scheme {scheme!r} needs {err.name}, which is not installed; "
            f"wanted: pip install 'gridpact[{known.extra}]'"
        ) from err
    return driver
