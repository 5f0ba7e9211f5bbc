"""The clamp: caps that keep every scope of a microgrid inside its band, whatever else has stopped."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from controller.clamp.ability import Reach
from controller.clamp.sharing import Asks, share_out
from controller.clamp.situation import Device, Margin, Policy, Situation, Span
from controller.clamp.telling import Cap
from controller.clamp.tree import Flags, Integers, Tree
from controller.clamp.uncontrolled import assume

BOUNDLESS_W = 2**52
"""Room that nothing fills: more than a million devices can take, and exact in a float64."""
ROUNDS = 8
"""How often what the other direction helps is counted anew, before it counts for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeOutcome:
    """How a scope with a band comes out of it.

    Attributes
    ----------
    name : of the scope
    uncontrolled : what was assumed of everything but the controllable devices
    consumption_w, production_w : the most that controllable devices may draw, and feed in
    binds_upper, binds_lower : whether this limit is a reason for a cap
    excess_upper_w, excess_lower_w : W beyond the limit, without its margin, that no cap can prevent; 0 where it is kept
    ends : from when on the limit is kept, once those uncontrollable devices that end are switched off; None where it is
        kept now, or where that is not known or not enough
    """

    name: str
    uncontrolled: Span
    consumption_w: int
    production_w: int
    binds_upper: bool
    binds_lower: bool
    excess_upper_w: int
    excess_lower_w: int
    ends: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curtailment:
    """What a clamp decided.

    Attributes
    ----------
    caps : of every controllable device, by id; None where no limit binds it
    scopes : the outcome of every scope that has a band, by name
    """

    caps: Mapping[str, Cap | None]
    scopes: Mapping[str, ScopeOutcome]


def clamp(
    situation: Situation, *, policy: Policy = Policy.PROPORTIONAL, margin: Margin | None = None, salt: str = ""
) -> Curtailment:
    """Caps under which every scope keeps its band, if it can with all controllable devices off.

    An upper limit leaves to the consumption of a scope's controllable devices what is left of it by the uncontrolled
    power and the margin; a lower limit likewise to their production. In the same scope production makes room for
    consumption and the other way round, but only what is both planned and measured: a battery that does not deliver
    what was planned helps nobody. So the two directions hang together, and are shared out (see `sharing`) in rounds:
    each asks for what the round before left.

    It ends: a round grants at most what it was asked, so that either nothing changed and both directions fit the help
    that they give each other, or the sum of all watts has shrunk. After `ROUNDS` rounds no help counts at all; then
    neither direction depends on the other, and what the next round grants, it would grant again. In either case each
    scope's consumption fits the room that it was given, and the production that this room counts on is neither capped
    below it nor more than what is measured.

    Caps hold for the plan that they were made of: what changes the plan, a measurement or a limit calls for new ones.
    Within a scope whose limit binds every controllable device is capped at what it was granted, even where that is its
    plan, so that none can grow into the room of another. A cap never makes a device do anything.

    Parameters
    ----------
    situation : what is measured, planned and allowed now
    policy : who gives first
    margin : what is kept free of every limit; nothing where None
    salt : varies who comes first where all else is equal; the window's name, so that in the long run nobody is favoured

    Returns
    -------
    Curtailment
    """
    margin = Margin() if margin is None else margin
    tree = Tree.of(situation.scopes)
    uncontrolled = assume(situation, tree)
    upper, lower = _rooms(situation, tree, uncontrolled, margin)
    devices = sorted((device for device in situation.devices if device.controllable), key=lambda device: device.id)
    sides = _Sides.of(devices, tree, policy, salt)
    consumption, production, full_upper, full_lower = sides.settle(tree, upper, lower)
    totals = tree.totals(sides.home, consumption), tree.totals(sides.home, production)
    helps = tree.totals(sides.home, sides.drawn(consumption)), tree.totals(sides.home, sides.fed(production))
    ending = _ending(situation.devices, tree)
    outcomes = {}
    for scope in situation.scopes:
        if scope.upper_w is None and scope.lower_w is None:
            continue
        place = tree.index[scope.name]
        span = uncontrolled[place]
        drawn, fed = int(totals[0][place]), int(totals[1][place])
        above = 0 if scope.upper_w is None else max(0, span.high_w + drawn - int(helps[1][place]) - scope.upper_w)
        below = 0 if scope.lower_w is None else max(0, scope.lower_w - (span.low_w - fed + int(helps[0][place])))
        outcomes[scope.name] = ScopeOutcome(
            name=scope.name,
            uncontrolled=span,
            consumption_w=drawn,
            production_w=fed,
            binds_upper=bool(full_upper[place]),
            binds_lower=bool(full_lower[place]),
            excess_upper_w=above,
            excess_lower_w=below,
            ends=_ends(ending.get(place, ()), above, below) if above or below else None,
        )
    caps = _caps(devices, sides.home.tolist(), tree, (consumption, full_upper), (production, full_lower))
    return Curtailment(caps=caps, scopes=outcomes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sides:
    """The controllable devices as arrays: places of their scopes, who comes first, what they ask for and measure."""

    home: Integers
    order: Integers
    priority: Integers
    measured: Integers
    consumption: tuple[Reach, ...]
    production: tuple[Reach, ...]

    @classmethod
    def of(cls, devices: Sequence[Device], tree: Tree, policy: Policy, salt: str) -> "_Sides":
        return cls(
            home=np.array([tree.index[device.scope] for device in devices], dtype=np.int64),
            order=np.array(places([device.id for device in devices], salt), dtype=np.int64),
            priority=np.array(
                [device.priority if policy is Policy.PRIORITY else 0 for device in devices], dtype=np.int64
            ),
            measured=np.array([device.measured_w or 0 for device in devices], dtype=np.int64),
            consumption=tuple(device.consumption_reach for device in devices),
            production=tuple(device.production_reach for device in devices),
        )

    def drawn(self, consumption: Integers) -> Integers:
        """What of the consumption is measured, too."""
        return np.minimum(consumption, np.maximum(self.measured, 0))

    def fed(self, production: Integers) -> Integers:
        """What of the production is measured, too."""
        return np.minimum(production, np.maximum(-self.measured, 0))

    def settle(self, tree: Tree, upper: Integers, lower: Integers) -> tuple[Integers, Integers, Flags, Flags]:
        """What is granted of consumption and production, and the scopes whose upper and lower limits are the reason."""
        consumption, production = self._asks(self.consumption), self._asks(self.production)
        taken, given = consumption.most(), production.most()
        full_upper = full_lower = np.zeros(len(tree.names), dtype=bool)
        for turn in range(ROUNDS + 1):
            helps = (self.drawn(taken), self.fed(given)) if turn < ROUNDS else (np.zeros_like(taken),) * 2
            room_upper = np.clip(upper + tree.totals(self.home, helps[1]), 0, BOUNDLESS_W)
            room_lower = np.clip(lower + tree.totals(self.home, helps[0]), 0, BOUNDLESS_W)
            less_taken, over_upper = share_out(tree, room_upper, consumption)
            less_given, over_lower = share_out(tree, room_lower, production)
            full_upper, full_lower = full_upper | over_upper, full_lower | over_lower
            if (less_taken == taken).all() and (less_given == given).all():
                break
            taken, given = less_taken, less_given
            consumption = self._asks(cut(self.consumption, taken))
            production = self._asks(cut(self.production, given))
        return taken, given, full_upper, full_lower

    def _asks(self, levels: tuple[Reach, ...]) -> Asks:
        return Asks(home=self.home, order=self.order, priority=self.priority, levels=levels)


def places(ids: Sequence[str], salt: str) -> list[int]:
    """Each id's place in an order that depends on nothing but the ids and the salt, and favours none of them."""
    seeded = hashlib.blake2b(f"{salt}\n".encode(), digest_size=16)
    digests = []
    for id_ in ids:
        one = seeded.copy()
        one.update(id_.encode())
        digests.append((one.digest(), id_))
    found = [0] * len(digests)
    for place, index in enumerate(sorted(range(len(digests)), key=digests.__getitem__)):
        found[index] = place
    return found


def cut(levels: tuple[Reach, ...], granted: Integers) -> tuple[Reach, ...]:
    """What can still be asked for of powers of which only so much was granted."""
    return tuple(
        asked
        if not asked or asked[-1][1] == most
        else tuple((least, min(up_to, most)) for least, up_to in asked if 0 < most >= least)
        for asked, most in zip(levels, granted.tolist(), strict=True)
    )


def _rooms(situation: Situation, tree: Tree, uncontrolled: Sequence[Span], margin: Margin) -> tuple[Integers, Integers]:
    """What each scope's limits leave to consumption, and to production; negative where that is less than nothing."""
    upper, lower = [BOUNDLESS_W] * len(tree.names), [BOUNDLESS_W] * len(tree.names)
    for scope in situation.scopes:
        place = tree.index[scope.name]
        span = uncontrolled[place]
        if scope.upper_w is not None:
            upper[place] = _clip(scope.upper_w - span.high_w - margin.of(span.high_w))
        if scope.lower_w is not None:
            lower[place] = _clip(span.low_w - margin.of(span.low_w) - scope.lower_w)
    return np.array(upper, dtype=np.int64), np.array(lower, dtype=np.int64)


def _clip(power_w: int) -> int:
    return max(-BOUNDLESS_W, min(BOUNDLESS_W, power_w))


def _caps(
    devices: Sequence[Device],
    homes: Sequence[int],
    tree: Tree,
    up: tuple[Integers, Flags],
    down: tuple[Integers, Flags],
) -> dict[str, Cap | None]:
    reasons: list[tuple[bool, bool, tuple[str, ...]]] = []
    for path in tree.paths:
        named = tuple(tree.names[place] for place in path if up[1][place] or down[1][place])
        reasons.append((bool(up[1][list(path)].any()), bool(down[1][list(path)].any()), named))
    caps: dict[str, Cap | None] = {}
    for device, home, taken, given in zip(devices, homes, up[0].tolist(), down[0].tolist(), strict=True):
        above, below, named = reasons[home]
        caps[device.id] = (
            Cap(max_consumption_w=taken if above else None, max_production_w=given if below else None, binding=named)
            if named
            else None
        )
    return caps


def _ending(devices: Iterable[Device], tree: Tree) -> dict[int, list[tuple[float, int]]]:
    """By the place of each scope around them: when uncontrollable devices end, and what they were measured at."""
    ending: dict[int, list[tuple[float, int]]] = {}
    for device in devices:
        if not device.controllable and device.ends is not None and device.measured_w is not None:
            for place in tree.paths[tree.index[device.scope]]:
                ending.setdefault(place, []).append((device.ends, device.measured_w))
    return ending


def _ends(ending: Iterable[tuple[float, int]], above_w: int, below_w: int) -> float | None:
    """When so much less is drawn, and so much less fed in, if devices are switched off as they end."""
    for instant, power_w in sorted(ending):
        above_w, below_w = above_w - max(0, power_w), below_w - max(0, -power_w)
        if above_w <= 0 and below_w <= 0:
            return instant
    return None
