"""The demonstration's own checks pass on what a day left, and each notices what it is there for, alone."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.demo.check import check_day
from tests.integration.served import environment

pytestmark = pytest.mark.slow

FILES = ("community.json", "schedule.json", "trades.jsonl", "postings.jsonl", "headers.jsonl", "inputs.jsonl")
WINDOWS = "every window was cleared, metered, settled and anchored"
BALANCE = "energy balances in every MTU, in whole Wh"
MONEY = "postings sum to zero in every window"
BILLS = "every trade is paid at its price"
UPLIFTS = "who has paid more than its own best plan is made whole by who has gained, as each clearing stated"
IMBALANCES = "all that was metered beyond or short of trades is paid"
ENVELOPE_ENERGY = "scheduled energy keeps the DSO's envelope"
ENVELOPE_POWER = "setpoints and forecasts keep the DSO's envelope"
APPLIANCES = "every appliance ran its hours inside its window"
BATTERIES = "every battery stayed between empty and full"
INPUTS = "every header carries the digest of its window's inputs"
CHECKS = (
    WINDOWS,
    BALANCE,
    MONEY,
    BILLS,
    UPLIFTS,
    IMBALANCES,
    ENVELOPE_ENERGY,
    ENVELOPE_POWER,
    APPLIANCES,
    BATTERIES,
    INPUTS,
)

HEATER, BATTERY = "bert/water-heater", "anna/battery"


class Books:
    """The files of a day, read, to be changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.community: Any = json.loads((folder / "community.json").read_text())
        self.schedule: Any = json.loads((folder / "schedule.json").read_text())
        self.trades: list[Any] = [json.loads(line) for line in (folder / "trades.jsonl").read_text().splitlines()]
        self.postings: list[Any] = [json.loads(line) for line in (folder / "postings.jsonl").read_text().splitlines()]

    def write(self) -> None:
        for name in ("community", "schedule"):
            (self._folder / f"{name}.json").write_text(json.dumps(getattr(self, name)))
        for name in ("trades", "postings"):
            lines = [json.dumps(entry) + "\n" for entry in getattr(self, name)]
            (self._folder / f"{name}.jsonl").write_text("".join(lines))

    def trade(self, *, neighbours: bool) -> Any:
        return next(t for t in self.trades if ("grid" in {t["buyer"], t["seller"]}) is not neighbours)

    def postings_of(self, kind: str) -> list[Any]:
        return [posting for posting in self.postings if posting["kind"] == kind]

    def device(self, id_: str) -> Any:
        return next(d for member in self.community["members"] for d in member["devices"] if d["id"] == id_)

    def instant(self, k: int) -> int:
        start: int = self.schedule["start"]
        return start + 900 * k

    def running(self, id_: str) -> list[int]:
        return [k for k, power in enumerate(self.schedule["acted_w"][id_]) if power > 0]


@pytest.fixture
def books(finished_day: Path, tmp_path: Path) -> Books:
    for name in FILES:
        shutil.copy(finished_day / name, tmp_path / name)
    return Books(tmp_path)


def test_a_real_days_files_pass_every_check(finished_day: Path) -> None:
    checks = check_day(finished_day)
    assert [check["name"] for check in checks] == list(CHECKS)
    assert [check for check in checks if not check["passed"]] == []


@pytest.mark.campaign
def test_another_process_makes_the_same_bytes_of_the_day(finished_day: Path, tmp_path: Path) -> None:
    files = finished_day.parent
    done = subprocess.run(
        [
            *(sys.executable, "-m", "controller.cli", "demo", "--out", str(tmp_path / "day")),
            *("--grid", str(files / "grid.json"), "--catalogue", str(files / "catalogue.json")),
        ],
        env=environment() | {"PYTHONHASHSEED": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    one, other = (
        {path.name: path.read_bytes() for path in d.iterdir() if path.is_file()}
        for d in (finished_day, tmp_path / "day")
    )
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []
    assert len(one) == 11


def test_the_day_has_something_for_every_check_to_look_at(books: Books) -> None:
    assert books.trade(neighbours=True)["energy_wh"] > 0
    assert books.postings_of("IMBALANCE")
    assert books.postings_of("NETWORK_CHARGE")
    assert len(books.running(HEATER)) == 12
    assert any(books.schedule["acted_w"][BATTERY])
    assert books.schedule["windows"]


def more_energy(books: Books) -> None:
    books.trade(neighbours=True)["energy_wh"] += 1


def less_energy(books: Books) -> None:
    books.trade(neighbours=False)["energy_wh"] -= 1


def moved_trade(books: Books) -> None:
    books.trade(neighbours=True)["mtu_start"] += 1


def swapped_sides(books: Books) -> None:
    trade = books.trade(neighbours=True)
    trade["buyer"], trade["seller"] = trade["seller"], trade["buyer"]


def removed_trade(books: Books) -> None:
    books.trades.remove(books.trade(neighbours=True))


def duplicated_trade(books: Books) -> None:
    books.trades.append(books.trade(neighbours=True))


def unpaid_trade_of_zero(books: Books) -> None:
    """Energy that nobody gets and nobody pays is no harm to any promise."""
    books.trades.append({**books.trade(neighbours=False), "index": 10_000, "energy_wh": 0})


def dearer_trade(books: Books) -> None:
    books.trade(neighbours=True)["price_micro_per_kwh"] += 1_000


def position(books: Books) -> None:
    books.schedule["position_wh"]["carl"][3] += 1


def position_and_meter(books: Books) -> None:
    books.schedule["position_wh"]["carl"][3] -= 1
    books.schedule["metered_wh"]["carl"][3] -= 1


def metered(books: Books) -> None:
    books.schedule["metered_wh"]["carl"][3] += 1


def imbalance_posting(books: Books) -> None:
    next(p for p in books.postings_of("IMBALANCE") if p["account"] == "grid")["amount_micro"] += 1


def member_imbalance_posting(books: Books) -> None:
    next(p for p in books.postings_of("IMBALANCE") if p["account"] == "carl")["amount_micro"] += 1


def shifted_imbalance(books: Books) -> None:
    """From one member to the grid: the sum stays."""
    posting = next(p for p in books.postings_of("IMBALANCE") if p["account"] == "carl")
    other = next(p for p in books.postings_of("IMBALANCE") if p["reference"] == posting["reference"] and p != posting)
    posting["amount_micro"] -= 1
    other["amount_micro"] += 1


def shifted_payment(books: Books) -> None:
    """A neighbour's payment moves between payer and receiver: the sum stays."""
    one, other = books.postings_of("TRADE")[:2]
    one["amount_micro"] -= 1
    other["amount_micro"] += 1


def shifted_charge(books: Books) -> None:
    one, other = books.postings_of("NETWORK_CHARGE")[:2]
    one["amount_micro"] -= 1
    other["amount_micro"] += 1


def invented_payment(books: Books) -> None:
    posting = books.postings_of("TRADE")[0]
    for account, amount in (("anna", 5), ("bert", -5)):
        books.postings.append({**posting, "reference": "trade 9999", "account": account, "amount_micro": amount})


def invented_imbalance(books: Books) -> None:
    posting = books.postings_of("IMBALANCE")[0]
    for account, amount in (("anna", 5), ("grid", -5)):
        books.postings.append({**posting, "reference": "anna 17", "account": account, "amount_micro": amount})


def removed_posting(books: Books) -> None:
    books.postings.remove(next(p for p in books.postings_of("IMBALANCE") if p["account"] == "grid"))


def moved_posting(books: Books) -> None:
    """Into another window: both sums are off."""
    posting = next(p for p in books.postings_of("IMBALANCE") if p["account"] == "grid")
    posting["window"] = next(p["window"] for p in books.postings if p["window"] != posting["window"])


def setpoint_beyond(books: Books) -> None:
    books.schedule["planned_w"][BATTERY][40] += 10**6


def feed_in_beyond(books: Books) -> None:
    books.schedule["planned_w"][BATTERY][40] -= 10**6


def forecast_beyond(books: Books) -> None:
    books.schedule["forecast_load_w"]["bert"][40] += 10**6


def energy_beyond(books: Books) -> None:
    """A large purchase from the grid, paid and metered as it should be."""
    for series in (books.schedule["position_wh"], books.schedule["metered_wh"]):
        series["carl"][0] += 10**6
    sold = next(t for t in books.trades if t["mtu_start"] == books.instant(0) and t["seller"] == "grid")
    books.trades.append({**sold, "buyer": "carl", "index": 10_000, "energy_wh": 10**6})
    amount = 1000 * sold["price_micro_per_kwh"]
    for account, sign in (("carl", -1), ("grid", 1)):
        books.postings.append(
            {
                "window": sold["window"],
                "account": account,
                "kind": "TRADE",
                "reference": "trade 10000",
                "amount_micro": sign * amount,
            }
        )


def one_unit_short(books: Books) -> None:
    books.schedule["acted_w"][HEATER][books.running(HEATER)[-1]] = 0


def one_unit_long(books: Books) -> None:
    running = set(books.running(HEATER))
    books.schedule["acted_w"][HEATER][next(k for k in range(60) if k not in running)] = 1500


def outside_window(books: Books) -> None:
    """At 23:00, as long as it should."""
    one_unit_short(books)
    books.schedule["acted_w"][HEATER][68] = 1500


def later_window(books: Books) -> None:
    books.device(HEATER)["start"] = books.instant(books.running(HEATER)[0] + 1)


def earlier_window(books: Books) -> None:
    books.device(HEATER)["end"] = books.instant(books.running(HEATER)[-1]) + 899


def short_run(books: Books) -> None:
    books.device(HEATER)["min_on_s"] = 3 * 3600 + 900


def short_rest(books: Books) -> None:
    """Its last quarter of an hour comes a quarter later; or its first one earlier, where the day leaves no room."""
    acted, running = books.schedule["acted_w"][HEATER], books.running(HEATER)
    moved, to = (running[-1], running[-1] + 1) if running[-1] + 1 < 68 else (running[0], running[0] - 1)
    acted[moved], acted[to] = 0, 1500
    books.device(HEATER)["min_off_s"] = 1800


def overfull(books: Books) -> None:
    books.schedule["acted_w"][BATTERY] = [2000] * 96


def overdrawn(books: Books) -> None:
    books.schedule["acted_w"][BATTERY] = [-2000] * 8 + [0] * 88


def missing_window(books: Books) -> None:
    del books.schedule["windows"][5]


def missing_last_window(books: Books) -> None:
    del books.schedule["windows"][-1]


def duplicated_window(books: Books) -> None:
    books.schedule["windows"].append(books.schedule["windows"][5])


def stray_window(books: Books) -> None:
    stray = {**books.schedule["windows"][0], "window": "microgrids/lv-hamlet/windows/20300101T000000Z"}
    books.schedule["windows"].append(stray)


def unanchored_window(books: Books) -> None:
    books.schedule["windows"][5]["state"] = "SETTLED"


def fallback_window(books: Books) -> None:
    books.schedule["windows"][5]["source"] = "TAIL"


def failed_window(books: Books) -> None:
    books.schedule["windows"][5]["failure"] = "infeasible"


CORRUPTIONS: dict[Callable[[Books], None], set[str]] = {
    more_energy: {BALANCE, BILLS},
    less_energy: {BALANCE, BILLS},
    moved_trade: {BALANCE},
    swapped_sides: {BALANCE, BILLS},
    removed_trade: {BALANCE, BILLS},
    duplicated_trade: {BALANCE, BILLS},
    unpaid_trade_of_zero: set(),
    dearer_trade: {BILLS},
    position: {BALANCE, IMBALANCES},
    position_and_meter: {BALANCE},
    metered: {IMBALANCES},
    imbalance_posting: {MONEY, IMBALANCES},
    member_imbalance_posting: {MONEY, IMBALANCES},
    shifted_imbalance: {IMBALANCES},
    shifted_payment: {BILLS, UPLIFTS},
    shifted_charge: {BILLS, UPLIFTS},
    invented_payment: {BILLS, UPLIFTS},
    invented_imbalance: {IMBALANCES},
    removed_posting: {MONEY, IMBALANCES},
    moved_posting: {MONEY},
    setpoint_beyond: {ENVELOPE_POWER},
    feed_in_beyond: {ENVELOPE_POWER},
    forecast_beyond: {ENVELOPE_POWER},
    energy_beyond: {ENVELOPE_ENERGY, UPLIFTS},
    one_unit_short: {APPLIANCES},
    one_unit_long: {APPLIANCES},
    outside_window: {APPLIANCES},
    later_window: {APPLIANCES},
    earlier_window: {APPLIANCES},
    short_run: {APPLIANCES},
    short_rest: {APPLIANCES},
    overfull: {BATTERIES},
    overdrawn: {BATTERIES},
    missing_window: {WINDOWS, UPLIFTS},
    missing_last_window: {WINDOWS},
    duplicated_window: {WINDOWS, UPLIFTS},
    stray_window: {WINDOWS, UPLIFTS},
    unanchored_window: {WINDOWS},
    fallback_window: {WINDOWS},
    failed_window: {WINDOWS},
}


@pytest.mark.parametrize("corrupt", CORRUPTIONS, ids=lambda corrupt: corrupt.__name__)
def test_each_corruption_fails_exactly_the_checks_that_it_breaks(
    books: Books, tmp_path: Path, corrupt: Callable[[Books], None]
) -> None:
    corrupt(books)
    books.write()
    assert {check["name"] for check in check_day(tmp_path) if not check["passed"]} == CORRUPTIONS[corrupt]


def test_many_problems_are_counted_and_the_first_are_named(books: Books, tmp_path: Path) -> None:
    for series in books.schedule["position_wh"].values():
        series[:] = [energy + 1 for energy in series]
    books.write()
    detail = next(check["detail"] for check in check_day(tmp_path) if check["name"] == BALANCE)
    assert detail.count(";") == 3
    assert "trades give" in detail
    # 96 MTUs, and in each three members and the grid.
    assert detail.endswith(f"and {96 * 4 - 3} more")


@pytest.mark.parametrize("change", [("load_w", "load_x"), ("\n", " \n"), ("}\n", "}\n{}\n")])
def test_inputs_that_are_not_those_of_the_header_are_noticed(
    books: Books, tmp_path: Path, change: tuple[str, str]
) -> None:
    inputs = tmp_path / "inputs.jsonl"
    inputs.write_text(inputs.read_text().replace(*change, 1))
    assert [check["name"] for check in check_day(tmp_path) if not check["passed"]] == [INPUTS]
