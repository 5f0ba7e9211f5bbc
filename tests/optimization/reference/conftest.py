from collections.abc import Callable, Sequence

import numpy as np
import pytest

from optimization.certificate import certify
from optimization.clearing import Clearing
from optimization.community import Community, Device, Horizon, Peer, PeerId, SectionId, Tariff
from optimization.reference.dispatch import dispatch


def _single(
    *devices: Device, price: Sequence[float], mtu_minutes: int = 60, day_starts: Sequence[int] = ()
) -> Community:
    return Community(
        horizon=Horizon(mtus=len(price), mtu_minutes=mtu_minutes, day_starts=tuple(day_starts)),
        tariff=Tariff(import_price=np.array(price), export_price=np.array(price)),
        peers=(Peer(id=PeerId("ann"), section=SectionId("street"), devices=devices),),
    )


@pytest.fixture(scope="session")
def single() -> Callable[..., Community]:
    """One peer that buys and sells at one price: its cheapest schedule is its devices' best response to that price."""
    return _single


def _best(community: Community) -> Clearing:
    clearing = dispatch(community, gap=0.0)
    assert isinstance(clearing, Clearing)
    certificate = certify(community, clearing)
    assert certificate.feasible, certificate.violated
    assert certificate.objective == pytest.approx(clearing.objective, abs=1e-6, rel=1e-9)
    assert clearing.lower_bound <= clearing.objective + 1e-6 * max(1.0, abs(clearing.objective))
    return clearing


@pytest.fixture(scope="session")
def best() -> Callable[[Community], Clearing]:
    """The cheapest schedule of a community, which its certificate finds feasible and as dear as the model says."""
    return _best
