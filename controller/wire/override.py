"""Overrides: messages to values and back."""

import re

from controller.refusals import invalid, not_found
from controller.wire import fields
from controller.wishes import Mode, Override
from gridpact.v1 import participant_pb2 as pb

NUMBER = re.compile(r"o([1-9]\d{0,8})")
MODES: dict[int, Mode] = {pb.OverrideMode.Value(f"OVERRIDE_MODE_{mode.value}"): mode for mode in Mode}


def read_mode(field: str, value: int) -> Mode:
    """What an owner wants."""
    if value not in MODES:
        raise invalid(field, got=str(value), wanted=", ".join(mode.value for mode in Mode))
    return MODES[value]


def override_name(name: str) -> tuple[str, str, int]:
    """Microgrid id, device id and number of an override's resource name; NOT_FOUND where it can be no override's."""
    microgrid, member, device, override = fields.resource("name", name, "microgrids", "members", "devices", "overrides")
    match = NUMBER.fullmatch(override)
    if match is None:
        raise not_found(name)
    return microgrid, f"{member}/{device}", int(match[1])


def override_message(microgrid: str, override: Override, *, now: float) -> pb.Override:
    """The message of an override as it stands at an instant."""
    device = fields.device_name(microgrid, override.device)
    return pb.Override(
        name=f"{device}/overrides/o{override.number}",
        device=device,
        mode=pb.OverrideMode.Value(f"OVERRIDE_MODE_{override.mode.value}"),
        interval=fields.interval_message(override.made, override.until),
        state=pb.OverrideState.Value(f"OVERRIDE_STATE_{override.state(now).value}"),
        cost=pb.OverrideCost(
            cost_micro=override.cost.cost_micro,
            energy_wh=override.cost.energy_wh,
            deferred_wh=override.cost.deferred_wh,
        ),
        clear_time=None if override.cleared is None else fields.timestamp(override.cleared),
    )
