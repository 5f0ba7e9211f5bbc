"""Market cases: the folder of the published ones, the smallest, and how one is changed."""

import copy
from pathlib import Path
from typing import Any

CASES = Path(__file__).parents[1] / "vectors" / "cases"

TWO = {
    "name": "two",
    "peers": [
        {"id": "home", "assets": [{"name": "load", "a": 1, "b": 8, "p_min": -30, "p_max": 0}]},
        {"id": "plant", "assets": [{"name": "net", "a": 1, "b": 4, "p_min": 0, "p_max": 60}]},
    ],
    "links": [["home", "plant"]],
}


def changed(case: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of a case with one place set, or removed where the value is ``...``."""
    case = copy.deepcopy(case)
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place: Any = case
    for step in steps:
        place = place[step]
    if value is ...:
        del place[last]
    elif isinstance(place, list) and last == len(place):
        place.append(value)
    else:
        place[last] = value
    return case
