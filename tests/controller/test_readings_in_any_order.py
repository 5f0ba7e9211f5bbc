"""Readings in any order of arrival come to the same books: those of the true registers, had all been in at once."""

import shutil
from collections import Counter
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.closing import close_books, complete, correct_books
from controller.estimating import Estimation, EstimationRule
from controller.metering import metered_wh
from controller.microgrid import ESTIMATED, FAULTY, MEASURED, SUBSTITUTED, MeterReading
from controller.receiving import Receiver, Rejected
from controller.registers import MeterChange, Registers
from controller.sealing import seeded_salts
from controller.store import evidence, market, meter_events, meters, registry
from tests.controller.fuzzed_service import ForgettingDatabase
from tests.controller.village import MTU_S, START
from tests.controller.village_site import Site
from tests.scale import examples

MEMBERS = ("ada", "bob", "eve")
MTUS = 8
ROLLOVER_WH = 50_000
REPLACED = START + 3 * MTU_S + 500
"""Within the fourth quarter-hour bob's meter is replaced."""
SALTS = seeded_salts(b"order")


@pytest.fixture(scope="module")
def night(tmp_path_factory, loop, authority, founded):
    """The village after its night, every window traded and none of its meters read."""
    path = shutil.copy(founded, tmp_path_factory.mktemp("night") / "gridpact.sqlite")
    site = Site(path, loop, authority)
    for instant in sorted({START + 1800 * k - 300 for k in range(4)} | {START + k * MTU_S for k in range(MTUS + 1)}):
        site.advance(instant)
    assert site.states() == ["DELIVERING"] * 4
    site.close()
    database = ForgettingDatabase(f"sqlite:///{path}")
    yield database
    database.close()


def truth(random):
    """Registers as the meters show them: ada's begin anew at their end, bob's meter is replaced; and what flowed."""
    found, flows = {}, {}
    for member in MEMBERS:
        shown = Registers(import_wh=ROLLOVER_WH - random.randrange(1, 9000), export_wh=random.randrange(40_000))
        found[member, 0] = shown
        for mtu in range(MTUS):
            flow = Registers(import_wh=random.randrange(2000), export_wh=random.choice((0, random.randrange(2000))))
            flows[member, START + mtu * MTU_S] = flow.net_wh
            if (member, mtu) == ("bob", 3):
                final = shown + Registers(import_wh=flow.import_wh // 3, export_wh=flow.export_wh)
                first = Registers(import_wh=random.randrange(10**6), export_wh=7)
                change = MeterChange(instant=REPLACED, rollover_wh=None, final=final, first=first)
                shown = first + Registers(import_wh=flow.import_wh - flow.import_wh // 3, export_wh=0)
            else:
                shown += flow
            if member == "ada":
                shown = Registers(import_wh=shown.import_wh % ROLLOVER_WH, export_wh=shown.export_wh % ROLLOVER_WH)
            found[member, mtu + 1] = shown
    changes = {"ada": MeterChange(instant=START - MTU_S, rollover_wh=ROLLOVER_WH), "bob": change}
    return found, flows, changes


def reading(place, registers, quality=MEASURED):
    member, mtu = place
    return MeterReading(
        member=member,
        instant=START + mtu * MTU_S,
        import_wh=registers.import_wh,
        export_wh=registers.export_wh,
        quality=quality,
    )


def submit(connection, microgrid, sequence, readings):
    """What a gateway's batch comes to, which leaves out what a batch may not hold: never a true reading."""
    receiver = Receiver(connection, microgrid, reporter="gateway", sequence=sequence)
    received = receiver.receive(readings)
    if isinstance(received, Rejected):
        assert readings[received.place].quality != MEASURED
        left = [one for k, one in enumerate(readings) if k != received.place]
        submit(connection, microgrid, sequence, left)
        return
    signed = {"payload": b"p", "signature": b"s", "key_id": "k"}
    meters.add_batch(
        connection, "village", "gateway", sequence, readings=received.taken, better=received.better, **signed
    )
    meter_events.add_events(connection, "village", received.events, created=START, once=True)
    receiver.follow((one.member, one.instant) for one in (*received.taken, *received.better))


def advance(connection):
    """Take each window as far as it goes, then look at those again that readings may have changed."""
    for name in market.unfinished_windows(connection, "village"):
        if market.window(connection, name).state == "DELIVERING":
            complete(connection, market.window(connection, name), START + 86_400)
        if market.window(connection, name).state == "METERED":
            close_books(connection, market.window(connection, name), SALTS)
    for name in evidence.corrections_due(connection, "village"):
        correct_books(connection, market.window(connection, name), SALTS)
        evidence.corrected(connection, "village", name)


def books(connection):
    """What each account comes to in each window over all runs, by kind; each run sums to zero."""
    net, sums = Counter(), Counter()
    windows = [window.name for window in registry.microgrid(connection, "village").windows()]
    for window in windows:
        for row in evidence.postings(connection, window):
            net[window, row.account, row.kind] += row.amount_micro
            sums[window, row.run] += row.amount_micro
    assert set(sums.values()) <= {0}
    assert [market.window(connection, window).state for window in windows] == ["SETTLED"] * 4
    return {place: amount for place, amount in net.items() if amount}


def played(database, batches, changes, rule):
    """The books and the energies after batches in their order."""
    database.begin()
    try:
        connection = database.connection
        meter_events.put_estimation(connection, "village", Estimation(rule=rule))
        for member, change in changes.items():
            meter_events.add_change(connection, "village", member, change, created=START)
        microgrid = registry.microgrid(connection, "village")
        for sequence, batch in enumerate(batches, start=1):
            submit(connection, microgrid, sequence, batch)
            advance(connection)
        instants = [START + mtu * MTU_S for mtu in range(MTUS + 1)]
        known = meters.meter_readings(connection, "village", instants[0], instants[-1])
        energies = metered_wh(known, MEMBERS, instants, meter_events.meters(connection, "village"))
        return books(connection), energies
    finally:
        database.forget()


def arrivals(random, registers):
    """Every true reading once and some twice, lesser ones of other values, contradictions after the truth; shuffled."""
    true = [reading(place, value) for place, value in registers.items()]
    lesser = [
        reading(place, registers[place] + Registers(import_wh=random.randrange(90), export_wh=0), quality)
        for place in random.sample([*registers], 6)
        for quality in [random.choice((ESTIMATED, FAULTY))]
    ]
    found = [*true, *random.sample(true, 5), *lesser]
    random.shuffle(found)
    for one in [*found]:
        if one.quality == MEASURED and random.random() < 0.2:
            wrong = Registers.of(one) + Registers(import_wh=1, export_wh=0)
            place = (one.member, (one.instant - START) // MTU_S)
            at = next(k for k, known in enumerate(found) if known is one)
            later = random.randrange(at + 1, len(found) + 1)
            found.insert(later, reading(place, wrong, random.choice((MEASURED, SUBSTITUTED))))
    batches = []
    while found:
        size = random.randrange(1, 20)
        batches.append(found[:size])
        found = found[size:]
    return batches


@pytest.mark.slow
@settings(
    max_examples=examples(1, full=60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32), rule=st.sampled_from(EstimationRule))
def test_the_books_are_those_of_the_true_registers(night, seed, rule):
    random = Random(seed)
    registers, flows, changes = truth(random)
    at_once, energies = played(night, [[reading(*one) for one in registers.items()]], changes, EstimationRule.NONE)
    assert energies == flows
    assert at_once
    batches = arrivals(random, registers)
    # Of many meters what is known is looked at together: of these few the second time not.
    for many in (1, 16):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("controller.receiving.MANY", many)
            assert played(night, batches, changes, rule) == (at_once, flows)
