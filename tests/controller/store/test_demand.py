from dataclasses import replace

import pytest

from controller.demand_response import delivery
from controller.errors import StoreError
from controller.store import demand, events, vetoes
from controller.veto import Veto, VetoRecord, VetoState
from tests.controller.test_demand_response import EVENT, OFFER, START

VETO = VetoRecord(
    veto=Veto(id="v", member="ada", start=START, end=START + 900, reason="works", digest="00"),
    state=VetoState.ACTIVE,
    created=START - 60,
    holder="wires",
    payload=b"p",
    signature=b"s",
    key_id="k",
)
OPEN = replace(OFFER, accepted_w=0)


@pytest.fixture
def run(village_store):
    """Runs statements of the store in the village's database, in SQLite and in PostgreSQL."""
    return village_store.run


def test_events_offers_and_deliveries_read_back(run):
    run(demand.add_event, "village", EVENT)
    run(demand.add_offer, "village", OPEN)
    run(demand.accept_offer, "village", "e", "o", 1001)
    found = delivery(EVENT, OFFER, START, {"a": 400}, 900)
    run(demand.add_deliveries, "village", [found])
    assert run(demand.event, "village", "e") == EVENT
    assert run(demand.offers, "village", "e") == [OFFER]
    assert run(demand.deliveries, "village", "e") == [found]
    assert run(demand.settled_until, "village", "e") == START


def test_what_was_taken_back_pays_nobody(run):
    run(demand.add_event, "village", EVENT)
    assert run(demand.events_between, "village", START + 1799, START + 9000) == [EVENT]
    assert run(demand.events_between, "village", START + 1800, START + 9000) == []
    run(demand.cancel_event, "village", "e")
    assert run(demand.events_between, "village", START, START + 1) == []
    assert run(demand.unfinished, START) == [("village", replace(EVENT, cancelled=True))]


def test_no_more_is_accepted_than_is_offered_and_paid_than_is_delivered(run):
    run(demand.add_event, "village", EVENT)
    run(demand.add_offer, "village", OPEN)
    with pytest.raises(StoreError, match=r"(?i)check"):
        run(demand.accept_offer, "village", "e", "o", OPEN.power_w + 1)
    wrong = replace(delivery(EVENT, OFFER, START, {"a": 400}, 900), paid_wh=101)
    with pytest.raises(StoreError, match=r"(?i)check"):
        run(demand.add_deliveries, "village", [wrong])


def test_vetoes_read_back_and_count_until_they_are_taken_back(run):
    run(vetoes.add, "village", VETO)
    assert run(vetoes.find, "village", "v") == VETO
    assert run(vetoes.in_force, "village", START + 899, START + 1800) == (VETO.veto,)
    assert run(vetoes.in_force, "village", START + 900, START + 1800) == ()
    run(vetoes.cancel, "village", "v")
    assert run(vetoes.in_force, "village", START, START + 900) == ()


def test_of_each_subject_the_newest_event_is_told_to_whom_it_may_concern(run):
    for kind, subject, audience in (
        (events.CLEARING, "w1", ""),
        (events.PLAN, "p1", "me"),
        (events.CLEARING, "w2", ""),
        (events.CLEARING, "w1", ""),
    ):
        run(events.add, "village", kind, subject, audience=audience)
    told = run(events.since, "village", events.CLEARING, 0)
    assert [(event.sequence, event.subject) for event in told] == [(3, "w2"), (4, "w1")]
    assert [event.subject for event in run(events.since, "village", events.PLAN, 0, audience="me")] == ["p1"]
    assert run(events.since, "village", events.PLAN, 0, audience="you") == []
