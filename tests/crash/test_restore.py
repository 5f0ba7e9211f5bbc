"""The restore drill: a backup beside a service under load, and a service that goes on from it elsewhere."""

import random
import time

import pytest

from controller.cli import main
from controller.limits.journal import FileJournal
from controller.store.database import Database
from gridpact.v1 import driver_pb2, dso_pb2
from tests.controller.village_site import found
from tests.crash.invariants import broken
from tests.crash.killed_village import Load, check_again

pytestmark = pytest.mark.slow

DEVICE = "microgrids/village/members/bob/devices/boiler"
ENOUGH = 20
PATIENCE_S = 60


def epoch_of(village):
    """With which epoch a driver is greeted: it takes no command of a lower one any more."""
    hello = driver_pb2.ConnectRequest(descriptor=driver_pb2.Descriptor(device=DEVICE))
    answers = village.driver("bob/boiler").Connect(iter([hello]), timeout=PATIENCE_S)
    greeted = next(answers).welcome.epoch
    answers.cancel()
    return greeted


def acknowledged(load):
    return [call for call in list(load.calls) if call.answer is not None]


def wait_for(load, count):
    patience = time.monotonic() + PATIENCE_S
    while len(acknowledged(load)) < count and time.monotonic() < patience:
        time.sleep(0.01)
    return acknowledged(load)


def test_what_was_acknowledged_before_a_backup_is_there_after_its_restore(village, tmp_path, request):
    numbers = iter(range(1, 10**9))
    village.up()
    found(village, "village")
    village.down()
    village.up()  # a second start, so that there is an epoch to be ahead of
    former = epoch_of(village)
    load = Load(village, random.Random(1), lambda: next(numbers), village.start - 900)
    before = wait_for(load, ENOUGH)
    place = ["--data", str(village.data), "--database", village.url]
    backup = tmp_path / "drill.backup"
    assert main(["backup", *place, "--out", str(backup)]) == 0
    after = wait_for(load, len(acknowledged(load)) + 3)
    village.down()
    load.join()
    assert {call.method for call in before} == {"SubmitOrder", "CreateEnvelope", "RegisterKey"}
    assert len(after) > len(before), "the service wrote on beside the backup and after it"

    village.data = tmp_path / "again"
    if village.url.startswith("sqlite"):
        village.url = f"sqlite:///{village.data / 'gridpact.sqlite'}"
    else:
        server = request.getfixturevalue("postgres")
        village.url = server.url(server.create())
    place = ["--data", str(village.data), "--database", village.url]
    assert main(["restore", str(backup), *place]) == 0
    assert main(["journal", "verify", *place]) == 0
    village.up()
    kept = []
    check_again(village, before, kept)
    assert len(kept) == len(before)
    envelopes = [call.request.envelope for call in before if call.method == "CreateEnvelope"]
    listed = village.dso.ListEnvelopes(dso_pb2.ListEnvelopesRequest(parent="microgrids/village", page_size=1000))
    names = [record.envelope.name for record in listed.envelopes]
    assert len(set(names)) == len(names)
    assert {dso_pb2.Envelope.FromString(signed.payload).name for signed in envelopes} <= set(names)
    assert epoch_of(village) > former + 1_000_000, "what the lost service commanded, or commands still, is fenced off"
    village.down()
    database = Database(village.url)
    assert database.read(broken) == []
    database.close()
    journal = FileJournal(village.data / "limits.journal")
    journaled = {record["envelope"]["id"] for record in journal.records() if record["kind"] == "envelope"}
    journal.close()
    assert {name.rsplit("/", 1)[1] for name in names} == journaled
