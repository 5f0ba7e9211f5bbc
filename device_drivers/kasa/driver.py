"""What a target means for a plug, or for one outlet of a strip."""

from collections.abc import Mapping
from typing import Any

from device_drivers.address import DeviceUrl
from device_drivers.arming import Arming
from device_drivers.connection import Capabilities, Timer
from device_drivers.device import Reading
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.kasa.transport import Transport
from device_drivers.options import Options
from device_drivers.setpoint import RelayState, Target

PORT = 9999
TIMER = Timer(shortest_s=1, longest_s=86_399, resolution_s=1)
"""A countdown rule holds whole seconds of less than a day."""

_PATIENCE_S = 3.0
_RULE = "gridpact"


class KasaDriver:
    """Opens ``kasa://HOST[:PORT][?outlet=N&timeout_s=S]``; N counts a strip's outlets from 0."""

    default_port = PORT

    async def open(self, address: DeviceUrl, *, failsafe: Target, options: Mapping[str, Any]) -> "KasaConnection":
        """A connection to a plug; it switches nothing.

        Raises
        ------
        InvalidValueError
            If the failsafe is no state of a relay, the plug has no such outlet, or an option is unknown.
        DeviceError
            If the plug does not answer, or not as one.
        """
        read = Options(options)
        outlet = read.integer("outlet", least=0, most=31) if read.has("outlet") else None
        patience_s = read.number("timeout_s", _PATIENCE_S, least=0.01, most=60)
        read.done()
        if address.path or address.username is not None:
            raise InvalidValueError(f"url: got {address}, wanted kasa://HOST[:PORT], without a path or a name")
        if not isinstance(failsafe, RelayState):
            raise InvalidValueError(
                f"failsafe: got {failsafe}, wanted a state of the relay, which is all that a plug has"
            )
        transport = Transport(host=address.host, port=address.port or PORT, patience_s=patience_s)
        info = _answer(await transport.exchange({"system": {"get_sysinfo": {}}}), "system", "get_sysinfo")
        context = _context(info, outlet)
        return KasaConnection(
            transport,
            context,
            failsafe,
            meters="ENE" in str(info.get("feature", "")).split(":"),
            timer=TIMER if await _counts_down(transport, context) else None,
        )


class KasaConnection:
    """A plug, or one outlet of a strip. Its countdown rule is taken over whole: others' countdowns are deleted.

    Parameters
    ----------
    transport : Transport
        To the plug.
    context : mapping
        What every request says beside its commands: which outlet is meant; nothing for a plug.
    failsafe : RelayState
        What a countdown ends in.
    meters : bool
        Whether it measures power.
    timer : Timer or None
        What its countdown can do; None where it has none.
    """

    def __init__(
        self,
        transport: Transport,
        context: Mapping[str, Any],
        failsafe: RelayState,
        *,
        meters: bool,
        timer: Timer | None,
    ) -> None:
        self._transport = transport
        self._context = context
        self._failsafe = failsafe
        self._arming = None if timer is None else Arming(timer)
        self._capabilities = Capabilities(
            targets=frozenset({RelayState}), timer=timer, measures_power=meters, reads_state=True
        )

    @property
    def capabilities(self) -> Capabilities:
        """What the plug can do."""
        return self._capabilities

    async def apply(self, target: Target, *, revert_after_s: float | None) -> None:
        """Switch, once the countdown that takes it back runs."""
        if not isinstance(target, RelayState):
            raise DeviceError(f"kasa: got {target}, wanted a state of the relay")
        if self._arming is not None:
            if revert_after_s is None or target == self._failsafe:
                # The failsafe first: a countdown that is left ends in it anyway.
                await self._switch(target)
                await self._command("count_down", {"delete_all_rules": None})
                return
            await self._arming.arm(revert_after_s, self._count_down)
        await self._switch(target)

    async def read(self) -> Reading:
        """What the relay and the meter say."""
        commands: dict[str, Any] = {"system": {"get_sysinfo": {}}}
        if self._capabilities.measures_power:
            commands["emeter"] = {"get_realtime": {}}
        answer = await self._transport.exchange({**self._context, **commands})
        info = _outlet(_answer(answer, "system", "get_sysinfo"), self._context)
        # A plug says relay_state, an outlet of a strip state.
        closed = _whole(info, "state" if self._context else "relay_state", most=1) == 1
        return Reading(
            power_w=_power_w(_answer(answer, "emeter", "get_realtime")) if self._capabilities.measures_power else None,
            relay_closed=closed,
            closed_s=None,
            stored_wh=None,
            held_s=_whole(info, "on_time", most=2**32) if closed else None,
        )

    async def aclose(self) -> None:
        """Nothing is held between two requests."""

    async def _switch(self, target: RelayState) -> None:
        await self._command("system", {"set_relay_state": {"state": int(target.closed)}})

    async def _count_down(self, seconds: float) -> None:
        rule = {"enable": 1, "delay": int(seconds), "act": int(self._failsafe.closed), "name": _RULE}
        # In one frame, so that a rule that is deleted has its successor at once; read back, since plugs say yes to
        # rules that they do not keep.
        answer = await self._command("count_down", {"delete_all_rules": None, "add_rule": rule, "get_rules": {}})
        kept = answer["get_rules"].get("rule_list")
        if not isinstance(kept, list) or len(kept) != 1 or not _says(kept[0], rule):
            raise DeviceError(f"kasa: {self._transport} keeps the countdown {kept!r}, wanted {rule!r}")

    async def _command(self, module: str, commands: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        answer = await self._transport.exchange({**self._context, module: commands})
        return {method: _answer(answer, module, method) for method in commands}


def _answer(answer: Mapping[str, Any], module: str, method: str) -> dict[str, Any]:
    """What a plug answered to one command; a `DeviceError` unless that is yes."""
    part = answer.get(module)
    if isinstance(part, dict) and "err_code" not in part:
        part = part.get(method)
    if not isinstance(part, dict) or not isinstance(part.get("err_code"), int):
        raise DeviceError(f"kasa: got {str(part)[:80]!r} for {module}.{method}, wanted an answer with err_code")
    if part["err_code"] != 0:
        raise DeviceError(
            f"kasa: {module}.{method} was refused: {part['err_code']} {str(part.get('err_msg', ''))[:80]}".rstrip()
        )
    return part


def _context(info: Mapping[str, Any], outlet: int | None) -> dict[str, Any]:
    """What names an outlet in a request; nothing for a plug of one."""
    children = info.get("children")
    if not isinstance(children, list) or not children:
        if outlet is not None:
            raise InvalidValueError(f"option outlet: got {outlet} of a plug that has one outlet, wanted none")
        return {}
    if outlet is None or outlet >= len(children):
        got = "none" if outlet is None else str(outlet)
        raise InvalidValueError(f"option outlet: got {got}, wanted 0 to {len(children) - 1} of a strip")
    child, device = children[outlet], info.get("deviceId")
    name = child.get("id") if isinstance(child, dict) else None
    if not isinstance(name, str) or not isinstance(device, str):
        raise DeviceError(f"kasa: got the outlet {str(child)[:80]!r} of {str(device)[:80]!r}, wanted both with an id")
    # Strips name an outlet by the device's id and two digits, some of them by the two digits alone.
    return {"context": {"child_ids": [name if name.startswith(device) else device + name]}}


def _outlet(info: dict[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a strip's answer that is about one outlet; the whole of a plug's."""
    if not context:
        return info
    wanted: str = context["context"]["child_ids"][0]
    for child in info.get("children", ()):
        if isinstance(child, dict) and isinstance(child.get("id"), str) and wanted.endswith(child["id"]):
            return child
    raise DeviceError(f"kasa: got no outlet {wanted}, wanted the one that was there before")


async def _counts_down(transport: Transport, context: Mapping[str, Any]) -> bool:
    answer = await transport.exchange({**context, "count_down": {"get_rules": {}}})
    try:
        _answer(answer, "count_down", "get_rules")
    except DeviceError:
        return False
    return True


def _says(kept: object, rule: Mapping[str, Any]) -> bool:
    return isinstance(kept, dict) and all(kept.get(key) == rule[key] for key in ("enable", "delay", "act"))


def _power_w(meter: Mapping[str, Any]) -> int:
    """W, of either generation of meters: the first says W, the second mW."""
    for key, scale in (("power_mw", 1000), ("power", 1)):
        value = meter.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 1e9:
            raise DeviceError(f"kasa: got the {key} {str(value)[:40]!r}, wanted a power")
        return round(value / scale)
    raise DeviceError(f"kasa: got the meter's answer {str(meter)[:80]!r}, wanted power_mw or power")


def _whole(info: Mapping[str, Any], key: str, *, most: int) -> int:
    value = info.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise DeviceError(f"kasa: got the {key} {str(value)[:40]!r}, wanted a whole number from 0 to {most}")
    return value
