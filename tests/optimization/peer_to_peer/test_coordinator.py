from collections.abc import Mapping

import numpy as np
import pytest

from optimization.admm import AdmmOptions, clear
from optimization.errors import ProblemError
from optimization.market import Market
from optimization.market_certificate import certify
from optimization.market_clearing import MarketClearing
from optimization.peer_to_peer.agents import REMEMBERED, PeerAgent, views
from optimization.peer_to_peer.coordinator import Coordinator, public
from optimization.peer_to_peer.in_process import InProcess, Way, clear_by_messages, without
from optimization.peer_to_peer.iteration import Ending
from optimization.peer_to_peer.messages import Answer, Ask
from tests.benchmarks.families import family

LOSS = 1 - np.sqrt(0.8)  # of questions and of answers: a fifth of all rounds of a peer


@pytest.mark.parametrize(
    "options",
    [AdmmOptions(), AdmmOptions(scheme="plain", tolerance=1e-8), AdmmOptions(relaxation=1.7, memory=4)],
    ids=["accelerated", "plain", "other"],
)
@pytest.mark.parametrize("name", ["prosumers", "k-nearest", "grid"])
def test_with_all_present_messages_clear_as_the_batch_does(name: str, options: AdmmOptions) -> None:
    market = family(name, peers=10, seed=2, mtus=2)
    batch = clear(market, options=options)
    assert isinstance(batch, MarketClearing)
    clearing, settlement = clear_by_messages(market, options=options)
    assert settlement.ending is Ending.CONVERGED
    assert settlement.silent == ()
    scale = 1.0 + np.abs(batch.piece).max()
    for part in ("piece", "trade", "imported", "exported", "price"):
        np.testing.assert_allclose(getattr(clearing, part), getattr(batch, part), atol=1e-9 * scale)


@pytest.mark.slow
def test_stores_and_limits_clear_by_messages_too() -> None:
    market = family("storage", peers=8, seed=2, mtus=4)
    options = AdmmOptions(max_iterations=400)
    clearing, settlement = clear_by_messages(market, options=options)
    certificate = certify(market, clearing)
    assert settlement.missed <= 1e-9
    assert certificate.feasible
    assert certificate.gap <= 1e-3


@pytest.mark.parametrize("name", ["prosumers", "grid", "free"])
def test_a_fifth_of_all_messages_lost_still_ends_in_time_with_a_certified_gap(name: str) -> None:
    market = family(name, peers=12, seed=5)
    random = np.random.default_rng(0)
    clearing, settlement = clear_by_messages(
        market, options=AdmmOptions(max_iterations=300), lost=lambda peer, number, way: bool(random.random() < LOSS)
    )
    assert settlement.rounds <= 300
    certificate = certify(market, clearing)
    assert certificate.feasible
    assert certificate.gap <= 1e-2
    assert (clearing.trade >= 0).all()


@pytest.mark.parametrize("since", [0, 10])
def test_any_single_silent_peer_is_left_out(since: int) -> None:
    market = family("free", peers=8, seed=3)
    for peer in market.peers:
        clearing, settlement = clear_by_messages(
            market,
            options=AdmmOptions(max_iterations=200, tolerance=1e-12),
            lost=lambda who, number, way, peer=peer: who == peer and (number > since or since == 0),
        )
        assert settlement.rounds > since + 10
        assert settlement.silent == (peer,)
        n = market.peers.index(peer)
        touched = (market.links.seller == n) | (market.links.buyer == n)
        assert not clearing.trade[touched].any()
        certificate = certify(without(market, settlement.silent), clearing)
        assert certificate.feasible
        assert certificate.gap <= 1e-3


def test_who_comes_back_trades_again() -> None:
    market = family("free", peers=8, seed=3)
    peer = market.peers[0]
    clearing, settlement = clear_by_messages(market, lost=lambda who, number, way: who == peer and 0 < number < 30)
    assert settlement.silent == ()
    assert settlement.ending is Ending.CONVERGED
    assert certify(market, clearing).gap <= 1e-8


@pytest.mark.parametrize("way", Way)
def test_every_third_message_lost_one_way_alone_only_delays(way: Way) -> None:
    market = family("free", peers=8, seed=3)
    complete, settlement = clear_by_messages(market)
    clearing, delayed = clear_by_messages(
        market, lost=lambda who, number, went: went is way and number > 0 and number % 3 == 0
    )
    assert delayed.silent == ()
    assert delayed.ending is Ending.CONVERGED
    assert delayed.rounds > settlement.rounds
    np.testing.assert_allclose(clearing.piece, complete.piece, atol=1e-6 * np.abs(complete.piece).max())


@pytest.mark.parametrize("rounds", [1, 3])
def test_who_never_spoke_is_silent_although_the_patience_outlasts_the_rounds(rounds: int) -> None:
    market = family("free", peers=8, seed=3)
    peer = market.peers[1]
    clearing, settlement = clear_by_messages(
        market, options=AdmmOptions(max_iterations=rounds), lost=lambda who, number, way: who == peer and number > 0
    )
    assert settlement.silent == (peer,)
    assert certify(without(market, settlement.silent), clearing).feasible


def test_a_patient_coordinator_gets_plans_for_rounds_long_past() -> None:
    market = family("storage", peers=4, seed=2, mtus=2)
    peer = market.peers[0]
    _, settlement = clear_by_messages(
        market,
        options=AdmmOptions(max_iterations=100),
        patience=200,
        lost=lambda who, number, way: who == peer and number > 20 and way is Way.FROM_PEER,
    )
    assert settlement.silent == ()
    assert settlement.rests_on[0] == 20
    assert settlement.rounds > 20 + REMEMBERED


def test_a_plan_for_a_round_without_an_answer_is_refused() -> None:
    view = views(family("free", peers=4, seed=1))[0]
    with pytest.raises(ProblemError, match=f"peer {view.peer}: got a plan asked for round 7"):
        PeerAgent(view).plan(number=7, bought=np.zeros((1, len(view.partners))), grid=np.zeros(1))


def test_the_coordinator_keeps_no_cost() -> None:
    known = public(family("storage", peers=8, seed=1))
    assert known.assets.peer.size == 0
    assert not known.links.cost.any()
    assert not known.stores.cycle_cost.any()
    assert not known.stores.max_charge.any()


@pytest.mark.parametrize("wrong", ["round", "shape", "nan"])
def test_an_answer_that_makes_no_sense_counts_as_none(wrong: str) -> None:
    market: Market = family("free", peers=6, seed=1)
    agents = {view.peer: PeerAgent(view) for view in views(market)}
    liar = market.peers[2]

    class Garbled(InProcess):
        def ask(self, asks: Mapping[str, Ask]) -> Mapping[str, Answer]:  # type: ignore[override]
            answers = dict(super().ask(asks))  # type: ignore[arg-type]
            good = answers[liar]
            proposed = np.full_like(good.proposed, np.nan) if wrong == "nan" else good.proposed
            answers[liar] = Answer(
                round=good.round - (wrong == "round"),
                proposed=proposed[:, 1:] if wrong == "shape" else proposed,
                lowest=good.lowest,
                highest=good.highest,
                imported=good.imported,
                price=good.price,
            )
            return answers

    settlement = Coordinator(market, options=AdmmOptions(max_iterations=60)).clear(Garbled(agents))
    assert settlement.silent == (liar,)
    assert np.isfinite(settlement.trade).all()


def test_nobody_there_ends_with_no_trade() -> None:
    market = family("free", peers=5, seed=1)
    clearing, settlement = clear_by_messages(
        market, options=AdmmOptions(max_iterations=40), lost=lambda peer, number, way: True
    )
    assert set(settlement.silent) == set(market.peers)
    assert not clearing.trade.any()
