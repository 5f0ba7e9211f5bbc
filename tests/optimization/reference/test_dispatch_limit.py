"""A search that is cut says what it has, and never calls it optimal."""

import numpy as np
import pytest

from optimization.certificate import certify
from optimization.clearing import Clearing, Outcome
from optimization.community import Community, Envelope, Horizon, Peer, Tariff, Thermostatic
from optimization.errors import SolverError
from optimization.reference.dispatch import dispatch

MTUS = 48


def heater(k: int) -> Thermostatic:
    return Thermostatic(
        id=f"heater {k}",
        rated_kw=2.0 + k / 7,
        heat_capacity_kwh_per_k=1.0,
        loss_kw_per_k=0.1,
        performance=np.full(MTUS, 2.5),
        ambient_c=np.full(MTUS, 5.0),
        draw_kw=np.full(MTUS, 0.5),
        lower_c=np.full(MTUS, 20.0),
        upper_c=np.full(MTUS, 22.0),
        initial_c=21.0 + k / 10,
        min_on_mtus=2,
        min_off_mtus=3,
    )


@pytest.fixture(scope="module")
def street() -> Community:
    """Five heaters under a transformer that is too small for all of them: far too much for a few seconds."""
    price = 0.25 + 0.1 * np.sin(np.arange(MTUS) ** 2)
    names = [f"peer {k}" for k in range(5)]
    return Community(
        horizon=Horizon(mtus=MTUS),
        tariff=Tariff(import_price=price, export_price=price / 2),
        peers=tuple(Peer(id=name, section="street", devices=(heater(k),)) for k, name in enumerate(names)),
        envelopes=(
            Envelope(
                name="transformer",
                peers=frozenset(names),
                lower_kw=np.full(MTUS, -np.inf),
                upper_kw=np.full(MTUS, 6.0),
            ),
        ),
    )


def test_no_schedule_within_the_limit_is_an_error(street: Community) -> None:
    with pytest.raises(SolverError, match=r"got no schedule within 0\.0 s"):
        dispatch(street, time_limit=0.0)


def cut(community: Community, seconds: float) -> Outcome | None:
    try:
        return dispatch(community, gap=0.0, time_limit=seconds)
    except SolverError:
        return None


@pytest.mark.slow
def test_a_cut_search_gives_a_feasible_schedule_with_the_bound_that_it_has_proven(street: Community) -> None:
    outcomes = (cut(street, seconds) for seconds in (2.0, 8.0, 32.0, 128.0))
    clearing = next(outcome for outcome in outcomes if outcome is not None)
    assert isinstance(clearing, Clearing)
    certificate = certify(street, clearing)
    assert certificate.feasible, certificate.violated
    assert certificate.objective == pytest.approx(clearing.objective)
    assert clearing.lower_bound < clearing.objective
    assert certificate.gap > 0.01
