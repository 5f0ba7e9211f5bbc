"""Nested budgets shared out among devices in whole watts: nobody is favoured, nothing that fits is kept back.

What a device asks for is cut into increments. Its least power is one: a relay's rated power, a vehicle's 1,380 W. The
way from one level's least power to the next level's is one, and so is every watt above the least power of the level
that it reached. All increments stand in one line, and each is granted if there is room for it in every scope around its
device, and if the device got what it builds on. The line is:

1. priority classes, the highest first; within one of them
2. least powers of first levels, then of second levels, and so on, each in the devices' order (`order`);
3. watts: device d's j-th of span_d at the point ceil(2^32 j / span_d), so that all rise at one pace from 0 to their
   plan, equal points in the devices' order.

Since one line is followed to its end, (a) what was refused never fits later, as room only shrinks: what is granted is
maximal; (b) a smaller room of one scope never lets that scope's total grow. For let k be the first increment of that
scope's devices that only the larger room admits; before it both granted the same to devices of the scope, s. With the
smaller room r the total is at most r < s + k, with the larger at least s + k. (It has to be the scope's own room that
k lacks: what others outside the scope got before k in the line is the same, too.) Other scopes may gain by it.

Watts are not followed one by one. In a level of the tree all scopes bisect for the point at which they are full, the
innermost first; the devices inside stop there at the latest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from controller.clamp.ability import Reach
from controller.clamp.tree import Flags, Integers, Tree

PACE_BITS = 32
"""A device's span is at most 10^9 W < 2^32, so that no two of its watts share a point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asks:
    """What n devices ask for.

    Attributes
    ----------
    home : (n,) place of each device's scope
    order : (n,) a permutation of 0..n-1: who comes first where all else is equal
    priority : (n,) the highest is served first
    levels : for each device its powers above zero, (least, most) ascending; empty asks for nothing
    """

    home: Integers
    order: Integers
    priority: Integers
    levels: Sequence[Reach]

    def most(self) -> Integers:
        """(n,) W: all that is asked for."""
        return np.array([levels[-1][1] if levels else 0 for levels in self.levels], dtype=np.int64)


def share_out(tree: Tree, room: Integers, asks: Asks) -> tuple[Integers, Flags]:
    """What each device gets, and which scopes are the reason that it is not more.

    Parameters
    ----------
    tree : the scopes
    room : (S,) W, not negative: what the devices of each scope may have together
    asks : what they ask for

    Returns
    -------
    granted : (n,) W, each device's a power that it asked for or 0
    full : (S,) whether an increment did not fit into this scope
    """
    most = asks.most()
    full = np.zeros(len(tree.names), dtype=bool)
    if (tree.totals(asks.home, most) <= room).all():
        return most, full
    granted = np.zeros(len(most), dtype=np.int64)
    left = room.copy()
    for priority in np.unique(asks.priority)[::-1]:
        those = np.flatnonzero((asks.priority == priority) & (most > 0))
        if (tree.totals(asks.home[those], most[those]) <= left).all():
            granted[those] = most[those]
        else:
            span = _leasts(tree, left, asks, those, granted, full)
            left = room - tree.totals(asks.home, granted)
            granted[those] += _watts(tree, left, asks.home[those], asks.order[those], span, full)
        left = room - tree.totals(asks.home, granted)
    return granted, full


def _leasts(tree: Tree, room: Integers, asks: Asks, those: Integers, granted: Integers, full: Flags) -> Integers:
    """Grant least powers of levels, writing to ``granted`` and ``full``; (m,) W: how far each may rise from there."""
    left: list[int] = room.tolist()
    waiting: list[int] = those[np.argsort(asks.order[those])].tolist()
    homes: list[int] = asks.home.tolist()
    reached: dict[int, int] = {}
    level = 0
    while waiting:
        further = []
        for device in waiting:
            least = asks.levels[device][level][0] - (asks.levels[device][level - 1][0] if level else 0)
            path = tree.paths[homes[device]]
            lacking = [scope for scope in path if left[scope] < least]
            full[lacking] = True
            if not lacking:
                for scope in path:
                    left[scope] -= least
                reached[device] = level
                if level + 1 < len(asks.levels[device]):
                    further.append(device)
        waiting = further
        level += 1
    for device, at in reached.items():
        granted[device] = asks.levels[device][at][0]
    return np.array(
        [
            asks.levels[device][reached[device]][1] - asks.levels[device][reached[device]][0]
            if device in reached
            else 0
            for device in those.tolist()
        ],
        dtype=np.int64,
    )


def _watts(tree: Tree, room: Integers, home: Integers, order: Integers, span: Integers, full: Flags) -> Integers:
    """(m,) W granted of spans; adds to ``full``."""
    bits = max(1, int(order.max(initial=0)).bit_length())
    last = 1 << (PACE_BITS + bits)

    def granted(stop: Integers) -> Integers:
        # The line's places are (point, order) in one number; up to ``stop`` a device has come to this point.
        point = (stop + ((1 << bits) - 1 - order)) >> bits
        return (span * point) >> PACE_BITS

    stops = np.full(len(home), last, dtype=np.int64)
    filled = np.zeros(len(room), dtype=bool)
    for around in tree.ancestors()[::-1]:
        scope = around[home]
        inside = np.flatnonzero(scope >= 0)
        totals = np.bincount(scope[inside], weights=granted(stops)[inside], minlength=len(room))
        over = totals > room
        if not over.any():
            continue
        filled |= over
        low, high = np.zeros(len(room), dtype=np.int64), np.full(len(room), last, dtype=np.int64)
        inside = inside[over[scope[inside]]]
        at = scope[inside]
        while (low < high)[over].any():
            middle = (low + high + 1) >> 1
            trial = stops.copy()
            trial[inside] = np.minimum(trial[inside], middle[at])
            fits = np.bincount(at, weights=granted(trial)[inside], minlength=len(room)) <= room
            low = np.where(fits, middle, low)
            high = np.where(fits, high, middle - 1)
        stops[inside] = np.minimum(stops[inside], low[at])
    given = granted(stops)
    # A scope that others around it keep from filling up is not the reason.
    full |= filled & (tree.totals(home, given) == room)
    return given
