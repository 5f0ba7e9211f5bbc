r"""Prices that no trade beats, and the bound that they prove on what any schedule costs.

With a price :math:`\pi_{nt}` on each peer's balance and :math:`\mu_{kt} = \mu^+_{kt} - \mu^-_{kt}` on each envelope the
problem falls apart into its devices:

.. math::

    L(\pi, \mu) = \sum_d \min_{p \in X_d} \Big( cost_d(p)
        + \Delta \sum_t \big(\pi_{nt} + \sum_{k \ni n} \mu_{kt}\big) p_t \Big)
        - \Delta \sum_{kt} (\mu^+_{kt} \overline P_{kt} - \mu^-_{kt} \underline P_{kt})

is at most the cost of every feasible schedule, so long as trading has nothing to gain from the prices: they lie between
export and import price, and a buyer's is at most its seller's plus the cost of their link. ``project`` makes them so.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numba import njit, prange

from optimization.community import Community, Floats
from optimization.devices.batches import Blocks
from optimization.devices.oracle import PowerCost, priced
from optimization.errors import ProblemError
from optimization.trading import Network


def project(network: Network, price: Floats) -> Floats:
    """Dual feasible prices near given ones: clipped to the tariff, then lowered where a neighbour would sell for less.

    Parameters
    ----------
    network : who may trade
    price : (N, T) currency/kWh

    Returns
    -------
    (N, T) currency/kWh, at most the clipped prices and equal to them where those are dual feasible

    Raises
    ------
    ProblemError
        If the prices have the wrong shape or are not numbers.
    """
    if price.shape != network.shape:
        raise ProblemError(f"price: got shape {price.shape}, wanted {network.shape}")
    if np.isnan(price).any():
        raise ProblemError("price: got NaN, wanted numbers")
    lowered = np.ascontiguousarray(np.clip(price, network.export_price, network.import_price).T)
    _lower_all(lowered, network.buyer, network.cost, network.out_start, network.out_link)
    return np.ascontiguousarray(lowered.T)


@njit(cache=True, parallel=True, error_model="numpy")
def _lower_all(price, buyer, cost, out_start, out_link):  # type: ignore[no-untyped-def]
    """Lowers (T, N) prices until no buyer's is above a seller's plus the cost of their link."""
    for t in prange(price.shape[0]):
        _lower(price[t], buyer, cost, out_start, out_link)


@njit(cache=True, error_model="numpy")
def _lower(price, buyer, cost, out_start, out_link):  # type: ignore[no-untyped-def]
    """Lowers the (N,) prices of one MTU: peers whose price fell wait in a ring to tell their buyers (Bellman, Ford)."""
    peers = price.size
    ring = np.arange(peers)
    waiting = np.ones(peers, dtype=np.bool_)
    first, count = 0, peers
    while count > 0:
        seller = ring[first]
        first = first + 1 if first + 1 < peers else 0
        count -= 1
        waiting[seller] = False
        for position in range(out_start[seller], out_start[seller + 1]):
            link = out_link[position]
            most = price[seller] + cost[link]
            if price[buyer[link]] > most:
                price[buyer[link]] = most
                if not waiting[buyer[link]]:
                    last = first + count
                    ring[last if last < peers else last - peers] = buyer[link]
                    waiting[buyer[link]] = True
                    count += 1


def lower_bound(community: Community, blocks: Sequence[Blocks], price: Floats, envelope_price: Floats) -> float:
    """Currency below which no feasible schedule of the community costs.

    Parameters
    ----------
    community : the problem
    blocks : all its devices, as ``batches`` gives them
    price : (N, T) currency/kWh, dual feasible: as ``project`` returns them
    envelope_price : (K, T) currency/kWh that members pay on top, positive where an upper bound binds, negative where a
        lower one does; what would price a bound that does not exist counts as 0

    Returns
    -------
    The bound; valid for any envelope prices, tight for the optimal ones but for whole numbers

    Raises
    ------
    ProblemError
        If prices have the wrong shape or are not finite.
    """
    peers, mtus = len(community.peers), community.horizon.mtus
    for name, given, shape in (
        ("price", price, (peers, mtus)),
        ("envelope_price", envelope_price, (len(community.envelopes), mtus)),
    ):
        if given.shape != shape or not np.isfinite(given).all():
            raise ProblemError(f"{name}: got shape {given.shape} or NaN, wanted numbers of shape {shape}")
    paid, rent = with_envelopes(community, price, envelope_price)
    bound = -rent
    for part in blocks:
        cost, constant = block_cost(community, part, paid)
        bound += float(part.batch.respond(cost).bound.sum()) + constant
    return bound


def with_envelopes(community: Community, price: Floats, envelope_price: Floats) -> tuple[Floats, float]:
    """(N, T) prices with those of the envelopes on each peer, and the currency that the envelopes' bounds are worth."""
    index = {peer.id: n for n, peer in enumerate(community.peers)}
    paid, rent = price.copy(), 0.0
    for envelope, given in zip(community.envelopes, envelope_price, strict=True):
        above = np.where(np.isfinite(envelope.upper_kw), np.maximum(given, 0.0), 0.0)
        below = np.where(np.isfinite(envelope.lower_kw), np.maximum(-given, 0.0), 0.0)
        if not (above.any() or below.any()):
            continue
        paid[sorted(index[peer] for peer in envelope.peers)] += above - below
        upper = np.where(above > 0.0, envelope.upper_kw, 0.0)
        lower = np.where(below > 0.0, envelope.lower_kw, 0.0)
        rent += community.horizon.hours * float(above @ upper - below @ lower)
    return paid, rent


def block_cost(community: Community, blocks: Blocks, paid: Floats) -> tuple[PowerCost, float]:
    r"""The cost of power that each block of a batch sees, the price of changes with it, and its constant part.

    Changing costs :math:`\chi |p - a| = \chi (a - p) + 2 \chi \max(0, p - a)`. A chain sees the change of its sum,
    which is at most that of its devices; one of which not every device was planned sees none. Both keep a bound valid.

    Parameters
    ----------
    paid : (N, T) currency/kWh of each peer's energy, envelopes included

    Returns
    -------
    cost : of the batch's blocks
    constant : currency to add to what the blocks cost under it
    """
    cost = priced(np.ascontiguousarray(paid[blocks.peer]))
    chi = community.change_price
    devices = blocks.batch.devices
    if chi == 0.0 or not any(device.id in community.planned_kw for device in devices):
        return cost, 0.0
    planned = np.zeros_like(cost.price)
    complete = np.ones(planned.shape[0], dtype=bool)
    for block, device in zip(blocks.batch.block, devices, strict=True):
        if device.id in community.planned_kw:
            planned[block] += community.planned_kw[device.id]
        else:
            complete[block] = False
    price = np.where(complete, chi, 0.0)[:, None]
    constant = chi * community.horizon.hours * float(planned[complete].sum())
    return replace(
        cost,
        price=cost.price - price,
        kink_at=planned[:, :, None],
        kink=np.broadcast_to(2.0 * price, planned.shape)[:, :, None].copy(),
    ), constant
