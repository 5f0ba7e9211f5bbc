"""What devices and members are to do, as messages; and etags of devices."""

import hashlib
import json

from controller.flexibility import to_plain
from controller.microgrid import Device, DeviceSetpoint, SetpointKind
from controller.wire import fields
from controller.wire.flexibility_message import flexibility_message
from gridpact.v1 import driver_pb2
from gridpact.v1 import participant_pb2 as pb

ETAG_DIGITS = 24


def etag(device: Device) -> str:
    """A text that changes whenever what is known of the device does."""
    plain = json.dumps([device.id, to_plain(device.flexibility)], sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()[:ETAG_DIGITS]


def device_message(microgrid: str, device: Device) -> pb.Device:
    """The message of a device."""
    flexibility = flexibility_message(microgrid, device)
    return pb.Device(name=flexibility.device, flexibility=flexibility, etag=etag(device))


def setpoint_message(setpoint: DeviceSetpoint, mtu_seconds: int) -> driver_pb2.Setpoint:
    """The message of what a device shall do in an MTU."""
    interval = fields.interval_message(setpoint.mtu_start, setpoint.mtu_start + mtu_seconds)
    match setpoint.kind:
        case SetpointKind.RELAY:
            return driver_pb2.Setpoint(interval=interval, relay_closed=bool(setpoint.value))
        case SetpointKind.POWER:
            return driver_pb2.Setpoint(interval=interval, power_w=setpoint.value)
        case SetpointKind.PRODUCTION_LIMIT:
            return driver_pb2.Setpoint(interval=interval, production_limit_w=setpoint.value)
