"""The picture of the designs, from figures alone."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import pytest

from controller.case.comparing import DesignComparison, DesignFigures
from controller.case.picture import draw

SVG = "{http://www.w3.org/2000/svg}"


def texts(comparison: DesignComparison) -> list[str]:
    """What the picture says, without what the mouse finds."""
    return [next(reversed(list(text.itertext()))) for text in ET.fromstring(draw(comparison)).iter(f"{SVG}text")]


def test_columns_say_their_units_and_colours_what_they_stand_for(comparison: DesignComparison) -> None:
    said = texts(comparison)
    assert {"Welfare (EUR)", "Energy (kWh)", "Price (EUR/kWh)", "Gains (EUR)"} <= set(said)
    assert {"among peers", "imported", "exported"} <= set(said)
    assert {"Welfare", "Price", "Gains"} <= set(texts(replace(comparison, price_unit="")))


def test_who_is_unserved_is_counted_beside_who_wins_and_loses(comparison: DesignComparison) -> None:
    assert "0 win, 1 lose, 1 equal, 1 unserved" in texts(comparison)


@pytest.mark.parametrize(
    "change", [{}, {"unserved": 0.0, "unserved_peers": 0, "exceeded": 2, "status": "cleared", "reason": "exceeded: a"}]
)
def test_a_design_that_does_not_compare_has_no_welfare(comparison: DesignComparison, change: dict[str, Any]) -> None:
    good, poor = comparison.designs
    said = texts(replace(comparison, designs=(good, replace(poor, **change))))
    assert "does not compare" in said
    assert ("limits exceeded" in said) == bool(change)


def test_nothing_stands_outside_the_picture(comparison: DesignComparison) -> None:
    root = ET.fromstring(draw(comparison))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for circle in root.iter(f"{SVG}circle"):
        assert 0 <= float(circle.attrib["cx"]) <= width
        assert 0 <= float(circle.attrib["cy"]) <= height


def test_a_design_without_an_answer_is_named_and_has_no_numbers(comparison: DesignComparison) -> None:
    unsolved = DesignFigures(design="pool", status="unsolved", reason="rounds ran out")
    said = texts(replace(comparison, designs=(comparison.designs[0], unsolved)))
    assert said.count("unsolved") == 1
    assert "does not compare" not in said
