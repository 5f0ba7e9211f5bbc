"""Random costs of power, as Hypothesis draws them."""

import numpy as np
from hypothesis import strategies as st

from optimization.devices.oracle import PowerCost


@st.composite
def power_costs(draw: st.DrawFn, mtus: int, *, pulls: bool = True) -> PowerCost:
    """Costs of one block: prices of either sign, up to three kinks an MTU, perhaps a pull."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kinks = draw(st.integers(0, 3))
    # Prices on a coarse grid tie often.
    price = rng.normal(0.1, 0.3, (1, mtus))
    return PowerCost(
        price=np.round(price, 1) if draw(st.booleans()) else price,
        kink_at=rng.normal(0.0, 2.0, (1, mtus, kinks)),
        kink=np.maximum(0.0, rng.normal(0.1, 0.2, (1, mtus, kinks))),
        target=rng.normal(0.0, 2.0, (1, mtus)),
        weight=draw(st.sampled_from((0.0, 0.05, 0.5))) if pulls else 0.0,
    )
