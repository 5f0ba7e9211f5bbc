from dataclasses import replace

import pytest

from controller.demand_response import DemandEvent, DemandOffer, Direction, EventState, bounds, delivery, state

START = 1_800_000_000
EVENT = DemandEvent(
    id="e",
    target="microgrids/m",
    start=START,
    end=START + 1800,
    direction=Direction.REDUCE,
    power_w=2000,
    price_cap_micro_per_kwh=500_000,
    offer_deadline=START - 600,
    reason="hot line",
    holder="dso",
    created=START - 3600,
    baseline={"a": (500, 501), "b": (-100, 50)},
    payload=b"",
    signature=b"",
    key_id="k",
)
OFFER = DemandOffer(
    event="e",
    id="o",
    aggregator="agg",
    members=("a",),
    power_w=1500,
    price_micro_per_kwh=300_000,
    created=START - 1800,
    accepted_w=1001,
    payload=b"",
    signature=b"",
    key_id="k",
)
BEFORE_DEADLINE, BEFORE_START, INSIDE, AFTER = START - 601, START - 1, START, START + 1800
S = EventState
TABLE = {
    # (offers, accepted, verified): the states at these four instants
    (0, 0, False): (S.REQUESTED, S.EXPIRED, S.EXPIRED, S.EXPIRED),
    (2, 0, False): (S.OFFERED, S.OFFERED, S.EXPIRED, S.EXPIRED),
    (2, 1, False): (S.ACCEPTED, S.ACCEPTED, S.ACTIVE, S.ENDED),
    (2, 1, True): (S.ACCEPTED, S.ACCEPTED, S.ACTIVE, S.VERIFIED),
}


@pytest.mark.parametrize("facts", TABLE)
def test_a_state_follows_from_what_was_said_and_the_time(facts):
    offers, accepted, verified = facts
    instants = (BEFORE_DEADLINE, BEFORE_START, INSIDE, AFTER)
    found = [state(EVENT, offers=offers, accepted=accepted, verified=verified, now=now) for now in instants]
    assert tuple(found) == TABLE[facts]
    gone = replace(EVENT, cancelled=True)
    assert {state(gone, offers=offers, accepted=accepted, verified=verified, now=now) for now in instants} == {
        S.CANCELLED
    }


def test_the_deadline_and_the_start_belong_to_what_follows():
    def at(now, offers):
        return state(EVENT, offers=offers, accepted=0, verified=False, now=now)

    assert at(START - 600, 0) is S.EXPIRED
    assert at(START - 600, 1) is S.OFFERED
    assert at(START, 1) is S.EXPIRED


def test_a_reduction_bounds_the_target_from_above_and_an_increase_from_below():
    less, more = bounds(EVENT, 1000, 900), bounds(replace(EVENT, direction=Direction.INCREASE), 1000, 900)
    assert [(b.start, b.end, b.lower_w, b.upper_w) for b in less] == [
        (START, START + 900, None, 600),
        (START + 900, START + 1800, None, 1204),
    ]
    assert [(b.lower_w, b.upper_w) for b in more] == [(2600, None), (3204, None)]


@pytest.mark.parametrize(
    ("metered", "delivered", "paid"),
    [(500, 0, 0), (600, 0, 0), (400, 100, 100), (250, 250, 250), (249, 251, 250), (-1000, 1500, 250)],
)
def test_what_is_paid_is_delivered_and_accepted(metered, delivered, paid):
    found = delivery(EVENT, OFFER, START, {"a": metered, "b": 7}, 900)
    assert (found.baseline_wh, found.metered_wh) == (500, metered)
    assert (found.delivered_wh, found.paid_wh, found.amount_micro) == (delivered, paid, paid * 300)


def test_an_increase_is_measured_the_other_way_round():
    found = delivery(replace(EVENT, direction=Direction.INCREASE), OFFER, START + 900, {"a": 700}, 900)
    assert (found.baseline_wh, found.delivered_wh, found.paid_wh) == (501, 199, 199)


def test_who_is_metered_no_longer_delivers_nothing():
    found = delivery(EVENT, replace(OFFER, members=("a", "b")), START, {"b": -150}, 900)
    assert (found.baseline_wh, found.metered_wh, found.delivered_wh) == (-100, -150, 50)
