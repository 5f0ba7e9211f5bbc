"""What a target means for a switch: ``Switch.Set``, whose ``toggle_after`` takes it back by itself."""

from collections.abc import Mapping
from typing import Any

from device_drivers.address import DeviceUrl
from device_drivers.arming import Arming
from device_drivers.connection import Capabilities, Timer
from device_drivers.device import Reading
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.options import Options
from device_drivers.setpoint import RelayState, Target
from device_drivers.shelly.transport import Place, Transport

PORT = 80
TIMER = Timer(shortest_s=0.5, longest_s=86_400.0, resolution_s=0.1)

_PATIENCE_S = 3.0
_USER = "admin"
_SAME_S = 0.05


class ShellyDriver:
    """Opens ``shelly://[admin:PASSWORD@]HOST[:PORT][?switch=N]``."""

    default_port = PORT

    async def open(self, address: DeviceUrl, *, failsafe: Target, options: Mapping[str, Any]) -> "ShellyConnection":
        """A connection to a switch; it switches nothing, and has it do its failsafe when its power comes back.

        Raises
        ------
        InvalidValueError
            If the URL or an option is wrong, or the failsafe is no state of a relay.
        DeviceError
            If the device cannot be reached, refuses the password, or has no such switch.
        """
        read = Options(options)
        switch = read.integer("switch", 0, least=0, most=31)
        patience_s = read.number("timeout_s", _PATIENCE_S, least=0.01, most=60)
        read.done()
        if address.path or address.username not in {None, _USER}:
            raise InvalidValueError(f"url: got {address}, wanted shelly://[admin:PASSWORD@]HOST[:PORT]")
        if not isinstance(failsafe, RelayState):
            raise InvalidValueError(f"failsafe: got {failsafe}, wanted a state of the relay")
        place = Place(host=address.host, port=address.port or PORT, password=address.password, patience_s=patience_s)
        transport = Transport(place)
        await _prepare(transport, switch, failsafe)
        meters = "apower" in await transport.call("Switch.GetStatus", {"id": switch})
        return ShellyConnection(transport, switch, failsafe, meters=meters)


class ShellyConnection:
    """One switch.

    Parameters
    ----------
    transport : Transport
        To the device.
    switch : int
        Which, from 0.
    failsafe : RelayState
        What its timer ends in.
    meters : bool
        Whether it measures power.
    """

    def __init__(self, transport: Transport, switch: int, failsafe: RelayState, *, meters: bool) -> None:
        self._transport = transport
        self._switch = switch
        self._failsafe = failsafe
        self._arming = Arming(TIMER)
        self._capabilities = Capabilities(
            targets=frozenset({RelayState}), timer=TIMER, measures_power=meters, reads_state=True
        )

    @property
    def capabilities(self) -> Capabilities:
        """What the switch can do."""
        return self._capabilities

    async def apply(self, target: Target, *, revert_after_s: float | None) -> None:
        """Switch, the time after which it switches back in the same call; then look whether it says so."""
        if not isinstance(target, RelayState):
            raise DeviceError(f"shelly: got {target}, wanted a state of the relay")
        if revert_after_s is None or target == self._failsafe:
            await self._set(target, None)
        else:
            await self._arming.arm(revert_after_s, lambda seconds: self._set(target, seconds))

    async def read(self) -> Reading:
        """What the switch and its meter say."""
        status = await self._status()
        power_w = None
        if self._capabilities.measures_power:
            power = status.get("apower")
            if isinstance(power, bool) or not isinstance(power, int | float) or not abs(power) <= 1e9:
                raise DeviceError(f"shelly: got the power {str(power)[:40]!r}, wanted a number of W")
            power_w = round(power)
        return Reading(power_w=power_w, relay_closed=_output(status), closed_s=None, stored_wh=None)

    async def aclose(self) -> None:
        """Nothing is held between two calls."""

    async def _status(self) -> dict[str, Any]:
        return await self._transport.call("Switch.GetStatus", {"id": self._switch})

    async def _set(self, target: RelayState, seconds: float | None) -> None:
        params: dict[str, Any] = {"id": self._switch, "on": target.closed}
        if seconds is not None:
            params["toggle_after"] = round(seconds, 1)
        await self._transport.call("Switch.Set", params)
        status = await self._status()
        if _output(status) is not target.closed:
            raise DeviceError(f"shelly: told {target}, read back output {status['output']}")
        timer = status.get("timer_duration")
        if seconds is None and timer is not None:
            # One that the device starts by itself would end in the opposite.
            raise DeviceError(
                f"shelly: got a timer of {timer} s that nobody asked for, wanted none: see auto_on, auto_off"
            )
        if seconds is not None and not (isinstance(timer, int | float) and timer <= seconds + _SAME_S):
            raise DeviceError(f"shelly: got a timer of {timer} s, wanted {seconds:g} s")


async def _prepare(transport: Transport, switch: int, failsafe: RelayState) -> None:
    """Have the switch start in its failsafe, and switch by no timers of its own configuration."""
    config = await transport.call("Switch.GetConfig", {"id": switch})
    wanted = {"initial_state": "on" if failsafe.closed else "off", "auto_on": False, "auto_off": False}
    # Written only where it differs: it stands in flash.
    changed = {key: value for key, value in wanted.items() if config.get(key) != value}
    if changed:
        await transport.call("Switch.SetConfig", {"id": switch, "config": changed})


def _output(status: Mapping[str, Any]) -> bool:
    output = status.get("output")
    if not isinstance(output, bool):
        raise DeviceError(f"shelly: got the output {str(output)[:40]!r}, wanted true or false")
    return output
