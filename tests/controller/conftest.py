"""A village of three members, its microgrid controller on the loopback interface, and everyone who calls it."""

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from controller.attesting import SelfAttested
from controller.pki import Authority
from controller.store.database import Database
from tests.controller.chains import OwnChain
from tests.controller.command_run import Ran, run_command
from tests.controller.market_cases import TWO
from tests.controller.refused_calls import Refused, refusal
from tests.controller.stand_ins import Crash
from tests.controller.village import START
from tests.controller.village_site import Loop, Site, found


@pytest.fixture(scope="session")
def refusal_of() -> Callable[[grpc.RpcError], Refused]:
    """Reads what a refused caller is told."""
    return refusal


@pytest.fixture(scope="session")
def make_anchored() -> Callable[[], Callable[[Database], SelfAttested]]:
    """Makes chains, each as what makes an anchorer for a database."""
    return lambda: OwnChain().anchored


@pytest.fixture(scope="session")
def crash() -> type[Crash]:
    """What is raised where the machine stops."""
    return Crash


@pytest.fixture(scope="session")
def loop() -> Iterator[Loop]:
    """The services' loop."""
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture(scope="session")
def authority() -> Authority:
    """Issues everyone's certificates."""
    return Authority()


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database at the newest version with nothing in it: to make one takes longer than to copy it."""
    path = tmp_path_factory.mktemp("blank") / "gridpact.sqlite"
    Database(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory, loop: Loop, authority: Authority) -> Path:
    """The database of the village before its first gate closes."""
    path = tmp_path_factory.mktemp("founded") / "gridpact.sqlite"
    site = Site(path, loop, authority)
    found(site, "village")
    site.close()
    return path


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory, loop: Loop, authority: Authority, founded: Path) -> Path:
    """The database of the village half an hour later: a window is settled, the next is delivering."""
    path = Path(shutil.copy(founded, tmp_path_factory.mktemp("lived")))
    site = Site(path, loop, authority)
    site.live(until=START + 1800)
    assert site.states() == ["SETTLED", "DELIVERING", "OPEN", "OPEN"]
    site.close()
    return path


@pytest.fixture
def make_site(
    tmp_path: Path, loop: Loop, authority: Authority, blank: Path, founded: Path, lived: Path
) -> Iterator[Callable[..., Site]]:
    """Starts services, each on a database of its own with these communities.

    ``village`` and ``hamlet`` are equal; ``lived`` is the village half an hour after the horizon's start.
    What else is named are further arguments of the service.
    """
    sites: list[Site] = []

    def make(*communities: str, anchored=None, **parts) -> Site:
        path = tmp_path / f"{len(sites)}.sqlite"
        shutil.copy(founded if "village" in communities else lived if "lived" in communities else blank, path)
        sites.append(Site(path, loop, authority, anchored=anchored, **parts))
        if "lived" in communities:
            sites[-1].clock.set(START + 1800)
        if "hamlet" in communities:
            found(sites[-1], "hamlet")
        return sites[-1]

    yield make
    for site in sites:
        site.close()


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """The village's service, half an hour before its first gate closes."""
    return make_site("village")


@pytest.fixture
def settled(make_site: Callable[..., Site]) -> Site:
    """The village's service half an hour after the horizon's start: a window is settled, the next is delivering."""
    return make_site("lived")


@pytest.fixture
def anchored(make_site: Callable[..., Site], make_anchored: Callable[[], Callable[[Database], SelfAttested]]) -> Site:
    """The village's service with a chain of its own."""
    return make_site("village", anchored=make_anchored())


@pytest.fixture
def two() -> dict[str, Any]:
    """A home that buys from a plant: 2 kW at 6, worth 4."""
    return copy.deepcopy(TWO)


@pytest.fixture
def clear(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Ran]:
    """Clears a file, or a case that is written to one."""

    def clear(case: Any, *arguments: str) -> Ran:
        path = case
        if isinstance(case, dict | list):
            path = tmp_path / "case.json"
            path.write_text(json.dumps(case), encoding="utf-8")
        return run_command(capsys, "clear", path, *arguments)

    return clear
