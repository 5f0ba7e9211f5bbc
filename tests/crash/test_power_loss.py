"""Power is lost at any instant of a recorded day: nothing that was acknowledged is, and no invariant breaks."""

import os
import random
import shutil
import sys

import pytest

from controller.limits.journal import FileJournal
from controller.store import schema
from controller.store.database import Database
from tests.crash.invariants import broken
from tests.crash.write_log import Disk, Step, record

STATES = 2000
ACKNOWLEDGED = "acknowledged"
JOURNAL = "gridpact.limits"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The folder in which a workload ran, and what it did to its files there."""
    if shutil.which("strace") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("strace: got none, wanted Debian's package strace")
        pytest.skip("strace is not installed (Debian's package strace)")
    folder = tmp_path_factory.mktemp("recorded").resolve()
    return folder, record(folder, "tests.crash.workload")


def states(recorded, count, seed):
    """Instants at which power is lost: which calls were acknowledged by then, and what is left of the files."""
    folder, steps = recorded
    chance = random.Random(seed)
    instants = sorted(chance.choices(range(len(steps) + 1), k=count))
    disk, acknowledged, taken = Disk(folder), b"", 0
    for instant in instants:
        for step in steps[taken:instant]:
            if step.path.name == ACKNOWLEDGED:
                acknowledged += step.content
            elif not step.path.name.endswith("-shm"):
                disk.take(step)
        taken = instant
        yield instant, set(acknowledged.decode().split()), disk.lose_power(chance)


def check(folder, acknowledged, left):
    """What a restart finds wrong with what is left."""
    for name, content in left.items():
        (folder / name).write_bytes(content)
    found = []
    journal = FileJournal(folder / JOURNAL)
    known = {record["answered"]["digest"] for record in journal.records() if record.get("answered")}
    journal.close()
    database = Database(f"sqlite:///{folder / 'gridpact.sqlite'}")
    try:
        digests = database.read(lambda connection: [row.digest for row in connection.execute(schema.requests.select())])
        found += database.read(broken)
    finally:
        database.close()
    known |= {digest.hex() for digest in digests}
    return found + [f"acknowledged call {digest} is lost" for digest in acknowledged - known]


def replay(recorded, tmp_path, count, seed):
    """Each state of which something is wrong."""
    wrong = []
    for number, (instant, acknowledged, left) in enumerate(states(recorded, count, seed)):
        folder = tmp_path / str(number)
        folder.mkdir()
        found = check(folder, acknowledged, left)
        shutil.rmtree(folder)
        wrong += [(f"seed {seed}", f"after step {instant}", text) for text in found]
    return wrong


@pytest.mark.slow
def test_the_record_has_what_a_replay_needs(recorded):
    folder, steps = recorded
    kinds = {(step.kind, step.path.name) for step in steps}
    assert {
        ("sync", "gridpact.sqlite"),
        ("sync", "gridpact.sqlite-wal"),
        ("sync", JOURNAL),
        ("sync", folder.name),
    } <= kinds
    assert {("write", "gridpact.sqlite"), ("write", "gridpact.sqlite-wal"), ("write", JOURNAL)} <= kinds
    assert sum(step.path.name == ACKNOWLEDGED for step in steps) > 40
    # Played to the end, every file is what it is.
    disk = Disk(folder)
    for step in steps:
        if step.path.name != ACKNOWLEDGED and not step.path.name.endswith("-shm"):
            disk.take(step)
    for path in (folder / "gridpact.sqlite", folder / JOURNAL):
        disk.take(Step(kind="sync", path=path))
        assert disk.lose_power(random.Random(0))[path.name] == path.read_bytes()


@pytest.mark.slow
def test_a_database_that_does_not_sync_is_found_out(recorded, tmp_path):
    """The replay would see a lost commit: it does where every sync is left out."""
    folder, steps = recorded
    loose = [step for step in steps if step.kind != "sync" or step.path == folder]
    wrong = []
    for number, (_, acknowledged, left) in enumerate(states((folder, loose), 10, 1)):
        place = tmp_path / str(number)
        place.mkdir()
        try:
            wrong += check(place, acknowledged, left)
        except Exception as err:  # not even a database
            wrong.append(str(err))
    assert wrong


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_no_acknowledged_call_is_lost_and_no_invariant_is_broken(recorded, tmp_path):
    count = max(20, round(STATES * float(os.environ.get("GRIDPACT_CAMPAIGN", "1"))))
    seed = int(os.environ.get("GRIDPACT_SEED", "1"))
    print(f"{count} states, seed {seed}, {len(recorded[1])} recorded steps", file=sys.stderr)
    assert replay(recorded, tmp_path, count, seed) == []
