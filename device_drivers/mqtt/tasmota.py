"""Tasmota's topics: commands on ``cmnd``, answers on ``stat``, the last will on ``tele``.

Its PulseTime opens a relay by itself, counted from when it was closed; it closes none. Written from the public
documentation of commands and status messages.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from device_drivers import plain_json
from device_drivers.arming import Arming
from device_drivers.connection import Capabilities, Timer
from device_drivers.device import Reading
from device_drivers.errors import DeviceError
from device_drivers.mqtt.session import Broker, Heard, Session
from device_drivers.setpoint import RelayState, Target

TIMER = Timer(shortest_s=1.0, longest_s=64_800.0, resolution_s=1.0)
"""Whole seconds, though PulseTime has tenths up to 11.1 s: it stands in flash, and is written when it is another."""

_STATES = {"ON": True, "OFF": False}

_T = TypeVar("_T")


def pulse_time(seconds: float) -> int:
    """The setting of PulseTime for so many s, rounded down to whole ones."""
    whole = math.floor(seconds + 1e-6)
    return 10 * whole if whole <= 11 else 100 + whole


class TasmotaConnection:
    """One relay of a Tasmota device.

    Parameters
    ----------
    broker : Broker
        Which the device is connected to.
    topic : str
        The device's.
    failsafe : RelayState
        What its timer shall end in, and what it does when its power comes back.
    full_topic : str
        How topics are made, with ``%prefix%`` and ``%topic%``.
    relay : int or None
        Which of several, from 1; None where there is one.
    """

    def __init__(self, broker: Broker, topic: str, failsafe: RelayState, *, full_topic: str, relay: int | None) -> None:
        self._full_topic = full_topic
        self._topic = topic
        self._failsafe = failsafe
        self._number = "" if relay is None else str(relay)
        self._index = 0 if relay is None else relay - 1
        self._heard: dict[str, list[str]] = {}
        self._offline = False
        self._session = Session(broker, (self._path("stat", "+"), self._path("tele", "LWT")), self._hear)
        self._capabilities = Capabilities(
            targets=frozenset({RelayState}), timer=None, measures_power=False, reads_state=True
        )
        self._arming: Arming | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What the device said that it can do."""
        return self._capabilities

    async def start(self) -> None:
        """Learn what the device can do, and have it do its failsafe when its power comes back; nothing is switched.

        Raises
        ------
        DeviceError
            If the broker or the device cannot be reached.
        """
        await self._closed()
        sensors = await self._status("10", "STATUS10", "StatusSNS")
        timer = None
        # A relay that is to be closed is not closed by its PulseTime.
        if not self._failsafe.closed and await self._has_pulse_time():
            timer = TIMER
            self._arming = Arming(timer)
        self._capabilities = Capabilities(
            targets=frozenset({RelayState}),
            timer=timer,
            measures_power=isinstance(sensors.get("ENERGY"), dict),
            reads_state=True,
        )
        state = int(self._failsafe.closed)
        await self._set("PowerOnState", str(state), lambda answer: answer.get("PowerOnState") == state or None)

    async def apply(self, target: Target, *, revert_after_s: float | None) -> None:
        """Switch, with PulseTime set before."""
        if not isinstance(target, RelayState):
            raise DeviceError(f"tasmota: got {target}, wanted a state of the relay")
        if target == self._failsafe or self._arming is None:
            await self._switch(target)
        elif revert_after_s is None:
            await self._pulse(0)
            await self._switch(target)
        else:

            async def close(seconds: float) -> None:
                await self._pulse(pulse_time(seconds))
                await self._switch(target)

            await self._arming.arm(revert_after_s, close)

    async def read(self) -> Reading:
        """What the relay and the meter say."""
        closed = await self._closed()
        power_w = None
        if self._capabilities.measures_power:
            power_w = self._power_w(await self._status("10", "STATUS10", "StatusSNS"))
        return Reading(power_w=power_w, relay_closed=closed, closed_s=None, stored_wh=None)

    async def aclose(self) -> None:
        """End the connection to the broker."""
        await self._session.aclose()

    async def _closed(self) -> bool:
        state = await self._status("11", "STATUS11", "StatusSTS")
        told = state.get(f"POWER{self._number}", state.get("POWER" if self._number in {"", "1"} else ""))
        if told not in _STATES:
            names = ", ".join(key for key in state if key.startswith("POWER")) or "none"
            raise DeviceError(f"tasmota: got the relays {names}, wanted POWER{self._number} to be ON or OFF")
        return _STATES[told]

    def _power_w(self, sensors: Mapping[str, Any]) -> int:
        energy = sensors.get("ENERGY")
        power = energy.get("Power") if isinstance(energy, dict) else None
        if isinstance(power, list):
            power = power[self._index] if self._index < len(power) else None
        if isinstance(power, bool) or not isinstance(power, int | float) or not abs(power) <= 1e9:
            raise DeviceError(f"tasmota: got the power {str(power)[:40]!r}, wanted a number of W")
        return round(power)

    async def _has_pulse_time(self) -> bool:
        name = f"PulseTime{self._number or 1}"
        answer = await self._set(name, "", lambda told: told)
        return isinstance(answer.get(name), dict)

    async def _pulse(self, setting: int) -> None:
        name = f"PulseTime{self._number or 1}"

        def kept(answer: dict[str, Any]) -> bool | None:
            told = answer.get(name)
            return (isinstance(told, dict) and told.get("Set") == setting) or None

        await self._set(name, str(setting), kept)

    async def _switch(self, target: RelayState) -> None:
        name = f"POWER{self._number}"
        wanted = "ON" if target.closed else "OFF"

        def done(answer: dict[str, Any]) -> bool | None:
            return wanted in {answer.get(name), answer.get("POWER" if self._number in {"", "1"} else name)} or None

        await self._set(name, wanted, done)

    async def _set(self, command: str, payload: str, answer: Callable[[dict[str, Any]], _T | None]) -> _T:
        return await self._asked(command, payload, "RESULT", answer)

    async def _status(self, number: str, topic: str, key: str) -> dict[str, Any]:
        def found(answer: dict[str, Any]) -> dict[str, Any]:
            part = answer.get(key)
            if not isinstance(part, dict):
                raise DeviceError(f"tasmota: got {topic} {str(answer)[:60]!r}, wanted {key} in it")
            return part

        return await self._asked("STATUS", number, topic, found)

    async def _asked(self, command: str, payload: str, topic: str, answer: Callable[[dict[str, Any]], _T | None]) -> _T:
        path = self._path("stat", topic)
        self._heard.clear()

        def found() -> _T | None:
            if self._offline:
                raise DeviceError(f"tasmota: {self._topic} is offline, says its last will")
            while self._heard.get(path):
                made = answer(_parsed(self._heard[path].pop(0), topic))
                if made is not None:
                    return made
            return None

        try:
            return await self._session.ask(self._path("cmnd", command), payload, found)
        except DeviceError as err:
            if self._offline and "offline" not in str(err):
                raise DeviceError(f"tasmota: {self._topic} is offline, says its last will") from err
            raise

    def _hear(self, heard: Heard) -> None:
        if heard.topic == self._path("tele", "LWT"):
            self._offline = heard.text == "Offline"
        elif not heard.retained:
            # What the broker kept may be older than the last command. A device that answers is there.
            self._offline = False
            self._heard.setdefault(heard.topic, []).append(heard.text)

    def _path(self, prefix: str, last: str) -> str:
        return self._full_topic.replace("%prefix%", prefix).replace("%topic%", self._topic) + last


def _parsed(text: str, topic: str) -> dict[str, Any]:
    try:
        answer = plain_json.loads(text)
    except ValueError as err:
        raise DeviceError(f"tasmota: got {topic} {text[:60]!r}, wanted JSON") from err
    if not isinstance(answer, dict):
        raise DeviceError(f"tasmota: got {topic} {text[:60]!r}, wanted a JSON object")
    return answer
