"""An earlier result as the start of another search."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.case.reading import read_case
from controller.case.start import read_start
from controller.errors import InputError


def test_a_start_says_again_what_the_result_said(
    run: Callable[..., Any], write: Callable[..., Path], two: dict[str, Any]
) -> None:
    path = write(two)
    earlier = write(run("clear", path, "--json").out, "earlier.json")
    start = read_start(earlier, read_case(str(path), None))
    # Consumption is positive inside.
    assert start.piece[:, 0].tolist() == pytest.approx([2, -2])
    assert sorted(start.trade[:, 0].tolist()) == pytest.approx([0, 2])
    assert start.price[:, 0].tolist() == pytest.approx([6, 6])


def test_a_start_of_other_mtus_is_refused(
    run: Callable[..., Any], write: Callable[..., Path], two: dict[str, Any]
) -> None:
    earlier = write(run("clear", write(two), "--json").out, "earlier.json")
    two["horizon"] = {"mtus": 2}
    with pytest.raises(InputError, match="got 1 values, wanted 2, one for each MTU"):
        read_start(earlier, read_case(str(write(two)), None))


def test_an_infeasible_result_is_no_start(
    run: Callable[..., Any], write: Callable[..., Path], two: dict[str, Any]
) -> None:
    path = write(two)
    result = run("clear", path, "--json").json
    earlier = write(json.dumps({**result, "powers": {}}), "earlier.json")
    with pytest.raises(InputError, match="an infeasible case has not"):
        read_start(earlier, read_case(str(path), None))
