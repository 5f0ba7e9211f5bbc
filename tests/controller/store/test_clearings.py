"""What solvers answered, in databases of both kinds."""

import pytest

from contracts.outbox import AnchorState, Inclusion
from controller.batching import BatchPolicy
from controller.store import batches, clearings, market
from controller.store.outbox import StoredOutbox
from tests.controller.store.test_outbox import BLOCK, settle


@pytest.fixture
def answered(village_store):
    """Three windows with answers, the first with that of an adjustment; the first two are settled and in a batch."""
    names = [row.name for row in village_store.read(market.windows, "village")][:3]
    for name in names:
        village_store.run(clearings.add, name, 0, b"own")
    village_store.run(clearings.add, names[0], 1, b"adjusted")
    village_store.run(settle, 2)
    village_store.run(batches.form, "village", BatchPolicy(windows=1), now=5)
    return village_store, names


def kept(store, names):
    return [sorted(store.read(clearings.of_window, name)) for name in names]


def include(store, number, state=AnchorState.INCLUDED):
    outbox = StoredOutbox(store)
    subject = store.read(batches.batch, "village", number).batch
    outbox.record_included(
        subject, Inclusion(block_number=BLOCK[0], block_hash=BLOCK[1], transaction_hash=None, gas_used=None)
    )
    if state is AnchorState.FINAL:
        outbox.record_final(*BLOCK)


def test_each_answer_is_found_by_its_clearing(answered):
    store, names = answered
    assert store.read(clearings.of_window, names[0]) == {0: b"own", 1: b"adjusted"}
    assert store.read(clearings.of_window, "microgrids/village/windows/none") == {}


def test_of_windows_that_no_registry_holds_it_stays(answered):
    store, names = answered
    assert store.run(clearings.forget, 2**40) == 0
    assert kept(store, names) == [[0, 1], [0], [0]]


@pytest.mark.parametrize("state", [AnchorState.INCLUDED, AnchorState.FINAL])
def test_of_windows_that_a_registry_holds_it_goes_once_they_are_old(answered, state):
    store, names = answered
    include(store, 0, state)
    end = store.read(market.window, names[0]).end
    assert store.run(clearings.forget, end) == 0
    assert store.run(clearings.forget, end + 1) == 2
    assert kept(store, names) == [[], [0], [0]]
