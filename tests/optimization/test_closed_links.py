"""Links that are closed for some MTUs: kept by every engine, and checked."""

from dataclasses import replace

import numpy as np
import pytest

from controller.plan.sample.street import sample_community
from optimization.certificate import certify
from optimization.community import Community, Curtailable, FixedLoad, Horizon, Link, Peer, Tariff
from optimization.errors import ProblemError
from optimization.reference.dispatch import dispatch
from optimization.rolling import roll
from optimization.scheduling import schedule

MTUS = 4


def pair(closed=frozenset()):
    """A roof beside a load, which pays them both."""
    return Community(
        horizon=Horizon(mtus=MTUS, mtu_minutes=60),
        tariff=Tariff(import_price=np.full(MTUS, 0.3), export_price=np.full(MTUS, 0.1)),
        peers=(
            Peer(id="a", section="s", devices=(Curtailable(id="a/pv", available_kw=np.full(MTUS, 2.0)),)),
            Peer(id="b", section="s", devices=(FixedLoad(id="b/load", power_kw=np.full(MTUS, 1.0)),)),
        ),
        links=(Link(seller="a", buyer="b", network_charge=0.05, closed_mtus=frozenset(closed)),),
    )


@pytest.mark.slow
@pytest.mark.parametrize("solve", [schedule, dispatch])
def test_nothing_is_traded_while_a_link_is_closed(solve):
    found = solve(pair({1, 3}))
    assert list(found.trade_kwh[0].round(6)) == [1, 0, 1, 0]
    assert list(found.import_kwh[1].round(6)) == [0, 1, 0, 1]
    assert certify(pair({1, 3}), found).feasible
    assert certify(pair({1}), found).feasible
    assert certify(pair({0}), found).violated == "closed links"


@pytest.mark.slow
def test_a_street_with_closed_links_is_as_good_as_its_gap_says():
    street, draw = sample_community(2, 1, 24), np.random.default_rng(1)
    links = tuple(
        replace(link, closed_mtus=frozenset(np.flatnonzero(draw.random(24) < 0.4).tolist())) for link in street.links
    )
    closed = replace(street, links=links)
    found, truth = schedule(closed), dispatch(closed, gap=0.02)
    certificate = certify(closed, found)
    assert certificate.feasible
    assert found.lower_bound <= truth.objective + 1e-6
    assert truth.lower_bound <= certificate.objective + 1e-6
    assert not [1 for link, kwh in zip(links, found.trade_kwh, strict=True) for t in link.closed_mtus if kwh[t]]


def test_a_horizon_that_has_moved_on_knows_what_is_still_closed():
    power = {"a/pv": np.full(1, -1.0), "b/load": np.full(1, 1.0)}
    planned = {"a/pv": np.full(MTUS, -1.0), "b/load": np.full(MTUS, 1.0)}
    (link,) = roll(pair({0, 2}), power, planned).links
    assert link.closed_mtus == {1}


def test_what_is_not_in_the_horizon_cannot_be_closed():
    with pytest.raises(ProblemError, match=r"link a -> b.closed_mtus: got \[4\]"):
        pair({4})
