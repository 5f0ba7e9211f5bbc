"""The designs side by side: which of them compare, what buyers bear, who is counted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller.case.comparing import DesignComparison, DesignFigures, compare_designs, served
from controller.case.reading import read_case
from controller.case.solving import Options

Compare = Callable[[dict[str, Any]], DesignComparison]


def street() -> dict[str, Any]:
    """A roof, a home and a shop with a grid; links differ in what they cost."""
    return {
        "name": "street",
        "units": {"power": "kW", "price": "EUR/kWh"},
        "grid": {"import_price": 0.3, "export_price": 0.1},
        "fee_per_side": 0.001,
        "peers": [
            {"id": "roof", "assets": [{"name": "pv", "b": 0.01, "p_min": 0, "p_max": 4}]},
            {"id": "home", "assets": [{"name": "load", "p_min": -3, "p_max": -3}]},
            {"id": "shop", "assets": [{"name": "load", "p_min": -2, "p_max": -2}]},
            {"id": "shed", "assets": []},
        ],
        "links": [
            {"peers": ["roof", "home"], "network_charge": 0.02},
            {"peers": ["roof", "shop"], "network_charge": 0.02, "preference": [0, 0.01]},
        ],
    }


@pytest.fixture
def compared(write: Callable[[Any], Path]) -> Compare:
    """Compares the designs on a case."""

    def compared(content: dict[str, Any]) -> DesignComparison:
        case = read_case(str(write(content)), None)
        return compare_designs(case, fee_per_side=case.fee_per_side, link_limit=np.inf, options=Options())

    return compared


def by_name(comparison: DesignComparison) -> dict[str, DesignFigures]:
    """The figures by design."""
    return {figures.design: figures for figures in comparison.designs}


def test_a_design_that_exceeds_a_limit_does_not_compare(compared: Compare) -> None:
    case = street()
    case["limits"] = [{"name": "feeder", "peers": ["roof", "shed"], "p_max": 2.5}]
    comparison = compared(case)
    designs = by_name(comparison)
    for name in ("double-auction", "grid-only"):
        figures = designs[name]
        assert figures.exceeded == 1
        assert (figures.compares, figures.welfare, figures.winners, figures.losers) == (False, None, 0, 0)
        assert {gain.amount for gain in figures.gains} == {None}
    # The grid alone exceeds the limit too: it can be no baseline.
    assert comparison.baseline == "bilateral"
    assert designs["bilateral"].compares
    assert served(comparison.designs)
    assert not served([designs["double-auction"], designs["grid-only"]])


def test_buyers_bear_fees_charges_and_preferences(compared: Compare) -> None:
    case = street()
    del case["peers"][1:2], case["links"][:1]
    designs = by_name(compared(case))
    bilateral = designs["bilateral"]
    assert bilateral.price_borne == pytest.approx(bilateral.price_mean + 0.02 + 0.01 + 0.001, abs=1e-9)
    # Half of the charge falls on each side where partners are unknown, and nobody feels a preference.
    pool = designs["pool"]
    assert pool.price_borne == pytest.approx(pool.price_mean + 0.01 + 0.001, abs=1e-9)
    assert designs["grid-only"].price_borne is None


def test_a_comparison_says_when_links_differ_in_ways_that_some_designs_cannot_see(compared: Compare) -> None:
    case = street()
    assert "their welfare may exceed bilateral's" in compared(case).proviso
    del case["links"][1]["preference"]
    assert compared(case).proviso == ""
    case["links"][1]["network_charge"] = 0.03
    assert compared(case).proviso


def test_peers_without_energy_are_counted(compared: Compare) -> None:
    case = street()
    del case["grid"]
    designs = by_name(compared(case))
    assert (designs["grid-only"].unserved_peers, designs["grid-only"].unserved) == (2, pytest.approx(5))
    assert designs["grid-only"].welfare is None


def test_the_currency_is_what_the_price_is_in(compared: Compare) -> None:
    case = street()
    assert (compared(case).price_unit, compared(case).currency) == ("EUR/kWh", "EUR")
    case["units"] = {"price": "points"}
    assert (compared(case).price_unit, compared(case).currency) == ("points", "")
