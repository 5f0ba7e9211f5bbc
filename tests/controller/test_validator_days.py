"""Validators of days on which all happened that can: what they cannot compute again they name, and nothing else."""

import pytest

from controller.batching import BatchPolicy
from optimization.regret import standing
from tests.controller.services.test_demand_response import Parties
from tests.controller.services.test_vetoes import create as veto
from tests.controller.stand_ins import FAULT
from tests.controller.test_window_corrections import revise
from tests.controller.town import TOWN, Town
from tests.controller.validators import Signatory, client, registry


@pytest.fixture
def validated(make_site, tmp_path):
    """Starts a service with a registry, and has a validator look at what it settled."""
    opened = []

    def make(*communities, grid="village"):
        site = make_site(*communities, registry=registry, batching=BatchPolicy(windows=3))

        def turn():
            site.loop.run(site.service.form_batches())
            service = client(site, grid=grid)
            opened.append(Signatory(service, tmp_path / f"val{len(opened)}", microgrid=f"microgrids/{grid}"))
            return [window for signing in opened[-1].turn() for window in signing.windows]

        return site, turn

    yield make
    for one in opened:
        one.stop()


@pytest.mark.slow
def test_limits_vetoes_and_uplifts_are_those_that_were_signed(validated):
    site, turn = validated("village")

    async def tell(community, device_kw, mtus):
        return standing(community, device_kw, mtus)

    site.solver.standing = tell
    east = "microgrids/village/sections/east"
    site.dso.SetDefaultEnvelope(site.default_request(target=east, lower_w=-3900, upper_w=4000))
    site.dso.CreateEnvelope(site.envelope_request(site.envelope("limit", (0, 8, -1000, 1450))))
    site.dso.CreateEnvelope(
        site.envelope_request(site.envelope("own", (2, 6, 100, 900), target="microgrids/village/members/eve"))
    )
    veto(site, first=3, end=5)
    site.live(until=site.end)
    assert any(row["kind"] == "UPLIFT" for row in site.rows("postings"))
    assert [one.taken for one in turn()] == [()] * 4


def test_a_limit_that_nobody_can_keep_is_relaxed_as_anybody_can_compute(validated):
    site, turn = validated("village")
    site.dso.CreateEnvelope(
        site.envelope_request(site.envelope("tight", (0, 2, 0, 100), target="microgrids/village/members/eve"))
    )
    site.dso.CreateEnvelope(site.envelope_request(site.envelope("tighter", (0, 8, 3000, 3001))))
    site.live(until=site.start + 1800)
    assert site.row(0).relaxed not in ("", "[]")
    (window,) = turn()
    assert window.taken == ()


def test_that_a_clearing_failed_is_named(validated):
    site, turn = validated("village")
    site.live(until=site.start)
    site.solver.script.append(FAULT)
    site.live(until=site.end)
    taken = [one.taken for one in turn()]
    assert taken == [(), (f"that the clearing failed: {FAULT}",), (), ()]


def test_what_a_correction_reverses_and_enters_is_computed_again(validated):
    site, turn = validated("village")
    site.live(until=site.end)
    revise(site, "bob", 2, import_wh=60)
    windows = turn()
    assert [(one.window, one.run, one.taken) for one in windows[:4]] == [(site.window(k), 0, ()) for k in range(4)]
    assert [(one.window, one.run) for one in windows[4:]] == [(site.window(0), 1), (site.window(1), 1)]
    assert all("SUBSTITUTED" in taken for one in windows[4:] for taken in one.taken)


@pytest.mark.slow
def test_demand_response_is_paid_as_it_was_stated(validated):
    site, turn = validated("lived")
    parties = Parties(site)
    parties.ask()
    parties.bid()
    parties.accept(power_w=700)
    site.live(until=site.start + 5400)
    assert any(row["kind"] == "DEMAND_RESPONSE" for row in site.rows("postings"))
    assert [one.taken for one in turn()] == [
        (),
        (),
        (
            "limit demand-response/e/700: signed by nobody",
            *(f"demand response e o {site.start + 900 * k}: what was delivered" for k in (4, 5)),
            *(f"instruction of bob at {site.start + 900 * k}: DEMAND_RESPONSE, dso:wires pays" for k in (4, 5)),
        ),
    ]


@pytest.mark.slow
def test_each_adjustment_of_an_hour_is_computed_again(validated):
    """Those of the first hour find nothing to change; the second was not cleared ahead, its quarters are."""
    site, turn = validated(grid="town")
    town = Town(site).found()
    town.live(until=TOWN - 1)
    site.solver.script.append(FAULT)
    town.live(until=TOWN + 7200)
    assert [{one.source for one in town.adjusted(k)} for k in (0, 1)] == [{"STANDING"}, {"CLEARING"}]
    assert town.of_window("trades", 1)
    assert [one.taken for one in turn()] == [(), (f"that the clearing failed: {FAULT}",)]
