"""The page of the designs, from figures alone."""

import re
from dataclasses import replace

from controller.case.comparing import DesignComparison, DesignFigures
from controller.case.page import page


def cells(text: str, design: str) -> list[str]:
    """A design's row without its name."""
    (row,) = re.findall(rf"<tr><td>{design}</td>(.*?)</tr>", text)
    return re.findall(r"<td>(.*?)</td>", row)


def test_a_design_that_does_not_compare_has_a_star_for_its_welfare(comparison: DesignComparison) -> None:
    text = page(comparison)
    assert cells(text, "bilateral")[0] == "7.5"
    assert cells(text, "grid-only")[0] == "*"
    assert "* does not compare" in text
    assert "* does not compare" not in page(replace(comparison, designs=comparison.designs[:1]))


def test_a_design_without_an_answer_has_no_numbers(comparison: DesignComparison) -> None:
    unsolved = DesignFigures(design="pool", status="unsolved", reason="rounds ran out")
    text = page(replace(comparison, designs=(*comparison.designs, unsolved)))
    assert cells(text, "pool")[:10] == ["*", *[""] * 9]


def test_reasons_stand_below_the_table_and_the_picture_scrolls(comparison: DesignComparison) -> None:
    text = page(comparison)
    assert "<li>grid-only: unserved: peer &lt;b&gt;</li>" in text
    assert '<div class="wide"><svg' in text


def test_the_page_warns_where_some_designs_cannot_see_what_links_cost(comparison: DesignComparison) -> None:
    assert "may exceed bilateral" not in page(comparison)
    assert "may exceed bilateral" in page(replace(comparison, particular=True))


def test_what_each_peer_gains_is_empty_where_it_does_not_compare(comparison: DesignComparison) -> None:
    text = page(comparison)
    assert "<tr><td>a</td><td>0</td><td>-2</td></tr>" in text
    assert "<tr><td>b</td><td>0</td><td></td></tr>" in text
