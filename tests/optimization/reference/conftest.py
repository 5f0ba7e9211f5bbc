from collections.abc import Callable, Sequence

import pytest

from optimization.certificate import certify
from optimization.clearing import Clearing
from optimization.community import Community, Device
from optimization.reference.dispatch import dispatch
from tests.optimization.lone_peer import lone_peer


def _single(
    *devices: Device, price: Sequence[float], mtu_minutes: int = 60, day_starts: Sequence[int] = ()
) -> Community:
    return lone_peer(*devices, import_price=price, export_price=price, minutes=mtu_minutes, day_starts=day_starts)


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
