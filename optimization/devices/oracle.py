r"""What every device model answers: the schedule that is cheapest under given costs of its power.

The cost of power is convex in each MTU: a price, kinks above which more power costs more, and a pull to a target:

.. math::

    C_t(p) = \Delta \Big(\pi_t p + \sum_k \kappa_{tk} \max(0, p - b_{tk}) + \tfrac{w}{2} (p - a_t)^2\Big)

With prices alone that is the best response of Lagrangian duality; with a target alone the proximal step; with kinks the
best response to what a neighbourhood's trades and limits leave.

Devices are answered for in blocks that nothing but power connects: a device each, or a chain of programmes of which one
follows the other. A batch is many blocks of one kind, in arrays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from optimization.devices import Device
from optimization.quantities import Floats

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerCost:
    """Convex costs of power, for B blocks over T MTUs; of a chain, of the sum of its devices' power.

    Attributes
    ----------
    price : (B, T) currency/kWh
    kink_at : (B, T, K) kW; K may be 0; entries in any order
    kink : (B, T, K) currency/kWh by which the marginal cost rises there, non-negative; 0 where there is none
    target : (B, T) kW
    weight : currency/(kW^2 h), non-negative; 0 for no pull to the target
    """

    price: Floats
    kink_at: Floats
    kink: Floats
    target: Floats
    weight: float = 0.0


def priced(price: Floats) -> PowerCost:
    """The costs that (B, T) prices alone are."""
    none = np.zeros((*price.shape, 0))
    return PowerCost(price=price, kink_at=none, kink=none, target=np.zeros_like(price))


def pulled(target: Floats, weight: float) -> PowerCost:
    """The costs that a pull to (B, T) targets alone is."""
    none = np.zeros((*target.shape, 0))
    return PowerCost(price=np.zeros_like(target), kink_at=none, kink=none, target=target, weight=weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """Schedules of B blocks with R devices.

    Attributes
    ----------
    power_kw : (R, T) kW, consumption positive; keeps the device's rules exactly
    own_cost : (B,) currency of the schedules themselves: wear, starts, waiting, fuel, curtailing, shortfall; whatever
        the objective counts of the devices but the cost of power
    bound : (B,) currency that own cost and cost of power together cannot fall below, proven; equal to what the
        schedule costs where the oracle is exact
    """

    power_kw: Floats
    own_cost: Floats
    bound: Floats


class Batch(Protocol):
    """Many blocks of one kind.

    Attributes
    ----------
    devices : R devices, those of a chain one after the other, first one first
    block : (R,) the block of each, ascending from 0 to B - 1
    """

    @property
    def devices(self) -> Sequence[Device]:
        """The R devices."""

    @property
    def block(self) -> Integers:
        """(R,) the block of each device."""

    def respond(self, cost: PowerCost, blocks: Integers | None = None) -> Response:
        """The cheapest schedules under the costs of power.

        Parameters
        ----------
        cost : of the B blocks, or of the given ones in their order
        blocks : which blocks to answer for; None for all

        Returns
        -------
        Response, of the given blocks; ties are broken alike on every run
        """

    def own_cost(self, power_kw: Floats, blocks: Integers | None = None) -> Floats:
        """(B,) currency that given feasible (R, T) schedules cost by themselves."""


def power_cost(cost: PowerCost, power_kw: Floats, hours: float) -> Floats:
    """(B,) currency of (B, T) powers under their costs."""
    kinked = (cost.kink * np.maximum(0.0, power_kw[:, :, None] - cost.kink_at)).sum(axis=2)
    pull = 0.5 * cost.weight * (power_kw - cost.target) ** 2
    return np.asarray(hours * (cost.price * power_kw + kinked + pull).sum(axis=1))
