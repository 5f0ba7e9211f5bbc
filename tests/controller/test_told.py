"""What members were told beside their trades, from what was kept of it."""

from dataclasses import replace

import pytest

from controller.demand_response import Delivery, Direction
from controller.errors import StoreUnavailableError
from controller.instructions import Cause, Instruction
from controller.limits.holding import Holding
from controller.settled_on import SettledOn
from controller.store import evidence, held_back
from controller.told import W_MS_PER_WH, of_demand, of_limits
from tests.controller.limits.test_holding import held_back as row
from tests.controller.test_demand_response import EVENT, OFFER

E1 = "microgrids/village/envelopes/e1"
WH = W_MS_PER_WH


def causes(rows, known=(), holders=None):
    told = of_limits(rows, set(known), {} if holders is None else holders, {"ada", "bob"})
    return [(one.cause, one.payer, one.energy_wh) for one in told]


class TestLimits:
    def test_what_the_clearing_did_not_know_is_the_dsos(self):
        assert causes([row(taken=5 * WH)]) == [(Cause.LIMIT, "dso:wires", -5)]

    def test_what_it_knew_is_the_communitys(self):
        assert causes([row(taken=5 * WH)], known={"e1"}) == [(Cause.CONTROLLER, "community", -5)]

    def test_so_is_what_nobody_asked_for(self):
        assert causes([row(limit="rating", holder="", given=5 * WH)]) == [(Cause.CONTROLLER, "community", 5)]

    def test_what_demand_response_held_back_is_the_dsos_that_asked(self):
        limit = "microgrids/village/envelopes/demand-response/ev/900"
        rows = [row(limit=limit, holder="demand-response", taken=WH)]
        assert causes(rows, holders={"ev": "wires"}) == [(Cause.DEMAND_RESPONSE, "dso:wires", -1)]
        assert causes(rows) == [(Cause.CONTROLLER, "community", -1)]

    def test_parts_of_a_watt_hour_and_strangers_do_not_count(self):
        assert causes([row(taken=WH - 1), row(member="eve", taken=WH)]) == []


class TestDemand:
    @pytest.mark.parametrize(("direction", "sign"), [(Direction.REDUCE, -1), (Direction.INCREASE, 1)])
    def test_members_share_what_is_paid_in_proportion_to_what_they_gave(self, direction, sign):
        asked = replace(EVENT, direction=direction, baseline={"ada": (1000,), "bob": (1000,)}, start=0, end=900)
        given = replace(OFFER, members=("ada", "bob"))
        metered = {("ada", 0): 1000 + sign * 300, ("bob", 0): 1000 + sign * 100}
        one = Delivery(
            event=asked.id,
            offer=given.id,
            mtu_start=0,
            baseline_wh=2000,
            metered_wh=2000 + sign * 400,
            delivered_wh=400,
            paid_wh=200,
            amount_micro=1,
        )
        told = of_demand(asked, given, [one], metered, mtu_seconds=900)
        bounds = {each.member: each.upper_wh if sign < 0 else each.lower_wh for each in told}
        assert bounds == {"ada": 1000 + sign * 150, "bob": 1000 + sign * 50}
        assert {(each.cause, each.payer) for each in told} == {(Cause.DEMAND_RESPONSE, f"dso:{asked.holder}")}
        assert {each.member: each.most_wh for each in told} == {"ada": 150, "bob": 50}

    @pytest.mark.parametrize(("direction", "sign"), [(Direction.REDUCE, -1), (Direction.INCREASE, 1)])
    @pytest.mark.parametrize(("beyond", "most"), [(700, 1000), (0, 300), (-100, 300)])
    def test_no_more_is_corrected_than_from_what_was_planned(self, direction, sign, beyond, most):
        series = {"ada": (1000 - sign * beyond,)}
        asked = replace(EVENT, direction=direction, baseline={"ada": (1000,)}, planned=series, start=0, end=900)
        one = Delivery(
            event=asked.id,
            offer=OFFER.id,
            mtu_start=0,
            baseline_wh=1000,
            metered_wh=1000 + sign * 300,
            delivered_wh=300,
            paid_wh=300,
            amount_micro=1,
        )
        (told,) = of_demand(
            asked, replace(OFFER, members=("ada",)), [one], {("ada", 0): 1000 + sign * 300}, mtu_seconds=900
        )
        assert told.most_wh == most


class TestBooks:
    """Bob bought 501 Wh in the fourth MTU, and took 376."""

    @pytest.fixture
    def told(self, site):
        """The DSO held his boiler back by 50 Wh; no clearing knew."""
        at = site.start + 2700
        site.live(until=at)
        site.database.run(held_back.add, [row(member="bob", mtu=at, taken=20 * WH)])
        site.database.run(held_back.add, [row(member="bob", mtu=at, taken=30 * WH)])
        site.live(until=site.end)
        return site

    def test_so_much_is_undone_and_the_rest_is_his_own(self, told):
        at = told.start + 2700
        facts = SettledOn.from_json(told.database.run(evidence.settlement, told.window(1), 0))
        assert facts.instructions == (
            Instruction(member="bob", mtu_start=at, cause=Cause.LIMIT, payer="dso:wires", energy_wh=-50),
        )
        amounts = {(one["account"], one["reference"]): one["amount_micro"] for one in told.of_window("postings", 1)}
        cheapest = min(
            trade["price_micro_per_kwh"]
            for trade in told.rows("trades")
            if (trade["buyer"], trade["mtu_start"]) == ("bob", at)
        )
        corrected, export = f"bob {at} LIMIT dso:wires", 39_000
        assert amounts["bob", corrected] == round(50 * cheapest / 1000)
        assert amounts.get(("dso:wires", corrected), 0) == -round(50 * (cheapest - export) / 1000)
        assert amounts["bob", f"bob {at}"] == round(75 * min(export, cheapest) / 1000)

    def test_what_the_disk_does_not_take_is_counted_still(self, site, monkeypatch):
        held = Holding(member="bob", limit=E1, holder="wires", consumption_w=10, production_w=0)
        site.service._tally.add("village", 900, [held], start_ms=0, end_ms=1000)

        def refuses(*_):
            raise StoreUnavailableError("the database has stopped")

        with monkeypatch.context() as stopped:
            stopped.setattr("controller.app.held_back.add", refuses)
            with pytest.raises(StoreUnavailableError):
                site.loop.run(site.service.flush())
        assert site.rows("held_back") == []
        for _ in range(2):
            site.loop.run(site.service.flush())
        assert [row["consumption_w_ms"] for row in site.rows("held_back")] == [10_000]
