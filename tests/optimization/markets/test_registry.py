import pytest

from controller.cli import MARKETS
from optimization.errors import ProblemError
from optimization.markets.protocol import DesignOutcome
from optimization.markets.registry import BASELINE, NAMES, design, designs
from optimization.reference.market import solve


def test_every_name_has_its_design():
    every = designs(solve)
    assert tuple(every) == (*NAMES, BASELINE)
    assert all(every[name].name == name for name in every)


def test_the_command_offers_every_design():
    assert MARKETS == NAMES


def test_an_unknown_name_is_refused_with_the_choices():
    with pytest.raises(ProblemError, match=r"got auction, wanted one of bilateral, pool, double-auction"):
        design("auction", designs(solve))


def test_the_designs_agree_where_there_is_nothing_to_choose(make_market):
    # One seller, one buyer, both linear and without costs between them: 1 kW worth 10 that cost 4.
    market = make_market({"ann": [(0, 1, -10.0)], "sam": [(-1, 0, -4.0)]})
    for name in NAMES:
        outcome = design(name, designs(solve)).clear(market)
        assert isinstance(outcome, DesignOutcome)
        assert outcome.welfare == pytest.approx(6, abs=1e-6), name
        assert outcome.piece.ravel() == pytest.approx([1, -1], abs=1e-6)
