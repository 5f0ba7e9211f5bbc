"""What a member's devices can give to and take from the grid in the MTUs of a window, to hold offers against.

Of one storage the answer is exact but for its self-discharge: it charges whenever it does not have to give, as much
and as early as it can, since more stored energy never allows less. Several are taken as one with their powers and
energies added, which is never too little: an offer that can be kept is never refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

HOUR_S = 3600
PPM = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A battery or a vehicle.

    Attributes
    ----------
    charge_w, discharge_w : at its terminals, at most, in each MTU; 0 where it is away
    stored_wh, floor_wh, capacity_wh : inside: at first, kept back, room
    charge_efficiency_ppm, discharge_efficiency_ppm : parts per million
    """

    charge_w: Sequence[int]
    discharge_w: Sequence[int]
    stored_wh: int
    floor_wh: int
    capacity_wh: int
    charge_efficiency_ppm: int
    discharge_efficiency_ppm: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a member has, in each MTU of a window.

    Attributes
    ----------
    mtu_s : length of an MTU
    load_w : what nobody controls
    produced_w : what plants and generators can produce at most
    flexible_w : what appliances and other loads can take at most
    stores : batteries and vehicles
    """

    mtu_s: int
    load_w: Sequence[int]
    produced_w: Sequence[int]
    flexible_w: Sequence[int]
    stores: Sequence[Store]


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """The first MTU of which more is offered than can be.

    Attributes
    ----------
    mtu : its place in the window
    side : ``sell_wh`` or ``buy_wh``
    possible_wh : as much would be
    """

    mtu: int
    side: str
    possible_wh: int


def first_excess(offers: Sequence[tuple[int, int]], means: Means) -> Excess | None:
    """The first MTU of which more is offered to sell or to buy than can be; None where all can be kept.

    Parameters
    ----------
    offers : Wh to sell and Wh to buy at most, in each MTU
    means : of the member
    """
    found = [excess for excess in (_oversold(offers, means), _overbought(offers, means)) if excess is not None]
    return min(found, key=lambda excess: excess.mtu, default=None)


def _oversold(offers: Sequence[tuple[int, int]], means: Means) -> Excess | None:
    found = first_above([-sell_wh if sell_wh else None for sell_wh, _ in offers], means)
    return None if found is None else Excess(mtu=found[0], side="sell_wh", possible_wh=max(0, int(-found[1] // 1)))


def _overbought(offers: Sequence[tuple[int, int]], means: Means) -> Excess | None:
    found = first_below([buy_wh or None for _, buy_wh in offers], means)
    return None if found is None else Excess(mtu=found[0], side="buy_wh", possible_wh=int(found[1] // 1))


def first_above(upper_wh: Sequence[int | None], means: Means) -> tuple[int, Fraction] | None:
    """The first MTU whose net energy cannot be kept at or below a bound, and the least Wh that it can; None for none.

    Parameters
    ----------
    upper_wh : net Wh at most in each MTU, consumption positive; None where anything goes
    means : of who keeps them
    """
    hours = Fraction(means.mtu_s, HOUR_S)
    given = {id(store): Fraction(store.discharge_efficiency_ppm, PPM) for store in means.stores}
    held = sum((max(0, s.stored_wh - s.floor_wh) * given[id(s)] for s in means.stores), Fraction(0))
    room = sum((max(0, s.capacity_wh - s.floor_wh) * given[id(s)] for s in means.stores), Fraction(0))
    for k, upper in enumerate(upper_wh):
        used = (means.load_w[k] - means.produced_w[k]) * hours
        needed = Fraction(0) if upper is None else used - upper
        power = sum(s.discharge_w[k] for s in means.stores) * hours
        if needed > min(power, held):
            return k, used - min(power, held)
        if needed > 0:
            held -= needed
            continue
        # What the bound leaves may be stored; where there is none, so may energy from the grid.
        spare = None if upper is None else -needed
        for store in means.stores:
            charged = store.charge_w[k] * hours
            if spare is not None:
                charged = min(charged, spare)
            held += charged * Fraction(store.charge_efficiency_ppm, PPM) * given[id(store)]
        held = min(held, room)
    return None


def first_below(lower_wh: Sequence[int | None], means: Means) -> tuple[int, Fraction] | None:
    """The same for net energy that cannot be kept at or above a bound, and the most Wh that it can."""
    hours = Fraction(means.mtu_s, HOUR_S)
    taken = {id(store): Fraction(PPM, store.charge_efficiency_ppm) for store in means.stores}
    room = sum((max(0, s.capacity_wh - s.stored_wh) * taken[id(s)] for s in means.stores), Fraction(0))
    most = sum((max(0, s.capacity_wh - s.floor_wh) * taken[id(s)] for s in means.stores), Fraction(0))
    for k, lower in enumerate(lower_wh):
        used = (means.load_w[k] + means.flexible_w[k]) * hours
        needed = Fraction(0) if lower is None else lower - used
        power = sum(s.charge_w[k] for s in means.stores) * hours
        if needed > min(power, room):
            return k, used + min(power, room)
        if needed > 0:
            room -= needed
            continue
        for store in means.stores:
            emptied = store.discharge_w[k] * hours * Fraction(PPM, store.discharge_efficiency_ppm)
            room += emptied * taken[id(store)]
        room = min(room, most)
    return None
