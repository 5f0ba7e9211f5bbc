"""What is committed after its caller was told that the database does not answer: drivers hear of it all the same."""

import asyncio
import json
import threading

import pytest

from controller.adjuster import Adjuster
from controller.errors import StoreUnavailableError
from controller.window import WindowEngine
from tests.controller.stand_ins import FAULT
from tests.controller.town import HOUR_S, MTU_S, TOWN, Town

LONG_S = 20.0
DEVICES = ("ada/pv", "bob/boiler", "eve/battery")


@pytest.fixture
def town(make_site):
    return Town(make_site()).found()


@pytest.fixture
def late(town, monkeypatch):
    """Lets time pass until an instant, at which a statement lands only after its caller waits no longer."""

    def live(owner, name, *, until):
        begun, free = threading.Event(), threading.Event()
        act, patient = getattr(owner, name), town.site.database._wait

        def held(self, connection, *args):
            begun.set()
            assert free.wait(LONG_S)
            return act(self, connection, *args)

        async def wait(answer):
            while not (answer.done() or begun.is_set()):  # noqa: ASYNC110  # set by the writer's thread
                await asyncio.sleep(0.001)
            if begun.is_set() and not free.is_set():
                free.set()
                raise StoreUnavailableError("no answer")
            return await patient(answer)

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, held)
            patch.setattr(town.site.database, "_wait", wait)
            with pytest.raises(StoreUnavailableError, match="no answer"):
                town.live(until=until)
            town.site.database.run(lambda _: None)  # the writer is done with it
            town.site.loop.call(lambda: None)

    return live


def stored(town, instant):
    """What devices do from an instant on as the store has it."""
    return {s.device: s.value for s in town.setpoints((instant - TOWN) // HOUR_S) if s.mtu_start == instant}


def told(town, instant):
    """The same as drivers are told."""
    town.site.clock.set(instant)
    planned = {device: town.site.service._hub.planned("town", device) for device in DEVICES}
    return {device: target.value for device, target in planned.items() if target is not None}


def test_a_clearing_acts(town, late):
    late(WindowEngine, "_commit", until=TOWN - HOUR_S)
    assert town.row().state == "CLEARED"
    assert set(stored(town, TOWN)) == set(DEVICES)
    assert told(town, TOWN) == stored(town, TOWN)


def test_the_tail_of_the_last_plan_acts(town, late):
    town.live(until=TOWN - 1)
    town.site.solver.script.append(FAULT)
    late(WindowEngine, "_commit_failure", until=TOWN)
    assert town.row(1).source == "TAIL"
    assert set(stored(town, TOWN + HOUR_S)) == set(DEVICES)
    assert told(town, TOWN + HOUR_S) == stored(town, TOWN + HOUR_S)


@pytest.fixture
def limited(town):
    """The town when the DSO limits what its last quarter may take, below what was planned."""
    town.live(until=TOWN + 2 * MTU_S)
    town.limit(json.loads(town.row().plan)["net_w"][3] - 1)
    return town


def test_an_adjustment_acts(limited, late):
    before = stored(limited, TOWN + 3 * MTU_S)
    late(Adjuster, "_commit", until=TOWN + 3 * MTU_S - 300)
    assert limited.adjusted()[3].source == "CLEARING"
    assert told(limited, TOWN + 3 * MTU_S) == stored(limited, TOWN + 3 * MTU_S) != before


def test_an_adjustment_that_fails_leaves_its_part_to_the_failsafes(limited, late):
    limited.site.solver.script.append(FAULT)
    late(Adjuster, "_fall_back", until=TOWN + 3 * MTU_S - 300)
    assert limited.adjusted()[3].source == "FAILSAFE"
    assert told(limited, TOWN + 3 * MTU_S) == stored(limited, TOWN + 3 * MTU_S) == {}
