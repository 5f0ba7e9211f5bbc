"""Batches, sets of validators, and their outbox in databases of both kinds."""

import pytest

from contracts.batch import first_hole
from contracts.outbox import AnchorState, Attempt, Inclusion
from contracts.quorum import Quorum
from contracts.transactions import FeePolicy, LocalSigner, Transaction
from controller.batching import BatchPolicy
from controller.store import batches, market, outbox, quorums, schema
from controller.store.outbox import StoredOutbox

SIGNER = LocalSigner(b"\x07" * 32)
TOGETHER = BatchPolicy(windows=96)
BLOCK = (7, b"\x0b" * 32)
INCLUSION = Inclusion(block_number=BLOCK[0], block_hash=BLOCK[1], transaction_hash=b"\x0c" * 32, gas_used=70_000)


def attempt(nonce, signer=SIGNER):
    transaction = Transaction(chain_id=9, nonce=nonce, to=signer.address, data=b"", gas=21_000, fees=FeePolicy())
    return Attempt(raw=signer.sign(transaction), created=1_772_431_200.25)


def settle(connection, count, first=0):
    """Windows that are settled, each with its header."""
    names = [row.name for row in market.windows(connection, "village")][first : first + count]
    for number, name in enumerate(names, start=first):
        market.set_window(connection, name, was="OPEN", state="SETTLED")
        add_header(connection, number, name)


def add_header(connection, number, window, run=0):
    values = {"number": number, "microgrid": "village", "window": window, "run": run}
    connection.execute(schema.headers.insert().values(**values, hash=(number + 1).to_bytes(32), header="{}"))


def states(database):
    return [row.state for row in database.read(market.windows, "village")]


@pytest.fixture
def batched(village_store):
    """Two batches, of two windows and of one."""
    village_store.run(settle, 2)
    village_store.run(batches.form, "village", TOGETHER, now=5)
    village_store.run(settle, 1, first=2)
    village_store.run(batches.form, "village", TOGETHER, now=6)
    return village_store


@pytest.fixture
def kept(batched):
    stored = StoredOutbox(batched)
    assert stored.lease(SIGNER.address, "me", now=1.0, until=9.0)
    return stored


class TestForming:
    def test_the_same_headers_are_batched_once(self, batched):
        before = batched.read(batches.batches, "village", after=-1, count=9)
        assert batched.run(batches.form, "village", TOGETHER, now=7) == ()
        assert [len(one.batch.headers) for one in before] == [2, 1]
        assert first_hole([one.batch for one in before]) is None
        assert batched.read(batches.newest, "village") == before[-1].batch
        assert [(one.created, one.state) for one in before] == [(5, AnchorState.PENDING), (6, AnchorState.PENDING)]

    def test_headers_wait_for_others_from_when_they_were_first_seen(self, village_store):
        hourly = BatchPolicy(windows=2, minutes=60)
        village_store.run(settle, 1)
        for now, made in ((100, 0), (3699, 0), (3700, 1), (3701, 0)):
            assert len(village_store.run(batches.form, "village", hourly, now=now)) == made
        village_store.run(settle, 3, first=1)
        for now, made in ((4000, 1), (7599, 0), (7600, 1)):
            assert len(village_store.run(batches.form, "village", hourly, now=now)) == made

    def test_a_correction_is_in_its_neighbours_batch(self, batched):
        window = batched.read(market.windows, "village")[0].name
        batched.run(add_header, 3, window, run=1)
        (batch,) = batched.run(batches.form, "village", TOGETHER, now=9)
        assert (batch.number, batch.first, batch.headers) == (2, 3, ((4).to_bytes(32),))

    @pytest.mark.parametrize(("position", "number"), [(0, 0), (1, 0), (2, 1), (3, None)])
    def test_a_header_is_found_in_its_batch(self, batched, position, number):
        assert batched.read(batches.place_of, "village", position) == number

    def test_there_is_no_batch_before_it_is_made(self, batched):
        assert batched.read(batches.batch, "village", 2) is None
        assert batched.read(batches.newest, "town") is None

    def test_a_signature_stays_as_it_was_given_first(self, batched):
        for signature in (b"\x01" * 65, b"\x02" * 65):
            batched.run(batches.sign, "village", 1, SIGNER.address, signature, submitted_by="val", now=7)
        kept = batched.read(batches.batch, "village", 1)
        assert kept.signatures == {SIGNER.address: b"\x01" * 65}


class TestLease:
    def test_one_holds_it_until_it_runs_out(self, kept):
        assert kept.lease(SIGNER.address, "me", now=2.0, until=10.5)
        assert not kept.lease(SIGNER.address, "other", now=10.4, until=20.0)
        assert kept.lease(SIGNER.address, "other", now=10.5, until=20.0)
        assert not kept.lease(SIGNER.address, "me", now=11.0, until=20.0)

    def test_each_account_has_its_own(self, kept):
        assert kept.lease(LocalSigner(b"\x08" * 32).address, "other", now=2.0, until=3.0)


class TestWaiting:
    def test_it_has_what_is_pending_of_each_microgrid_and_all_that_was_sent(self, kept):
        rows = kept.waiting(1)
        assert [row.name for row in rows] == ["batch 0 of microgrids/village"]
        assert kept.add_attempt(rows[0].subject, 0, attempt(0), holder="me")
        sent, pending = kept.waiting(1)
        assert (sent.state, sent.attempts) == (AnchorState.SENT, (attempt(0),))
        assert (pending.state, pending.attempts, pending.subject.number) == (AnchorState.PENDING, (), 1)

    def test_changes_of_validators_come_first(self, batched, kept):
        sets = [Quorum(epoch=epoch, threshold=1, validators=(SIGNER.address,)) for epoch in (1, 2)]
        for one in sets:
            batched.run(quorums.propose, one, proposed_by="op", now=3)
        batched.run(quorums.sign, 2, SIGNER.address, bytes(65), submitted_by="val", now=4)
        rows = kept.waiting(9)
        assert [row.subject for row in rows[:2]] == sets
        assert [row.signatures for row in rows] == [{}, {SIGNER.address: bytes(65)}, {}, {}]
        kept.record_included(sets[0], INCLUSION)
        assert kept.waiting(9)[0].subject == sets[1]
        assert batched.read(quorums.proposed) == [(sets[0], AnchorState.INCLUDED), (sets[1], AnchorState.PENDING)]


class TestAttempts:
    def test_each_is_stored_once_in_its_place(self, batched, kept):
        subject = kept.waiting(1)[0].subject
        assert kept.add_attempt(subject, 0, attempt(0), holder="me")
        assert not kept.add_attempt(subject, 0, attempt(1), holder="me")
        assert not kept.add_attempt(subject, 2, attempt(1), holder="me")
        assert kept.add_attempt(subject, 1, attempt(1), holder="me")
        assert kept.waiting(1)[0].attempts == (attempt(0), attempt(1))
        assert sorted(batched.read(outbox.all_attempts)) == sorted([attempt(0).raw, attempt(1).raw])

    def test_who_has_no_lease_stores_none(self, kept):
        subject = kept.waiting(1)[0].subject
        assert not kept.add_attempt(subject, 0, attempt(0), holder="other")
        assert not kept.add_attempt(subject, 0, attempt(0, LocalSigner(b"\x08" * 32)), holder="me")
        assert kept.waiting(1)[0].attempts == ()

    def test_none_is_stored_of_what_is_included(self, kept):
        subject = kept.waiting(1)[0].subject
        kept.record_included(subject, INCLUSION)
        assert not kept.add_attempt(subject, 0, attempt(0), holder="me")


class TestInclusion:
    def test_a_batchs_windows_are_anchored_with_it(self, batched, kept):
        first, second = (row.subject for row in kept.waiting(2))
        kept.record_included(first, INCLUSION)
        assert states(batched)[:3] == ["ANCHORED", "ANCHORED", "SETTLED"]
        assert kept.blocks() == [BLOCK]
        assert [row.subject for row in kept.waiting(2)] == [second]

    def test_a_corrections_inclusion_says_nothing_of_its_window(self, batched, kept):
        window = batched.read(market.windows, "village")[0].name
        batched.run(add_header, 3, window, run=1)
        (correction,) = batched.run(batches.form, "village", TOGETHER, now=9)
        kept.record_included(correction, INCLUSION)
        assert states(batched)[0] == "SETTLED"

    def test_what_is_final_is_watched_no_more_and_lost_no_more(self, batched, kept):
        kept.record_included(kept.waiting(1)[0].subject, INCLUSION)
        kept.record_final(*BLOCK)
        kept.record_lost(*BLOCK)
        assert kept.blocks() == []
        assert states(batched)[0] == "ANCHORED"
        assert batched.read(batches.batch, "village", 0).state is AnchorState.FINAL

    def test_what_a_block_lost_waits_again(self, batched, kept):
        first, second = (row.subject for row in kept.waiting(2))
        assert kept.add_attempt(first, 0, attempt(0), holder="me")
        kept.record_included(first, INCLUSION)
        kept.record_included(second, INCLUSION)
        kept.record_lost(BLOCK[0], b"\x0d" * 32)
        assert states(batched)[:3] == ["ANCHORED"] * 3
        kept.record_lost(*BLOCK)
        assert states(batched)[:3] == ["SETTLED"] * 3
        assert [row.state for row in kept.waiting(2)] == [AnchorState.SENT, AnchorState.PENDING]
        assert kept.blocks() == []
