"""Opens devices behind a broker."""

import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from device_drivers.address import DeviceUrl
from device_drivers.connection import Connection
from device_drivers.errors import InvalidValueError
from device_drivers.mqtt.reading_template import read_template
from device_drivers.mqtt.session import Broker
from device_drivers.mqtt.tasmota import TasmotaConnection
from device_drivers.mqtt.template import Template, TemplateConnection
from device_drivers.options import Options
from device_drivers.setpoint import RelayState, Target

PORT = 1883
TLS_PORT = 8883

_PATIENCE_S = 3.0
_FULL_TOPIC = "%prefix%/%topic%/"
_TOPIC = re.compile(r"[^+#\x00]{1,200}")


class MqttDriver:
    """Opens ``mqtt://[USER:PASSWORD@]HOST[:PORT]/TOPIC``."""

    default_port = PORT

    async def open(self, address: DeviceUrl, *, failsafe: Target, options: Mapping[str, Any]) -> Connection:
        """A connection to a device; it switches nothing.

        Raises
        ------
        InvalidValueError
            If the topic, an option or a template is wrong, or the failsafe is of a kind that the device does not take.
        DeviceError
            If the broker or the device cannot be reached, or the broker refuses the driver.
        """
        read = Options(options)
        path = Path(read.text("map")) if read.has("map") else None
        if path is not None:
            broker = _broker(address, read)
            read.done()
            return await _templated(broker, _template(path, _topic(address)), failsafe)
        full_topic = read.text("full_topic", _FULL_TOPIC)
        relay = read.integer("relay", least=1, most=32) if read.has("relay") else None
        broker = _broker(address, read)
        read.done()
        topic = _topic(address)
        if "%prefix%" not in full_topic or "%topic%" not in full_topic or not full_topic.endswith("/"):
            raise InvalidValueError(
                f"option full_topic: got {full_topic!r}, wanted %prefix% and %topic% and / at its end"
            )
        if not isinstance(failsafe, RelayState):
            raise InvalidValueError(f"failsafe: got {failsafe}, wanted a state of the relay")
        connection = TasmotaConnection(broker, topic, failsafe, full_topic=full_topic, relay=relay)
        try:
            await connection.start()
        except BaseException:
            await connection.aclose()
            raise
        return connection


def _template(path: Path, topic: str) -> Template:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise InvalidValueError(f"option map: {path} cannot be read: {err}") from err
    return read_template(text, str(path), topic)


async def _templated(broker: Broker, template: Template, failsafe: Target) -> Connection:
    if type(failsafe) is not template.takes:
        raise InvalidValueError(f"failsafe: got {failsafe}, wanted a {template.takes.__name__}, as the map takes")
    connection = TemplateConnection(broker, template)
    try:
        await connection.read()
    except BaseException:
        await connection.aclose()
        raise
    return connection


def _topic(address: DeviceUrl) -> str:
    if not _TOPIC.fullmatch(address.path):
        raise InvalidValueError(f"url: got the topic {address.path!r}, wanted one without + and #")
    return address.path


def _broker(address: DeviceUrl, read: Options) -> Broker:
    tls = read.flag("tls")
    authority = Path(read.text("ca")) if read.has("ca") else None
    if authority is not None and not tls:
        raise InvalidValueError("option ca: got one without tls=yes, wanted both")
    if authority is not None and not authority.is_file():
        raise InvalidValueError(f"option ca: got {str(authority)!r}, wanted a file")
    if authority is not None:
        try:
            ssl.create_default_context(cafile=str(authority))
        except ssl.SSLError as err:
            raise InvalidValueError(f"option ca: {authority} holds no certificate: {err.reason or err}") from err
    return Broker(
        host=address.host,
        port=address.port or (TLS_PORT if tls else PORT),
        username=address.username,
        password=address.password,
        authority=authority,
        tls=tls,
        patience_s=read.number("timeout_s", _PATIENCE_S, least=0.01, most=60),
    )
