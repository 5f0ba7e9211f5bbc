"""A settled window of the village with everything in it that can be signed, and what a validator gets of it."""

import shutil
from pathlib import Path

import pytest

from controller.validating.evidence import WindowEvidence
from optimization.regret import standing
from tests.controller.services.test_vetoes import create as veto
from tests.controller.test_window_corrections import revise
from tests.controller.validators import client
from tests.controller.village_site import Site


@pytest.fixture(scope="session")
def seen(tmp_path_factory, loop, authority, founded) -> tuple[WindowEvidence, ...]:
    """The evidence of the second window and of a correction of it.

    ada may not trade in the window's second MTU, limits bind everybody, uplifts are paid.
    """
    path = Path(shutil.copy(founded, tmp_path_factory.mktemp("seen")))
    site = Site(path, loop, authority)

    async def tell(community, device_kw, mtus):
        return standing(community, device_kw, mtus)

    site.solver.standing = tell
    site.dso.CreateEnvelope(site.envelope_request(site.envelope("limit", (0, 8, -1000, 1450))))
    veto(site, first=3, end=4)
    site.live(until=site.end)
    revise(site, "bob", 3, import_wh=60)
    found = tuple(client(site).evidence(site.window(1), run) for run in (0, 1))
    site.close()
    assert found[0].uplifts
    assert found[0].limits
    assert found[0].vetoes
    return found


@pytest.fixture
def first(seen) -> WindowEvidence:
    """Of the first settlement."""
    return seen[0]


@pytest.fixture
def correction(seen) -> WindowEvidence:
    """Of the correction."""
    return seen[1]
