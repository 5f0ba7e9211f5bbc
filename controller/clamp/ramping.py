"""The way back from a curtailment: tighter caps act at once, looser ones little by little."""

from collections.abc import Iterable, Mapping

from controller.clamp.curtailing import places
from controller.clamp.situation import Device
from controller.clamp.telling import Cap


def ramp(
    before: Mapping[str, Cap | None],
    wanted: Mapping[str, Cap | None],
    devices: Iterable[Device],
    *,
    rise_w: int,
    salt: str = "",
) -> dict[str, Cap | None]:
    """The caps of this step: nowhere looser than wanted, and in sum at most ``rise_w`` looser than before.

    Devices come back one after the other, in an order that ``salt`` varies: if all of them rose at once, relays would
    close together at the end. What counts is what a device could do more of its plan; a cap that reaches the plan is as
    wanted from then on. A relay switches in one step, after as many as its power takes.

    Parameters
    ----------
    before : the caps that acted until now; what is missing was not capped
    wanted : what the clamp allows
    devices : as they are now; caps of others are as wanted
    rise_w : W, not negative; consumption and production have so much each

    Returns
    -------
    by device id, the ids of ``wanted``
    """
    known = {device.id: device for device in devices}
    ids = [id_ for id_ in wanted if id_ in known and before.get(id_) is not None]
    caps = dict(wanted)
    left_up = left_down = max(0, rise_w)
    for _, id_ in sorted(zip(places(ids, salt), ids, strict=True)):
        old, new = before[id_], wanted[id_]
        if old is None:
            continue
        goal = new or Cap(max_consumption_w=None, max_production_w=None, binding=old.binding)
        device = known[id_]
        up, left_up = _risen(old.max_consumption_w, goal.max_consumption_w, device.consumption_w, left_up)
        down, left_down = _risen(old.max_production_w, goal.max_production_w, device.production_w, left_down)
        if up is not None or down is not None:
            caps[id_] = Cap(max_consumption_w=up, max_production_w=down, binding=goal.binding or old.binding)
    return caps


def _risen(had_w: int | None, goal_w: int | None, planned_w: int, left_w: int) -> tuple[int | None, int]:
    """The cap of this step on the way to the goal, and what of the rise is left for others."""
    end_w = planned_w if goal_w is None else min(goal_w, planned_w)
    if had_w is None or had_w >= end_w:
        return goal_w, left_w
    step_w = min(left_w, end_w - had_w)
    return (goal_w if had_w + step_w == end_w else had_w + step_w), left_w - step_w
