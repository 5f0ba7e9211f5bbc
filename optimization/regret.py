"""By how much following the community in a window is dearer to each member than its own best.

On a rolling horizon each plan is replaced by the next, and only its first MTUs become final. What they leave each
member with is compared with what it had before them, both valued by its best plan alone: the tariff, no links, its own
limits. With A that value before the window, B after it, and c what the member pays in the window,

.. math::

    r = c + B - A

is its regret. Where forecasts hold, the B of one window is the A of the next, so that over a day regrets sum up to what
was paid less the first A: a member that is left with none has paid no more than its best plan alone.

A and B are proven lower bounds, found alike, so that what a search leaves open is in neither of them alone. What a task
falls short by is not money: the price that stands for it orders what comes first, and is left out of regrets, but that
it limits what counts as lost or gained (``uplift.loss_of``).

References
----------
R. P. O'Neill et al. (2005), "Efficient market-clearing prices in markets with nonconvexities", European J. Operational
Research 164(1): make-whole payments. Y. Guo, C. Chen, L. Tong (2021), "Pricing multi-interval dispatch under
uncertainty, part I", IEEE Trans. Power Systems 36(5): no uniform price spares rolling windows such payments.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from optimization.community import Battery, Community, ElectricVehicle
from optimization.decomposition.master import Prices, find_prices, home_bounds
from optimization.decomposition.problem import Problem
from optimization.devices.thermostats import FINE
from optimization.members import CELLS, own_costs, standalone
from optimization.quantities import DeviceId, Floats
from optimization.rolling import roll
from optimization.undone import undone_at, undone_costs
from optimization.uplift import Standing

ROUNDS = 80
"""Of the oracles in each search: homes by themselves settle within half of them."""

WATT_KW = 1e-3
"""Powers are told in whole watts; batteries under one limit share what that leaves, so that it may be one for each."""


def standing(
    community: Community,
    device_kw: Mapping[DeviceId, Floats],
    mtus: int,
    *,
    rounds: int = ROUNDS,
    stop: Callable[[], bool] | None = None,
) -> Standing:
    """What the first MTUs of a plan change for each member.

    The price for departing from an earlier plan is nobody's cost, and is left out.

    Parameters
    ----------
    community : the problem that was planned for
    device_kw : (T,) kW of each device, as planned
    mtus : how many MTUs of it become final, from 1 to the horizon's
    rounds : of the oracles in each of the two searches
    stop : asked between rounds
    """
    before = replace(standalone(community), planned_kw={}, change_price=0.0)
    value, short, prices = _alone(before, rounds=rounds, stop=stop)
    own, undone = own_costs(before, device_kw), undone_costs(before, device_kw)
    rest = np.zeros_like(value)
    if mtus < before.horizon.mtus:
        executed = {device: power[:mtus] for device, power in device_kw.items()}
        after = replace(roll(before, executed, device_kw, change_price=0.0), planned_kw={})
        later = {device: power[mtus:] for device, power in device_kw.items()}
        own = own - own_costs(after, later)
        # The prices that proved the one are good ones for the other, so that both are proven equally well.
        start = Prices(peer=prices.peer[:, mtus:], envelope=prices.envelope[:, mtus:])
        rest, left, _ = _alone(after, rounds=rounds, stop=stop, start=start)
        undone = undone - undone_costs(after, later) + left
    return Standing(alone=value, rest=rest, own=own, short=undone - short, rounding=_rounding(community, mtus))


def _rounding(community: Community, mtus: int) -> Floats:
    """(N,) currency that stands for what a store may lack of its target after some MTUs at powers in whole watts."""
    energy = WATT_KW * community.horizon.hours * mtus
    stores = [sum(isinstance(d, Battery | ElectricVehicle) for d in peer.devices) for peer in community.peers]
    return energy * community.shortfall_price * np.array(stores, dtype=np.float64)


def _alone(
    community: Community, *, rounds: int, stop: Callable[[], bool] | None, start: Prices | None = None
) -> tuple[Floats, Floats, Prices]:
    """(N,) bounds of members by themselves, (N,) of them for tasks that fall short, and the prices of the bounds."""
    problem = Problem.of(community)
    fine = problem.refined(FINE)
    prices = find_prices(problem.refined(CELLS), rounds=rounds, stop=stop, start=start).prices
    bounds = home_bounds(fine, prices)
    if start is not None:
        bounds, prices = _better(problem, (home_bounds(fine, start), start), (bounds, prices))
    return bounds, undone_at(problem, prices), prices


def _better(problem: Problem, one: tuple[Floats, Prices], other: tuple[Floats, Prices]) -> tuple[Floats, Prices]:
    """Of two bounds and their prices the better for each home: nothing connects them."""
    home = other[0] > one[0]
    limit = problem.member @ home > 0
    return np.maximum(one[0], other[0]), Prices(
        peer=np.where(home[:, None], other[1].peer, one[1].peer),
        envelope=np.where(limit[:, None], other[1].envelope, one[1].envelope),
    )
