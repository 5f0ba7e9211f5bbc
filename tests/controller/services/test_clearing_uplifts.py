"""What a clearing says of its members' uplifts is what aggregators and validators are told, and what is posted."""

import json

import pytest

from controller.demo.recompute import header_of
from gridpact.v1 import dispatch_pb2, validator_pb2
from optimization.regret import standing

MEMBERS = ["ada", "bob", "eve"]


@pytest.fixture
def weighed(site):
    """A service whose solver also tells what members would pay alone; its first window is settled."""

    async def tell(community, device_kw, mtus):
        return standing(community, device_kw, mtus)

    site.solver.standing = tell
    site.live(until=site.start + 1800)
    return site


def clearing(site, caller):
    return caller.GetClearing(dispatch_pb2.GetClearingRequest(window=site.window(0))).clearing


@pytest.mark.slow
def test_they_are_told_kept_and_posted_alike(weighed):
    assert weighed.states()[0] == "SETTLED"
    told = clearing(weighed, weighed.aggregator).uplifts
    assert [uplift.member for uplift in told] == MEMBERS
    kept = json.loads(weighed.row(0).uplifts)
    assert [uplift.alone_micro for uplift in told] == [one["alone_micro"] for one in kept]
    assert [uplift.uplift_micro for uplift in told] == [one["uplift_micro"] for one in kept]
    for uplift in told:
        assert uplift.regret_micro == uplift.paid_micro + uplift.ahead_micro - uplift.alone_micro
    posted = {
        row["account"]: row["amount_micro"]
        for row in weighed.rows("postings")
        if row["kind"] == "UPLIFT" and row["account"] in MEMBERS
    }
    assert posted == {uplift.member: uplift.uplift_micro for uplift in told if uplift.uplift_micro}


@pytest.mark.slow
def test_a_validator_gets_them_with_the_records_they_are_posted_in(weighed):
    answer = weighed.validator.GetWindowRecords(validator_pb2.GetWindowRecordsRequest(window=weighed.window(0)))
    assert list(answer.uplifts) == list(clearing(weighed, weighed.aggregator).uplifts)
    assert header_of(answer).hash == answer.header.hash
