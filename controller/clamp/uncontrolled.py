"""The power that nobody can be told to change: measured where that can be had, else its worst case."""

from controller.clamp.situation import Situation, Span
from controller.clamp.tree import Tree


def assume(situation: Situation, tree: Tree) -> tuple[Span, ...]:
    """What each scope of the tree takes besides its controllable devices.

    A scope with a fresh measurement takes this less what its controllable devices were measured at, if all of them
    were. Any other takes the sum of its parts: its inner scopes, by the same rule; its uncontrollable devices, as
    measured or else anything between their ends; and anything between the ends of what else hangs on it. A device for
    which something is assumed is in no measurement: what it was measured at is taken out, what is assumed is added.
    """
    size = len(tree.names)
    controlled, stale = [0] * size, [0] * size
    low, high = [0] * size, [0] * size
    assumed_low, assumed_high = [0] * size, [0] * size
    for device in situation.devices:
        place = tree.index[device.scope]
        if not device.controllable:
            span = device.assumed
            if span is None and device.measured_w is not None:
                span = Span(low_w=device.measured_w, high_w=device.measured_w)
            span = device.worst if span is None else span
            low[place] += span.low_w
            high[place] += span.high_w
            if device.assumed is None:
                continue
            assumed_low[place] += span.low_w
            assumed_high[place] += span.high_w
        if device.measured_w is None:
            stale[place] += 1
        else:
            controlled[place] += device.measured_w
    controlled, stale = tree.gathered(controlled), tree.gathered(stale)
    assumed_low, assumed_high = tree.gathered(assumed_low), tree.gathered(assumed_high)
    scopes = {scope.name: scope for scope in situation.scopes}
    for place in range(size - 1, -1, -1):
        scope = scopes[tree.names[place]]
        if scope.measured_w is not None and not stale[place]:
            rest = scope.measured_w - controlled[place]
            low[place], high[place] = rest + assumed_low[place], rest + assumed_high[place]
        else:
            low[place] += scope.uncontrolled.low_w
            high[place] += scope.uncontrolled.high_w
        if (outer := tree.parent[place]) >= 0:
            low[outer] += low[place]
            high[outer] += high[place]
    return tuple(Span(low_w=one, high_w=other) for one, other in zip(low, high, strict=True))
