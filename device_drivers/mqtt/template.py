"""Devices whose topics are data: where they are told, asked and heard.

There is no timer of its own in such a device, as far as a template knows.
"""

import math
from dataclasses import dataclass

from device_drivers import plain_json
from device_drivers.connection import Capabilities
from device_drivers.device import Reading
from device_drivers.errors import DeviceError
from device_drivers.mqtt.session import Broker, Heard, Session
from device_drivers.setpoint import Power, ProductionLimit, RelayState, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a value is heard.

    Attributes
    ----------
    topic : str
        The topic.
    key : tuple of str
        The way to the value in the message's JSON; the whole message, as text, where it is empty.
    scale : float
        W of one step.
    """

    topic: str
    key: tuple[str, ...]
    scale: float = 1.0

    def value(self, text: str) -> object:
        """The value in a message; a `DeviceError` where it is not there."""
        if not self.key:
            return text
        try:
            value = plain_json.loads(text)
            for step in self.key:
                value = value[step]
        except (ValueError, KeyError, TypeError, IndexError) as err:
            raise DeviceError(f"mqtt: got {text[:60]!r} on {self.topic}, wanted {'.'.join(self.key)} in it") from err
        return value

    def watts(self, text: str) -> float:
        """The value in a message as W; a `DeviceError` where it is no number."""
        value = self.value(text)
        try:
            number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = math.nan
        if not abs(number * self.scale) <= 1e9:
            raise DeviceError(f"mqtt: got {str(value)[:40]!r} on {self.topic}, wanted a number")
        return number * self.scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A device's topics.

    Attributes
    ----------
    takes : type
        The kind of target.
    command_topic : str
        Where it is told.
    on, off : str
        What a relay is told.
    text, scale : str, float
        What others are told, with ``{value}`` for the number of steps of so many W.
    request_topic, request : str
        Where, and with what, it is asked for what it does.
    state : Source or None
        Where it says what it was told; always of a relay.
    is_on, is_off : str
        What a relay says.
    power : Source or None
        Where it says its power; None where it does not measure.
    availability_topic, offline : str
        Where, and with what, it is said to be away; empty where nobody says.
    """

    takes: type
    command_topic: str
    on: str
    off: str
    text: str
    scale: float
    request_topic: str
    request: str
    state: Source | None
    is_on: str
    is_off: str
    power: Source | None
    availability_topic: str
    offline: str

    def command(self, target: Target) -> str:
        """What it is told for a target."""
        match target:
            case RelayState(closed=closed):
                return self.on if closed else self.off
            case Power(power_w=power_w):
                steps = power_w / self.scale
            case ProductionLimit(limit_w=limit_w):
                steps = limit_w / self.scale
        whole = math.trunc(steps + math.copysign(1e-9, steps))
        return self.text.replace("{value}", str(whole))

    def topics(self) -> tuple[str, ...]:
        """What is to be heard."""
        heard = [source.topic for source in (self.state, self.power) if source is not None]
        return tuple(dict.fromkeys((*heard, *((self.availability_topic,) if self.availability_topic else ()))))


class TemplateConnection:
    """A device behind a template.

    Parameters
    ----------
    broker : Broker
        Which it is connected to.
    template : Template
        Its topics.
    """

    def __init__(self, broker: Broker, template: Template) -> None:
        self._template = template
        self._heard: dict[str, str] = {}
        self._offline = False
        self._session = Session(broker, template.topics(), self._hear)
        self._capabilities = Capabilities(
            targets=frozenset({template.takes}),
            timer=None,
            measures_power=template.power is not None,
            reads_state=True,
        )

    @property
    def capabilities(self) -> Capabilities:
        """What the template says."""
        return self._capabilities

    async def apply(self, target: Target, *, revert_after_s: float | None) -> None:
        """Tell it, and wait until it says so; where it says nothing of the kind, until it says anything."""
        template = self._template
        if type(target) is not template.takes:
            raise DeviceError(f"mqtt: got {target}, wanted a {template.takes.__name__}, as the template takes")
        if template.state is None:
            await self._session.ask(template.command_topic, template.command(target), lambda: True)
            await self.read()
            return
        state = template.state

        def done() -> bool | None:
            text = self._latest(state)
            return None if text is None else self._says(state, text, target) or None

        self._heard.clear()
        await self._session.ask(template.command_topic, template.command(target), done)

    async def read(self) -> Reading:
        """What it says when it is asked."""
        template = self._template

        def found() -> tuple[str | None, str | None] | None:
            state, power = (self._latest(source) for source in (template.state, template.power))
            if (template.state is not None and state is None) or (template.power is not None and power is None):
                return None
            return state, power

        self._heard.clear()
        state, power = await self._session.ask(template.request_topic, template.request, found)
        closed = None
        if template.takes is RelayState and template.state is not None and state is not None:
            closed = self._closed(template.state, state)
        power_w = None if template.power is None or power is None else round(template.power.watts(power))
        return Reading(power_w=power_w, relay_closed=closed, closed_s=None if closed is not None else 0, stored_wh=None)

    async def aclose(self) -> None:
        """End the connection to the broker."""
        await self._session.aclose()

    def _latest(self, source: Source | None) -> str | None:
        if self._offline:
            raise DeviceError(f"mqtt: the device is offline, says {self._template.availability_topic}")
        return None if source is None else self._heard.get(source.topic)

    def _closed(self, source: Source, text: str) -> bool:
        value = source.value(text)
        said = {self._template.is_on: True, self._template.is_off: False}
        if not isinstance(value, str) or value not in said:
            wanted = f"{self._template.is_on} or {self._template.is_off}"
            raise DeviceError(f"mqtt: got {str(value)[:40]!r} on {source.topic}, wanted {wanted}")
        return said[value]

    def _says(self, source: Source, text: str, target: Target) -> bool:
        if isinstance(target, RelayState):
            return self._closed(source, text) is target.closed
        told = float(target.power_w if isinstance(target, Power) else target.limit_w)
        return abs(source.watts(text) - told) <= abs(source.scale)

    def _hear(self, heard: Heard) -> None:
        if heard.topic == self._template.availability_topic:
            self._offline = heard.text == self._template.offline
        elif not heard.retained:
            # What the broker kept may be older than the last command.
            self._heard[heard.topic] = heard.text
