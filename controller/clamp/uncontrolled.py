"""The power that nobody can be told to change: measured where that can be had, else its worst case."""

from controller.clamp.situation import Device, Situation, Span
from controller.clamp.tree import Tree


def assume(situation: Situation, tree: Tree) -> tuple[Span, ...]:
    """What each scope of the tree takes besides its controllable devices.

    A scope with a fresh measurement takes this less what its controllable devices were measured at, if all of them
    were. Any other takes the sum of its parts: its inner scopes, by the same rule; its uncontrollable devices, as
    measured or else anything between their ends; and anything between the ends of what else hangs on it.
    """
    size = len(tree.names)
    controlled, stale = [0] * size, [0] * size
    low, high = [0] * size, [0] * size
    for device in situation.devices:
        place = tree.index[device.scope]
        if not device.controllable:
            span = (
                _worst(device) if device.measured_w is None else Span(low_w=device.measured_w, high_w=device.measured_w)
            )
            low[place] += span.low_w
            high[place] += span.high_w
        elif device.measured_w is None:
            stale[place] += 1
        else:
            controlled[place] += device.measured_w
    controlled, stale = tree.gathered(controlled), tree.gathered(stale)
    scopes = {scope.name: scope for scope in situation.scopes}
    for place in range(size - 1, -1, -1):
        scope = scopes[tree.names[place]]
        if scope.measured_w is not None and not stale[place]:
            low[place] = high[place] = scope.measured_w - controlled[place]
        else:
            low[place] += scope.uncontrolled.low_w
            high[place] += scope.uncontrolled.high_w
        if (outer := tree.parent[place]) >= 0:
            low[outer] += low[place]
            high[outer] += high[place]
    return tuple(Span(low_w=one, high_w=other) for one, other in zip(low, high, strict=True))


def _worst(device: Device) -> Span:
    # A failsafe or a plan beyond its ability is believed, too.
    return Span(
        low_w=-max(device.ability.max_production_w, device.production_w),
        high_w=max(device.ability.max_consumption_w, device.consumption_w),
    )
