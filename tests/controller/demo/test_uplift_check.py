"""The checks of a day's uplifts pass on a real day, and notice what they are there for."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.demo.uplift_check import TOLERANCE_MICRO, check_uplifts, recount_uplifts

pytestmark = pytest.mark.slow

FILES = ("schedule.json", "postings.jsonl", "trades.jsonl", "inputs.jsonl")


class Books:
    """The files of a day that say what uplifts there were, read, to be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.schedule: Any = json.loads((folder / "schedule.json").read_text())
        self.postings: list[Any] = [json.loads(line) for line in (folder / "postings.jsonl").read_text().splitlines()]

    def window(self) -> Any:
        """The first window in which somebody received something."""
        return next(w for w in self.schedule["windows"] if any(u["uplift_micro"] > 0 for u in w["uplifts"]))

    def receiver(self) -> Any:
        return next(u for u in self.window()["uplifts"] if u["uplift_micro"] > 0)

    def posting(self, *, community: bool) -> Any:
        return next(p for p in self.postings if p["kind"] == "UPLIFT" and (p["account"] == "community") is community)

    def passed(self) -> bool:
        return check_uplifts(self.schedule, self.postings)["passed"]


@pytest.fixture
def books(finished_day: Path, tmp_path: Path) -> Books:
    for name in FILES:
        shutil.copy(finished_day / name, tmp_path / name)
    return Books(tmp_path)


def test_a_real_days_uplifts_pass_both_checks(finished_day: Path, books: Books) -> None:
    assert books.passed()
    assert recount_uplifts(finished_day)["passed"]


def more_to_one(books: Books) -> None:
    books.receiver()["uplift_micro"] += 1


def more_to_one_all_through(books: Books) -> None:
    uplift = books.receiver()
    uplift["uplift_micro"] += 1
    uplift["received_micro"] += 1


def dearer_ahead(books: Books) -> None:
    books.receiver()["ahead_micro"] += 1


def more_regret(books: Books) -> None:
    uplift = books.receiver()
    uplift["ahead_micro"] += 1
    uplift["regret_micro"] += 1


def another_payment(books: Books) -> None:
    books.receiver()["paid_micro"] += 1


def unsaid(books: Books) -> None:
    books.window()["uplifts"] = None


def left_out(books: Books) -> None:
    books.window()["uplifts"].pop()


def posted_twice(books: Books) -> None:
    books.postings.append(dict(books.posting(community=False)))


def not_posted(books: Books) -> None:
    books.postings.remove(books.posting(community=False))


def from_nowhere(books: Books) -> None:
    books.postings.remove(books.posting(community=True))


def to_a_stranger(books: Books) -> None:
    books.posting(community=False)["account"] = "zoe"


@pytest.mark.parametrize(
    "corrupt",
    [
        more_to_one,
        more_to_one_all_through,
        dearer_ahead,
        more_regret,
        another_payment,
        unsaid,
        left_out,
        posted_twice,
        not_posted,
        from_nowhere,
        to_a_stranger,
    ],
)
def test_uplifts_that_do_not_follow_are_noticed(books: Books, corrupt: Callable[[Books], None]) -> None:
    corrupt(books)
    assert not books.passed()


def test_windows_from_before_there_were_uplifts_pass(books: Books) -> None:
    for window in books.schedule["windows"]:
        del window["uplifts"]
    books.postings = [p for p in books.postings if p["kind"] != "UPLIFT"]
    assert books.passed()


@pytest.mark.parametrize("name", ["alone_micro", "ahead_micro"])
def test_another_value_of_the_best_plan_alone_is_noticed(books: Books, name: str) -> None:
    books.schedule["windows"][2]["uplifts"][1][name] += 2 * TOLERANCE_MICRO
    (books.folder / "schedule.json").write_text(json.dumps(books.schedule))
    check = recount_uplifts(books.folder)
    assert not check["passed"]
    assert name in check["detail"]
