"""Fixed loads, curtailable plants and generators."""

import numpy as np

from optimization.checking.commitment import commitment
from optimization.checking.verdict import Claim, Terms, Verdict, worst
from optimization.devices import Curtailable, FixedLoad, Generator


def check_passive(device: FixedLoad | Curtailable, claim: Claim, terms: Terms) -> Verdict:
    """Whether a load is what was foreseen, or a plant produces no more than sun or wind allow."""
    if isinstance(device, FixedLoad):
        return Verdict(residual_kw=max(worst(np.abs(claim.power_kw - device.power_kw)), claim.shortfall), cost=0.0)
    curtailed = device.available_kw + claim.power_kw
    return Verdict(
        residual_kw=max(worst(claim.power_kw), worst(-curtailed), claim.shortfall),
        cost=device.curtailment_cost * terms.horizon.hours * float(curtailed.sum()),
    )


def check_generator(generator: Generator, claim: Claim, terms: Terms) -> Verdict:
    """Whether a generator produces nothing or what it can, and keeps its minimum times."""
    hours, produced = terms.horizon.hours, -claim.power_kw
    up = produced > (generator.min_kw / 2 if generator.min_kw else terms.tolerance_kw)
    outside = np.maximum(generator.min_kw - produced, produced - generator.max_kw)
    committed = commitment(
        generator,
        may_be_up=up if generator.min_kw else np.ones_like(up),
        may_be_down=~up,
        up_cost=hours * generator.running_cost,
        min_up=generator.min_up_mtus,
        min_down=generator.min_down_mtus,
    )
    residual = max(
        worst(np.where(up, outside, np.abs(produced))),
        committed.mtus_wrong * generator.max_kw,
        claim.shortfall,
    )
    fuel = generator.quadratic_cost / 2 * produced**2 + generator.linear_cost * produced
    return Verdict(residual_kw=residual, cost=hours * float(fuel.sum()) + committed.cost)
