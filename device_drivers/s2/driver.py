"""Opens devices behind resource managers, and tells them targets."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from s2python.generated.gen_s2 import ResourceManagerDetails
from websockets.asyncio.connection import Connection as WebSocket

from device_drivers.address import DeviceUrl
from device_drivers.clock import BoottimeClock, Clock
from device_drivers.errors import InvalidValueError, UnfitError
from device_drivers.s2.connection import S2Connection, silent
from device_drivers.s2.control import Control
from device_drivers.s2.line import DialledLine, HeardLine, Line, Listener, Place
from device_drivers.s2.session import Session
from device_drivers.s2.spec import Spec, choose_control, read_spec
from device_drivers.setpoint import Target

log = logging.getLogger(__name__)


class S2Driver:
    """Opens ``s2://[:TOKEN@]HOST:PORT/PATH``: by default where we listen, and managers connect.

    Parameters
    ----------
    clock : Clock, optional
        The machine's where it is left out.
    """

    default_port = None

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = BoottimeClock() if clock is None else clock
        self._listeners: dict[tuple[str, int], Listener] = {}
        self._dialled: dict[tuple[str, int, str], tuple[Spec, DialledLine]] = {}
        self._heard: dict[tuple[str, int, str], tuple[Spec, HeardLine]] = {}

    def listens(self, address: DeviceUrl) -> bool:
        """Whether managers connect to the address, instead of being there."""
        return address.query.get("mode", "listen") == "listen"

    async def open(self, address: DeviceUrl, *, failsafe: Target, options: Mapping[str, Any]) -> "S2Connection":
        """A connection to a device, once its manager is there; it switches nothing.

        Raises
        ------
        InvalidValueError
            If the URL or an option is wrong, or the manager has no control type that does the failsafe; `UnfitError`
            where that one dialled.
        DeviceError
            If the manager is not there, or does not say what it has to.
        """
        spec, place = read_spec(address, failsafe, options)
        line = self._dialled_line(spec, place) if spec.dials else await self._heard_line(spec, place)
        line.users += 1
        try:
            async with asyncio.timeout(spec.patience_s):
                session = await line.session()
                control = await session.ready()
        except BaseException as err:
            line.users -= 1
            await self._leave(line, close=spec.dials)
            if isinstance(err, TimeoutError):
                raise silent(line, spec) from err
            if isinstance(err, InvalidValueError) and not spec.dials:
                raise UnfitError(str(err)) from err
            raise
        return S2Connection(line, spec, control, self._leave, measures=session.measures_power, clock=self._clock)

    def _session(self, spec: Spec) -> Callable[[WebSocket, str], Session]:
        def begin(websocket: WebSocket, name: str) -> Session:
            def choose(details: ResourceManagerDetails) -> Control:
                chosen = choose_control(spec.wishes, details)
                log.info("s2: %s is %s, controlled by %s", name, _called(details), chosen.kind.value)
                return chosen

            return Session(websocket, name, choose, clock=self._clock)

        return begin

    def _dialled_line(self, spec: Spec, place: Place) -> Line:
        key = place.host, place.port, place.path
        known = self._dialled.get(key)
        if known is not None and known[1].users:
            _same_device(known, spec, place)
            return known[1]
        line = DialledLine(place, self._session(spec))
        self._dialled[key] = spec, line
        return line

    async def _heard_line(self, spec: Spec, place: Place) -> Line:
        listener = await self._listener(spec, place)
        key = place.host, place.port, place.path
        known = self._heard.get(key)
        if known is not None and known[1] is listener.line(place.path):
            if known[1].users:
                _same_device(known, spec, place)
            if (known[0], known[1].place) == (spec, place):
                listener.add(known[1])
                return known[1]
            await known[1].aclose()
        line = HeardLine(place, self._session(spec))
        self._heard[key] = spec, line
        listener.add(line)
        return line

    async def _listener(self, spec: Spec, place: Place) -> Listener:
        at = place.host, place.port
        found = self._listeners.get(at)
        if found is None:
            found = self._listeners[at] = Listener(place, spec.patience_s, lambda: self._forget(at))
            try:
                await found.start()
            except BaseException:
                del self._listeners[at]
                raise
        elif found.place.secured_by != place.secured_by:
            raise InvalidValueError(
                f"option certificate: got {place.secured_by or 'none'}, "
                f"wanted {found.place.secured_by or 'none'} as the others of this port"
            )
        return found

    async def _leave(self, line: Line, *, close: bool) -> None:
        if line.users:
            return
        listener = self._listeners.get((line.place.host, line.place.port))
        if listener is not None:
            listener.look()
        if close:
            await line.aclose()

    def _forget(self, at: tuple[str, int]) -> None:
        self._listeners.pop(at, None)


def _same_device(known: tuple[Spec, Line], spec: Spec, place: Place) -> None:
    """See that what is opened twice at the same time is the same."""
    if (known[0], known[1].place) != (spec, place):
        raise InvalidValueError(f"url: got {place} for two devices, wanted a path for each")


def _called(details: ResourceManagerDetails) -> str:
    words = (details.name, details.manufacturer, details.model)
    return " ".join(repr(word) for word in words if word) or "a resource manager"
