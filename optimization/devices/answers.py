"""The two answers of a single device: its cheapest schedule at prices, and the one nearest to a target."""

from collections.abc import Sequence

import numpy as np

from optimization.community import Community, Peer, Tariff
from optimization.devices import Device, Programme
from optimization.devices.batches import group
from optimization.devices.oracle import PowerCost, Response, priced, pulled
from optimization.errors import ProblemError
from optimization.quantities import Floats, Horizon, PeerId, SectionId


def best_response(
    device: Device,
    horizon: Horizon,
    price: Floats | float,
    *,
    shortfall_price: float,
    chain: Sequence[Programme] = (),
) -> Response:
    """The schedule that is cheapest at prices.

    Parameters
    ----------
    device : of any kind
    price : (T,) currency/kWh, or one price for all MTUs
    shortfall_price : currency per kWh that a task falls short
    chain : for a programme that follows another or that another follows, all programmes of the chain, itself among
        them; they are answered for together

    Returns
    -------
    Response, of one device, or of the chain's, first one first

    Raises
    ------
    ProblemError
        If a programme follows another and no chain is given that has both; if prices or the device do not fit the
        horizon.
    """
    return _answer(device, horizon, priced(_row("price", price, horizon)), shortfall_price, chain)


def prox(
    device: Device,
    horizon: Horizon,
    target: Floats | float,
    weight: float,
    *,
    shortfall_price: float,
    chain: Sequence[Programme] = (),
) -> Response:
    """The schedule that is cheapest under a pull to a target: its own cost and ``hours * weight/2 * (p - target)^2``.

    Parameters
    ----------
    target : (T,) kW, or one for all MTUs; of a chain, of its summed power
    weight : currency/(kW^2 h), non-negative
    device, shortfall_price, chain : as in ``best_response``

    Returns
    -------
    Response, of one device, or of the chain's, first one first

    Raises
    ------
    ProblemError
        As ``best_response``; if the weight is negative or not finite.
    """
    if not (np.isfinite(weight) and weight >= 0.0):
        raise ProblemError(f"weight: got {weight}, wanted a number that is not negative")
    return _answer(device, horizon, pulled(_row("target", target, horizon), weight), shortfall_price, chain)


def _answer(
    device: Device, horizon: Horizon, cost: PowerCost, shortfall_price: float, chain: Sequence[Programme]
) -> Response:
    together: Sequence[Device] = chain or (device,)
    if device.id not in {d.id for d in together}:
        raise ProblemError(f"{device.id}: got a chain of {[d.id for d in together]}, wanted one with it")
    # A community of this device alone refuses what does not fit the horizon, and chains with gaps.
    free = np.zeros(horizon.mtus)
    Community(
        horizon=horizon,
        tariff=Tariff(import_price=free, export_price=free),
        peers=(Peer(id=PeerId("owner"), section=SectionId("home"), devices=tuple(together)),),
    )
    (batch,) = group(together, horizon, shortfall_price)
    place = [d.id for d in batch.devices].index(device.id)
    return batch.respond(cost, batch.block[place : place + 1])


def _row(name: str, value: Floats | float, horizon: Horizon) -> Floats:
    """(1, T) floats of a vector or of one number for all MTUs."""
    row = np.asarray(value, dtype=np.float64)
    if row.shape not in {(), (horizon.mtus,)} or not np.isfinite(row).all():
        raise ProblemError(f"{name}: got shape {row.shape}, wanted one number or {horizon.mtus}, all finite")
    return np.array(np.broadcast_to(row, (1, horizon.mtus)))
