"""``kill -9`` at random instants under load: acknowledged calls are there, nothing acts twice, windows go on."""

import os
import random
import signal
import sys
import time
from collections import Counter

import pytest

from controller.limits.journal import FileJournal
from controller.store import schema
from controller.store.database import Database
from tests.controller.village_site import found
from tests.crash.invariants import broken
from tests.crash.killed_village import CALL_S, Call, Load, check_again

KILLS = 300
MANY_KILLS = 30
SETTLED_S = 120


def read_meters(village, now, read):
    """Readings of every instant that has come."""
    for instant in range(village.start, int(now) + 1, village.mtu_s):
        if instant not in read:
            village.gateway.SubmitReadings(village.batch_request(village.batch(instant)), timeout=CALL_S)
            read.add(instant)


def campaign(village, kills, seed):
    """Kill the service as often; returns every call that was acknowledged."""
    chance = random.Random(seed)
    numbers = iter(range(1, 10**9))
    kept: list[Call] = []
    read: set[int] = set()
    village.up()
    found(village, "village")
    begins, ends = village.start - 900, village.end
    for kill in range(kills):
        now = begins + (ends - begins) * kill / kills
        village.set_clock(now)
        read_meters(village, now, read)
        load = Load(village, chance, lambda: next(numbers), now)
        time.sleep(chance.uniform(0, 0.5))
        village.down()
        load.join()
        village.up()
        check_again(village, load.calls, kept)
    village.set_clock(ends)
    read_meters(village, ends, read)
    patience = time.monotonic() + SETTLED_S
    while set(village.states()) != {"SETTLED"} and time.monotonic() < patience:
        time.sleep(0.1)
    village.down(signal.SIGTERM)
    return kept


def check_store(village, kept):
    """Everything that was acknowledged is there, once."""
    database = Database(village.url)
    rows = database.read(
        lambda connection: {
            table: [dict(row._mapping) for row in connection.execute(schema.metadata.tables[table].select())]
            for table in ("requests", "orders", "keys", "envelopes", "windows", "controllers")
        }
    )
    assert database.read(broken) == []
    database.close()
    assert [row["state"] for row in rows["windows"]] == ["SETTLED"] * 4
    payloads = Counter(bytes(row["payload"]) for row in rows["orders"])
    envelopes = Counter(bytes(row["payload"]) for row in rows["envelopes"])
    keys = Counter(row["key_id"] for row in rows["keys"])
    for call in kept:
        match call.method:
            case "SubmitOrder":
                assert payloads[call.request.order.payload] == 1
            case "CreateEnvelope":
                assert envelopes[call.request.envelope.payload] == 1
            case "RegisterKey":
                assert keys[call.request.key_id] == 1
    assert max(payloads.values()) == max(envelopes.values()) == 1
    journal = FileJournal(village.data / "limits.journal")
    names = Counter(r["envelope"]["id"] for r in journal.records() if r["kind"] == "envelope")
    journal.close()
    assert max(names.values()) == 1
    return rows["controllers"][0]["epoch"], Counter(row["source"] for row in rows["windows"])


@pytest.mark.campaign
@pytest.mark.timeout(7200)
def test_a_kill_at_any_instant_loses_nothing_and_repeats_nothing(village):
    kills = max(3, round(KILLS * float(os.environ.get("GRIDPACT_CAMPAIGN", "1"))))
    seed = int(os.environ.get("GRIDPACT_SEED", "1"))
    kept = campaign(village, kills, seed)
    epoch, sources = check_store(village, kept)
    assert epoch == kills + 1
    said = Counter(call.method for call in kept)
    print(
        f"{village.url.split(':')[0]}: {kills} kills, seed {seed}, acknowledged {dict(said)}, {dict(sources)}",
        file=sys.stderr,
    )
    assert set(said) == {"SubmitOrder", "CreateEnvelope", "RegisterKey"}
    # Few kills lie so far apart in time that windows have begun before they could be cleared.
    assert sources["CLEARING"] or kills < MANY_KILLS
