import base64
import hashlib

import pytest
from grpc import StatusCode

from controller.refusals import Code, Refusal
from controller.services import paging
from controller.wire import fields
from gridpact.v1 import dispatch_pb2, dispatch_pb2_grpc, participant_pb2
from tests.controller.village_site import mandate

NAME = "microgrids/village"


@pytest.fixture
def traded(settled):
    """The village when its second window's gate has closed and the third's too."""
    settled.live(until=settled.start + 3300)
    return settled


def walk(call, request, field):
    """Everything that a question has for an answer, and how many pages that took."""
    found, pages = [], 0
    while True:
        answer = call(request)
        found += getattr(answer, field)
        pages += 1
        if not answer.next_page_token:
            return found, pages
        request.page_token = answer.next_page_token


def trades(**values):
    return dispatch_pb2.ListTradesRequest(parent=NAME, **values)


class TestListTrades:
    def test_the_whole_history_is_every_window_after_the_other(self, traded):
        each = [
            traded.aggregator.ListTrades(dispatch_pb2.ListTradesRequest(parent=traded.window(n))).trades
            for n in range(3)
        ]
        found, pages = walk(traded.aggregator.ListTrades, trades(page_size=4), "trades")
        assert pages > 3
        assert found == [trade for window in each for trade in window]

    def test_an_interval_bounds_the_begins_of_market_time_units(self, traded):
        start, end = traded.start + 900, traded.start + 2700
        found = traded.aggregator.ListTrades(trades(interval=fields.interval_message(start, end))).trades
        assert {trade.interval.start_time.seconds for trade in found} == {start, start + 900}

    def test_a_members_trades_are_those_on_either_side(self, traded):
        every = traded.aggregator.ListTrades(trades()).trades
        found = traded.aggregator.ListTrades(trades(member=f"{NAME}/members/eve")).trades
        assert list(found) == [trade for trade in every if "eve" in (trade.seller, trade.buyer)]
        assert 0 < len(found) < len(every)

    @pytest.mark.parametrize("member", [f"{NAME}/members/nobody", "microgrids/hamlet/members/eve"])
    def test_who_is_no_member_is_not_found(self, traded, member):
        assert traded.refused(traded.aggregator.ListTrades, trades(member=member)).code is StatusCode.NOT_FOUND

    def test_pages_are_as_they_were_when_a_window_is_cleared_meanwhile(self, settled):
        before = list(settled.aggregator.ListTrades(trades()).trades)
        first = settled.aggregator.ListTrades(trades(page_size=3))
        settled.live(until=settled.start + 3300)
        rest, _ = walk(settled.aggregator.ListTrades, trades(page_token=first.next_page_token), "trades")
        assert [*first.trades, *rest][: len(before)] == before
        assert len(first.trades) + len(rest) > len(before)


class TestMandates:
    @pytest.fixture
    def partial(self, traded):
        """An aggregator that eve alone lets see her trades."""
        mandate(traded, "eve", grantee="aggregator/other")
        return traded.stub(dispatch_pb2_grpc.DispatchServiceStub, "aggregator/other")

    def test_an_aggregator_sees_its_members_trades_without_the_others_names(self, traded, partial):
        every = traded.aggregator.ListTrades(trades()).trades
        found = partial.ListTrades(trades()).trades
        own = [trade for trade in every if "eve" in (trade.seller, trade.buyer)]
        assert [trade.name for trade in found] == [trade.name for trade in own]
        parties = {party for trade in found for party in (trade.seller, trade.buyer)}
        assert parties == {"eve", ""}

    def test_who_let_nobody_in_is_not_found(self, traded, partial):
        assert traded.refused(partial.ListTrades, trades(member=f"{NAME}/members/bob")).code is StatusCode.NOT_FOUND

    def test_a_mandate_that_is_taken_back_counts_no_longer(self, traded, partial):
        first = partial.ListTrades(trades(page_size=1))
        name = f"{NAME}/members/eve/consents/c3"
        traded.participant("eve").RevokeConsent(participant_pb2.RevokeConsentRequest(name=name, request_id="back"))
        assert not partial.ListTrades(trades(page_size=1, page_token=first.next_page_token)).trades

    def test_prices_are_everybodys(self, traded, partial):
        request = dispatch_pb2.ListPricesRequest(parent=NAME)
        assert partial.ListPrices(request) == traded.aggregator.ListPrices(request)


class TestListClearings:
    def test_an_interval_asks_for_the_windows_that_overlap_it(self, traded):
        interval = fields.interval_message(traded.start + 1799, traded.start + 1801)
        request = dispatch_pb2.ListClearingsRequest(parent=NAME, interval=interval)
        found = traded.aggregator.ListClearings(request).clearings
        assert [clearing.window for clearing in found] == [traded.window(0), traded.window(1)]

    @pytest.mark.parametrize(("start", "end"), [(5, 5), (7, 5)])
    def test_an_interval_has_a_length(self, traded, start, end):
        interval = fields.interval_message(traded.start + start, traded.start + end)
        request = dispatch_pb2.ListClearingsRequest(parent=NAME, interval=interval)
        answer = traded.refused(traded.aggregator.ListClearings, request)
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("interval",))


class TestListPrices:
    def test_they_are_the_totals_of_the_trades(self, traded):
        prices, pages = walk(
            traded.aggregator.ListPrices, dispatch_pb2.ListPricesRequest(parent=NAME, page_size=2), "prices"
        )
        assert pages == 3
        assert [p.interval.start_time.seconds for p in prices] == [traded.start + 900 * k for k in range(6)]
        every = traded.aggregator.ListTrades(trades()).trades
        for price in prices:
            own = [t for t in every if t.interval == price.interval]
            among = [t for t in own if "grid" not in (t.seller, t.buyer)]
            assert price.import_energy_wh == sum(t.energy_wh for t in own if t.seller == "grid")
            assert price.export_energy_wh == sum(t.energy_wh for t in own if t.buyer == "grid")
            assert price.neighbour_energy_wh == sum(t.energy_wh for t in among)
            assert price.import_price_micro_per_kwh == (
                60_000 if price.interval in [p.interval for p in prices[:4]] else 95_001
            )
            if among:
                value = sum(t.energy_wh * t.price_micro_per_kwh for t in among)
                assert abs(price.neighbour_price_micro_per_kwh - value / price.neighbour_energy_wh) <= 0.5
                asked = [t.price_micro_per_kwh for t in among]
                assert (price.lowest_price_micro_per_kwh, price.highest_price_micro_per_kwh) == (min(asked), max(asked))
        assert any(price.neighbour_energy_wh for price in prices)

    def test_an_interval_bounds_them(self, traded):
        interval = fields.interval_message(traded.start + 1800, traded.start + 2700)
        found = traded.aggregator.ListPrices(dispatch_pb2.ListPricesRequest(parent=NAME, interval=interval)).prices
        assert [p.interval for p in found] == [interval]

    def test_a_window_without_a_clearing_has_none(self, site):
        assert not site.aggregator.ListPrices(dispatch_pb2.ListPricesRequest(parent=NAME)).prices


class TestPageTokens:
    def asked(self, site, token, **values):
        return site.refused(site.aggregator.ListTrades, trades(page_token=token, **values))

    @pytest.fixture
    def token(self, settled):
        return settled.aggregator.ListTrades(trades(page_size=2)).next_page_token

    def test_a_changed_one_is_refused(self, settled, token):
        for k in range(0, len(token), 5):
            changed = token[:k] + ("A" if token[k] != "A" else "B") + token[k + 1 :]
            answer = self.asked(settled, changed)
            assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("page_token",))

    @pytest.mark.parametrize("token", ["2", "é", "=" * 40, "A" * 600, "AAAA"])
    def test_what_is_none_is_refused(self, settled, token):
        answer = self.asked(settled, token)
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("page_token",))

    def test_it_is_good_for_its_question_only(self, settled, token):
        assert self.asked(settled, token, member=f"{NAME}/members/ada").code is StatusCode.INVALID_ARGUMENT
        request = dispatch_pb2.ListPricesRequest(parent=NAME, page_token=token)
        assert settled.refused(settled.aggregator.ListPrices, request).code is StatusCode.INVALID_ARGUMENT

    def test_it_is_good_for_its_caller_only(self, settled, token):
        other = settled.stub(dispatch_pb2_grpc.DispatchServiceStub, "aggregator/other")
        assert settled.refused(other.ListTrades, trades(page_token=token)).code is StatusCode.INVALID_ARGUMENT

    def test_it_outlives_a_restart_and_serves_pages_of_any_size(self, settled, token):
        settled.restart()
        every = list(settled.aggregator.ListTrades(trades()).trades)
        assert list(settled.aggregator.ListTrades(trades(page_token=token, page_size=1)).trades) == every[2:3]


@pytest.mark.parametrize("body", [b"x", b"5", b"\xff\xfe", b'["\\u0000"]', b"[1e30]", b"[" + b"9" * 30 + b"]", b"{}"])
@pytest.mark.parametrize("kinds", [(str,), (int,)])
def test_a_token_that_a_caller_made_itself_is_refused(body, kinds):
    question = b"question"
    made = hashlib.sha256(question + body).digest()[: paging.DIGEST_BYTES] + body
    with pytest.raises(Refusal) as caught:
        paging.open_sealed("page_token", base64.urlsafe_b64encode(made).decode().rstrip("="), question, kinds)
    assert caught.value.code is Code.INVALID_ARGUMENT
