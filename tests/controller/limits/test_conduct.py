"""Who does what it is told, from what it says and what is seen of it. W, seconds of a steady clock."""

import pytest

from controller.clamp import Span
from controller.commands import Response
from controller.limits.conduct import OBEY_S, Conduct, Sight

NOTHING, TOLD, VERIFIED, OTHER = Response.NOTHING, Response.TOLD, Response.VERIFIED, Response.OTHER


def upto(high, low=0):
    return Span(low_w=low, high_w=high)


def sight(told, measured=None, response=TOLD, failsafe=0):
    return Sight(told=told, worst=upto(5000, -5000), failsafe=upto(failsafe), measured=measured, response=response)


def after(*told):
    """A device that was told something at each of these instants."""
    conduct = Conduct()
    for at, span in told:
        conduct.note({"d": span}, at)
    return conduct


LESS = ((0, upto(4000)), (100, upto(1000)))
WORST = upto(5000, -5000)


@pytest.mark.parametrize(
    ("told", "seen", "doubt"),
    [
        # told less at 100: what arrives within OBEY_S may still be what it did before
        (LESS, sight(upto(1000), (4000, 100 + OBEY_S - 0.1)), None),
        (LESS, sight(upto(1000), (4000, 100 + OBEY_S)), upto(4000)),
        (LESS, sight(upto(1000), (4200, 105)), None),
        (LESS, sight(upto(1000), (4300, 105)), upto(4300)),
        # meters differ
        (LESS, sight(upto(1000), (1050, 120)), None),
        (LESS, sight(upto(1000), (1051, 120)), upto(1051)),
        (LESS, sight(upto(1000), (-51, 120)), upto(1000, -51)),
        # what it is told now may be more again
        (LESS, sight(upto(4000), (4000, 120)), None),
        # nobody knows what it was told then
        ((), sight(upto(1000), (4000, 120)), None),
        (LESS, sight(upto(1000), (4000, 5)), None),
        # without telemetry it is believed, unless it says otherwise
        (LESS, sight(upto(1000)), None),
        (LESS, sight(upto(1000), response=VERIFIED), None),
        (LESS, sight(upto(1000), response=OTHER), WORST),
        (LESS, sight(upto(1000), response=NOTHING), None),
        (LESS, sight(upto(1000), response=NOTHING, failsafe=1500), upto(1500)),
        # a driver that says so is believed at once; telemetry from before it was told less proves nothing
        (LESS, sight(upto(1000), (800, 99), OTHER), WORST),
        (LESS, sight(upto(1000), (800, 101), OTHER), None),
        (LESS, sight(upto(1000), (1200, 101), OTHER), upto(1200)),
        ((), sight(upto(1000), (1200, 101), OTHER), upto(1200)),
        # in its failsafe it does what is measured
        (LESS, sight(upto(1000), (1200, 99), NOTHING, failsafe=0), upto(1200)),
        (LESS, sight(upto(1000), (700, 99), NOTHING, failsafe=3000), None),
    ],
)
def test_who_is_doubted(told, seen, doubt):
    assert after(*told).doubt("d", seen) == doubt


@pytest.mark.parametrize(
    ("clearing", "doubted"),
    [
        (sight(upto(1000)), True),
        (sight(upto(1000), response=VERIFIED), False),
        (sight(upto(1000), (4000, 130), VERIFIED), True),
        (sight(upto(1000), (900, 130)), False),
    ],
)
def test_doubt_lasts_until_it_obeys(clearing, doubted):
    conduct = after(*LESS)
    assert conduct.doubt("d", sight(upto(1000), (4000, 120))) is not None
    assert (conduct.doubt("d", clearing) is not None) is doubted
    conduct.keep({"d"})
    assert (conduct.doubt("d", sight(upto(1000))) is not None) is doubted
    conduct.keep(())
    assert conduct.doubt("d", sight(upto(1000))) is None


def test_what_was_told_long_ago_is_forgotten_but_for_what_stands():
    conduct = after(*LESS)
    conduct.note({"d": upto(900)}, 1000)
    conduct.note({"d": upto(900)}, 2000)
    assert list(conduct._told["d"]) == [(1000, upto(900))]
    conduct.note({"e": upto(1)}, 2001)
    assert set(conduct._told) == {"e"}
