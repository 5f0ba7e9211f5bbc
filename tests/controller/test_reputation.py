"""How well members did what they had traded, and what that is worth to their partners."""

from dataclasses import replace

import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from controller.microgrid import Trade
from controller.problem import build
from controller.reputation import NEUTRAL_PPM, PPM, Performance, performances, scores
from controller.snapshot import Snapshot
from gridpact.v1 import participant_pb2

MTU = 1_772_431_200


def trade(seller, buyer, energy, mtu=MTU):
    return Trade(seller=seller, buyer=buyer, mtu_start=mtu, energy_wh=energy, price_micro_per_kwh=50_000)


def towards(member, partner, contracted, kept):
    return Performance(member=member, partner=partner, contracted_wh=contracted, kept_wh=kept)


class TestPerformance:
    def test_who_does_what_it_traded_keeps_all(self):
        found = performances([trade("ada", "bob", 1000)], {("ada", MTU): -1000, ("bob", MTU): 1000})
        assert found == (towards("ada", "bob", 1000, 1000), towards("bob", "ada", 1000, 1000))

    def test_what_is_missed_falls_on_all_partners_alike(self):
        trades = [trade("ada", "bob", 300), trade("ada", "eve", 700)]
        found = performances(trades, {("ada", MTU): -450, ("bob", MTU): 300, ("eve", MTU): 700})
        # 550 Wh are missing, of which 50 are within the tolerance: half of what was traded.
        assert [one for one in found if one.member == "ada"] == [
            towards("ada", "bob", 300, 150),
            towards("ada", "eve", 700, 350),
        ]
        assert {one.kept_wh == one.contracted_wh for one in found if one.member != "ada"} == {True}

    def test_more_than_was_traded_is_missed_as_well(self):
        found = performances([trade("ada", "bob", 100)], {("ada", MTU): -100, ("bob", MTU): 170})
        assert found[1] == towards("bob", "ada", 100, 40)

    def test_a_small_difference_is_none(self):
        found = performances([trade("ada", "bob", 100)], {("ada", MTU): -90, ("bob", MTU): 110})
        assert {one.kept_wh for one in found} == {100}

    def test_energy_with_the_grid_counts_nothing(self):
        trades = [trade("grid", "bob", 900), trade("ada", "bob", 100), trade("ada", "grid", 900)]
        found = performances(trades, {("ada", MTU): -1000, ("bob", MTU): 0})
        assert found == (towards("ada", "bob", 100, 100), towards("bob", "ada", 100, 0))

    def test_what_is_sold_and_bought_back_earns_nothing(self):
        trades = [trade("ada", "bob", 500), trade("bob", "ada", 500)]
        assert performances(trades, {("ada", MTU): 0, ("bob", MTU): 0}) == ()


class TestScore:
    def test_who_is_new_stands_in_the_middle(self):
        assert scores(["ada"], []) == {"ada": NEUTRAL_PPM}

    def test_who_keeps_everything_comes_near_the_whole(self):
        found = [towards("ada", partner, 50_000, 50_000) for partner in ("bob", "eve")]
        assert scores(["ada"], found)["ada"] == (PPM * 100_000 + NEUTRAL_PPM * 5000) // 105_000 > 970_000

    def test_trades_with_one_partner_alone_earn_nothing(self):
        """A second membership of one's own, however much it trades."""
        assert scores(["ada"], [towards("ada", "shadow", 10**9, 10**9)]) == {"ada": NEUTRAL_PPM}

    def test_a_second_membership_hides_at_most_half_of_what_was_missed(self):
        honest = scores(["ada"], [towards("ada", "bob", 50_000, 0), towards("ada", "eve", 50_000, 0)])["ada"]
        hidden = [towards("ada", "bob", 50_000, 0), towards("ada", "eve", 50_000, 0)]
        hidden.append(towards("ada", "shadow", 10**9, 10**9))
        assert honest < 30_000
        assert scores(["ada"], hidden)["ada"] < 505_000

    @given(st.lists(st.tuples(st.integers(1, 10**9), st.integers(0, PPM)), max_size=8))
    def test_it_lies_between_nothing_and_the_whole_and_better_is_never_worse(self, drawn):
        found = [towards("ada", f"p{k}", energy, energy * share // PPM) for k, (energy, share) in enumerate(drawn)]
        better = [towards("ada", one.partner, one.contracted_wh, one.contracted_wh) for one in found]
        score = scores(["ada"], found)["ada"]
        assert 0 <= score <= scores(["ada"], better)["ada"] <= PPM
        assert scores(["ada"], found[::-1])["ada"] == score


def preferring(site, member, number=0):
    """An order that would rather trade with who does what it traded."""
    wish = participant_pb2.AttributePreference(
        attribute=participant_pb2.PARTNER_ATTRIBUTE_REPUTATION, preference_micro_per_kwh=20_000
    )
    return site.order_request(member, number, attribute_preferences=[wish])


class TestService:
    def test_without_a_wish_for_it_nothing_is_frozen(self, site):
        site.live(until=site.start)
        assert "reputations" not in site.row(0).snapshot

    def test_scores_are_frozen_and_felt_and_not_paid(self, settled):
        settled.clock.set(settled.start + 2000)
        settled.participant("bob").SubmitOrder(preferring(settled, "bob", 2))
        settled.live(until=settled.start + 3600)
        snapshot = Snapshot.from_json(settled.row(2).snapshot)
        assert set(snapshot.reputations) == {"ada", "bob", "eve"}
        links = {(link.seller, link.buyer): link for link in build(snapshot).links}
        plain = {(link.seller, link.buyer): link for link in build(replace(snapshot, reputations={})).links}
        missed = PPM - snapshot.reputations["eve"]
        assert missed > 0
        felt = links["eve", "bob"].buyer_preference - plain["eve", "bob"].buyer_preference
        assert felt == pytest.approx(20_000 * missed // PPM / 1e6)
        assert links["eve", "bob"].seller_preference == plain["eve", "bob"].seller_preference
        assert links["eve", "bob"].network_charge == plain["eve", "bob"].network_charge

    def test_what_was_settled_is_remembered(self, settled):
        kept = settled.rows("performances")
        assert {row["window"] for row in kept} == {settled.window(0)}
        assert all(0 <= row["kept_wh"] <= row["contracted_wh"] for row in kept)

    def test_members_see_those_with_whom_they_may_trade(self, settled):
        call = settled.participant("ada").ListReputations
        parent = "microgrids/village/members/ada"
        request = participant_pb2.ListReputationsRequest(parent=parent)
        assert [one.member.rpartition("/")[2] for one in call(request).reputations] == ["ada", "bob", "eve"]
        partners = [participant_pb2.Partner(member="microgrids/village/members/bob")]
        settled.participant("eve").SubmitOrder(settled.order_request("eve", 2, partners=partners))
        assert [one.member.rpartition("/")[2] for one in call(request).reputations] == ["ada", "bob"]

    def test_nobody_asks_for_another(self, settled):
        request = participant_pb2.ListReputationsRequest(parent="microgrids/village/members/bob")
        refused = settled.refused(settled.participant("ada").ListReputations, request)
        assert refused.code is StatusCode.NOT_FOUND
