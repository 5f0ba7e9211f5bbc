"""A real community's day, run by the command as anybody would, and then doubted."""

import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from contracts.batch_checks import rebuilt
from contracts.chain_checks import read_transactions
from contracts.evidence import read_directory
from contracts.leaves import Leaf, PostingLeaf, ReadingLeaf, TradeLeaf
from contracts.proof_file import prove, write_proof
from contracts.verify import main as verify
from contracts.verify import verify_directory

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# The first test waits for a whole day, on whatever machine there is.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
EVIDENCE = ("headers.jsonl", "trades.jsonl", "readings.jsonl", "postings.jsonl", "batches.jsonl", "chain.json")
RESULTS = (*EVIDENCE, "community.json", "day.json", "inputs.jsonl", "report.html", "schedule.json")
DATABASE = Path("run", "gridpact.sqlite")
KINDS: dict[str, type[Leaf]] = {"trades": TradeLeaf, "readings": ReadingLeaf, "postings": PostingLeaf}
INTEGERS = {
    "trades": ("index", "mtu_start", "energy_wh", "price_micro_per_kwh"),
    "readings": ("index", "instant", "import_wh", "export_wh"),
    "postings": ("index", "amount_micro"),
}
WHO = {"trades": "seller", "readings": "meter", "postings": "account"}
PICTURES = {"picture-load", "picture-schedule", "picture-devices", "picture-trades", "picture-prices"}
MTUS = 96
QUARTER_S = 900
LEAST_BINDING = 8

Record = dict[str, Any]


@dataclass(frozen=True)
class Day:
    """What one run of the command said and left behind."""

    folder: Path
    code: int
    out: str
    err: str

    @property
    def root(self) -> str:
        return self.out.splitlines()[-1].removeprefix("root ")

    def lines(self, name: str) -> list[Record]:
        return [json.loads(line) for line in (self.folder / f"{name}.jsonl").read_text("utf-8").splitlines()]

    def json(self, name: str) -> Any:
        return json.loads((self.folder / f"{name}.json").read_text("utf-8"))

    @cached_property
    def trades(self) -> list[Record]:
        return self.lines("trades")

    @cached_property
    def readings(self) -> list[Record]:
        return self.lines("readings")

    @cached_property
    def postings(self) -> list[Record]:
        return self.lines("postings")

    @cached_property
    def community(self) -> Any:
        return self.json("community")

    @cached_property
    def schedule(self) -> Any:
        return self.json("schedule")


def start_day(folder: Path, hash_seed: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "controller.cli", "demo", "--out", str(folder)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "proto"))),
            "PYTHONHASHSEED": hash_seed,
            # Beside other tests: threads that spin while they wait would take the processors from each other.
            "OPENBLAS_NUM_THREADS": "1",
            "NUMBA_NUM_THREADS": "1",
        },
        cwd=folder.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_day(folder: Path, hash_seed: str) -> Day:
    demo = start_day(folder, hash_seed)
    out, err = demo.communicate()
    return Day(folder=folder, code=demo.returncode, out=out, err=err)


@pytest.fixture(scope="session")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    """The default day of rural1."""
    return run_day(tmp_path_factory.mktemp("days") / "one", "1")


@pytest.fixture(scope="session")
def other(day: Day) -> Day:
    """The same day, run with the same arguments under another hash seed."""
    return run_day(day.folder.parent / "other", "2")


class Copy:
    """The evidence of the day, to be altered: files are shared with the day until they are written."""

    def __init__(self, day: Day, folder: Path) -> None:
        self.folder = folder
        self._day = day
        (folder / "run").mkdir()
        for name in EVIDENCE:
            os.link(day.folder / name, folder / name)

    def alter(self, name: str, change: Callable[[list[Record]], object]) -> None:
        """Change the records of a JSON Lines file."""
        records = self._day.lines(name)
        change(records)
        path = self.folder / f"{name}.jsonl"
        path.unlink()
        path.write_text("".join(json.dumps(record) + "\n" for record in records))

    def alter_chain(self, change: Callable[[Any], object]) -> None:
        """Change the chain's file."""
        chain = self._day.json("chain")
        change(chain)
        (self.folder / "chain.json").unlink()
        (self.folder / "chain.json").write_text(json.dumps(chain))

    def database(self) -> sqlite3.Connection:
        """The database, to be changed."""
        shutil.copy(self._day.folder / DATABASE, self.folder / DATABASE)
        return sqlite3.connect(self.folder / DATABASE)

    def failures(self) -> str:
        """What verifying finds, one failure a line."""
        return "\n".join(verify_directory(self.folder, root=bytes.fromhex(self._day.root[2:])).failures)


@pytest.fixture
def evidence(day: Day, tmp_path: Path) -> Copy:
    return Copy(day, tmp_path)


def name_of(kind: str, record: Record) -> str:
    return f"{KINDS[kind].kind_name} {record['index']} of window {record['window']}"


def sample(kind: str, records: list[Record], count: int) -> list[int]:
    """Places of some records, in windows of their own, drawn by a seed."""
    places = random.Random(f"{kind} {count}").sample(range(len(records)), len(records))
    seen: dict[str, int] = {}
    for place in places:
        seen.setdefault(records[place]["window"], place)
    return list(seen.values())[:count]


class TestCommand:
    """What the command says and leaves behind."""

    def test_ends_with_the_root_on_its_last_line(self, day: Day) -> None:
        assert day.code == 0
        assert all(
            re.fullmatch(r"gridpact demo: .*(quarter-hours\)|first time only)", line) for line in day.err.splitlines()
        )
        assert re.fullmatch(r"root 0x[0-9a-f]{64}", day.out.splitlines()[-1])
        assert day.root == day.lines("headers")[-1]["hash"] == day.json("day")["summary"]["root"]

    def test_says_every_check_and_that_it_holds(self, day: Day) -> None:
        checks = day.json("day")["checks"]
        assert len(checks) >= 9
        for check in checks:
            assert check["passed"]
            assert f"holds  {check['name']} (" in day.out
        assert "FAILS" not in day.out

    def test_says_what_a_person_wants_to_know(self, day: Day) -> None:
        summary = day.json("day")["summary"]
        for words in ("traded among neighbours", "saved", "peak", "evening envelope", "devices", "imbalance", "gas"):
            assert words in day.out
        assert f"{summary['traded_wh'] / 1000:.1f} kWh in {summary['neighbour_trades']} trades" in day.out
        assert summary["saved_micro"] == summary["bill_tariff_micro"] - summary["bill_micro"] > 0

    def test_leaves_its_files_and_nothing_beside_its_folder(self, day: Day) -> None:
        assert {path.name for path in day.folder.parent.iterdir()} <= {"one", "other"}
        assert {path.name for path in day.folder.iterdir()} == {*RESULTS, "run"}

    @pytest.mark.campaign
    def test_twice_gives_the_same_bytes_but_for_the_run_folder(self, day: Day, other: Day) -> None:
        """As it does in a hamlet, of which every run of the tests makes two days."""
        assert {path.name for path in other.folder.iterdir()} == {*RESULTS, "run"}
        different = [n for n in RESULTS if (day.folder / n).read_bytes() != (other.folder / n).read_bytes()]
        assert different == []
        assert day.root == other.root


class TestBooks:
    """The books, added up here once more."""

    def test_energy_balances_in_every_quarter_of_an_hour(self, day: Day) -> None:
        net: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for trade in day.trades:
            assert trade["energy_wh"] > 0
            assert trade["seller"] != trade["buyer"]
            net[trade["mtu_start"]][trade["buyer"]] += trade["energy_wh"]
            net[trade["mtu_start"]][trade["seller"]] -= trade["energy_wh"]
        start = day.schedule["start"]
        assert sorted(net) == list(range(start, start + MTUS * QUARTER_S, QUARTER_S))
        for k, at in enumerate(sorted(net)):
            assert sum(net[at].values()) == 0
            positions = {member: series[k] for member, series in day.schedule["position_wh"].items()}
            assert {member: net[at][member] for member in positions} == positions
            assert net[at]["grid"] == -sum(positions.values())

    def test_what_was_metered_is_what_the_registers_say(self, day: Day) -> None:
        registers = {(r["meter"], r["instant"]): (r["import_wh"], r["export_wh"]) for r in day.readings}
        members = {member["id"] for member in day.community["members"]}
        assert {meter for meter, _ in registers} == members
        start = day.schedule["start"]
        for member in members:
            for k in range(MTUS):
                before, after = (registers[member, start + (k + j) * QUARTER_S] for j in (0, 1))
                assert after[0] >= before[0]
                assert after[1] >= before[1]
                taken = after[0] - before[0] - (after[1] - before[1])
                assert taken == day.schedule["metered_wh"][member][k]

    def test_readings_that_stand_in_two_windows_agree(self, day: Day) -> None:
        found: dict[tuple[str, int], set[tuple[int, int]]] = defaultdict(set)
        for reading in day.readings:
            found[reading["meter"], reading["instant"]].add((reading["import_wh"], reading["export_wh"]))
        assert {len(values) for values in found.values()} == {1}

    def test_postings_sum_to_zero_in_every_window(self, day: Day) -> None:
        sums: dict[str, int] = defaultdict(int)
        for posting in day.postings:
            sums[posting["window"]] += posting["amount_micro"]
        assert len(sums) == 24
        assert set(sums.values()) == {0}

    def test_everybody_pays_what_they_took_and_nobody_else_does(self, day: Day) -> None:
        balance: dict[str, int] = defaultdict(int)
        for posting in day.postings:
            balance[posting["account"]] += posting["amount_micro"]
        members = {member["id"] for member in day.community["members"]}
        assert balance.keys() <= members | {"grid", "dso", "community"}
        assert -sum(balance[member] for member in members) == day.json("day")["summary"]["bill_micro"]
        charged = [t["energy_wh"] * 5_000 for t in day.trades if "grid" not in {t["seller"], t["buyer"]}]
        assert balance["dso"] == pytest.approx(sum(charged) / 1000, abs=len(charged))
        assert balance["community"] >= 0

    def test_neighbours_trade_between_the_grids_prices(self, day: Day) -> None:
        tariff = {
            at: period
            for period in day.community["microgrid"]["tariff"]
            for at in range(period["start"], period["end"], QUARTER_S)
        }
        partners = {member["id"]: member["partners"] for member in day.community["members"]}
        count = 0
        for trade in day.trades:
            period, price = tariff[trade["mtu_start"]], trade["price_micro_per_kwh"]
            if trade["seller"] == "grid":
                assert price == period["import_price_micro_per_kwh"]
            elif trade["buyer"] == "grid":
                assert price == period["export_price_micro_per_kwh"]
            else:
                count += 1
                assert trade["buyer"] in partners[trade["seller"]]
                assert period["export_price_micro_per_kwh"] <= price <= period["import_price_micro_per_kwh"]
        assert count == day.json("day")["summary"]["neighbour_trades"] > 100

    def test_every_appliance_ran_its_hours_in_its_window(self, day: Day) -> None:
        relays = [d for m in day.community["members"] for d in m["devices"] if d["kind"] == "interruptible"]
        assert len(relays) >= 20
        start = day.schedule["start"]
        for relay in relays:
            acted = day.schedule["acted_w"][relay["id"]]
            assert set(acted) == {0, relay["rated_w"]}
            ran = [start + k * QUARTER_S for k, power in enumerate(acted) if power]
            assert len(ran) * QUARTER_S == relay["required_s"]
            assert relay["start"] <= ran[0]
            assert ran[-1] + QUARTER_S <= relay["end"]


class TestEnvelope:
    """The DSO's limit on the connection point."""

    def bounds(self, day: Day, name: str) -> dict[int, tuple[int, int]]:
        envelope = next(e for e in day.community["envelopes"] if e["id"] == name)
        assert envelope["target"] == f"microgrids/{day.community['microgrid']['id']}"
        return {
            at: (period["lower_w"], period["upper_w"])
            for period in envelope["periods"]
            for at in range(period["start"], period["end"], QUARTER_S)
        }

    def scheduled_wh(self, day: Day) -> dict[int, int]:
        totals = [sum(values) for values in zip(*day.schedule["position_wh"].values(), strict=True)]
        return {day.schedule["start"] + k * QUARTER_S: total for k, total in enumerate(totals)}

    def test_is_never_left_by_what_was_scheduled(self, day: Day) -> None:
        scheduled = self.scheduled_wh(day)
        assert len(self.bounds(day, "transformer")) == MTUS
        for name in ("transformer", "evening"):
            for at, (lower_w, upper_w) in self.bounds(day, name).items():
                assert lower_w <= scheduled[at] * 4 <= upper_w

    def test_binds_in_the_evening_and_the_peak_was_planned_higher_before(self, day: Day) -> None:
        scheduled, evening = self.scheduled_wh(day), self.bounds(day, "evening")
        binding = [at for at, (_, upper_w) in evening.items() if scheduled[at] == upper_w // 4]
        assert len(binding) >= LEAST_BINDING
        start = day.schedule["start"]
        planned = {start + k * QUARTER_S: w for k, w in enumerate(day.json("day")["load"]["without_limit_w"])}
        limit_w = {upper_w for _, upper_w in evening.values()}.pop()
        assert max(planned[at] for at in evening) > limit_w
        assert max(planned[at] for at in evening) > max(scheduled[at] * 4 for at in evening)

    def test_holds_for_setpoints_and_forecasts_of_power(self, day: Day) -> None:
        series = [*day.schedule["forecast_load_w"].values(), *day.schedule["planned_w"].values()]
        totals = [sum(values) for values in zip(*series, strict=True)]
        for name in ("transformer", "evening"):
            for at, (lower_w, upper_w) in self.bounds(day, name).items():
                assert lower_w <= totals[(at - day.schedule["start"]) // QUARTER_S] <= upper_w


class TestVerify:
    """Anybody can check the evidence, and no record can be changed unnoticed."""

    def test_passes_with_the_root(self, day: Day, capsys: pytest.CaptureFixture[str]) -> None:
        assert verify([str(day.folder), "--root", day.root]) == 0
        assert capsys.readouterr().out.splitlines()[-1].startswith("VERIFIED")

    def test_passes_on_the_evidence_alone(self, evidence: Copy) -> None:
        assert evidence.failures() == ""

    def test_fails_with_another_root(self, day: Day, capsys: pytest.CaptureFixture[str]) -> None:
        wrong = day.root[:-1] + ("0" if day.root[-1] != "0" else "1")
        assert verify([str(day.folder), "--root", wrong]) == 1
        assert f"got root {day.root}, wanted {wrong}" in capsys.readouterr().out

    @pytest.mark.parametrize("kind", KINDS)
    def test_names_a_single_record_that_differs_by_one_unit_and_exits_with_one(
        self, evidence: Copy, day: Day, capsys: pytest.CaptureFixture[str], kind: str
    ) -> None:
        field = INTEGERS[kind][-1]
        place = sample(kind, day.lines(kind), 1)[0]
        record = day.lines(kind)[place]
        evidence.alter(kind, lambda records: records[place].update({field: record[field] + 1}))
        assert verify([str(evidence.folder), "--root", day.root]) == 1
        told = capsys.readouterr().out
        assert f"{kind}.jsonl line {place + 1}: {name_of(kind, record)}: leaf does not match" in told
        assert told.splitlines()[-1].startswith("NOT VERIFIED")

    def test_names_every_record_with_an_integer_altered_by_one(self, evidence: Copy, day: Day) -> None:
        expected = []
        for kind in KINDS:
            records = day.lines(kind)
            changes = [(field, step) for field in INTEGERS[kind] for step in (1, -1)]
            altered = {}
            for place, (field, step) in zip(sample(kind, records, len(changes)), changes, strict=True):
                if step < 0 and field != "amount_micro" and records[place][field] == 0:
                    step = 1  # noqa: PLW2901 (nothing below zero is well-formed)
                altered[place] = {**records[place], field: records[place][field] + step}

            def alter(values: list[Record], altered: dict[int, Record] = altered) -> None:
                for place, record in altered.items():
                    values[place] = record

            evidence.alter(kind, alter)
            expected += [f"{kind}.jsonl line {p + 1}: {name_of(kind, record)}" for p, record in altered.items()]
        failures = evidence.failures()
        for name in expected:
            assert f"{name}: leaf does not match" in failures
            assert f"{name}: proof does not lead to the header's root" in failures

    def test_names_records_that_were_removed_or_are_there_twice(self, evidence: Copy, day: Day) -> None:
        expected = []
        for kind, leaf in KINDS.items():
            records = day.lines(kind)
            removed, doubled, last = (*sample(kind, records, 2), len(records) - 1)
            for place in (removed, last):
                expected.append(f"{kind}.jsonl: {leaf.kind_name} {records[place]['index']} of window ")
                expected[-1] += f"{records[place]['window']} is missing"
            expected.append(f"{name_of(kind, records[doubled])} is there 2 times")

            def change(values: list[Record], removed: int = removed, doubled: int = doubled) -> None:
                values.insert(doubled, dict(values[doubled]))
                del values[removed + (removed > doubled)]
                del values[-1]

            evidence.alter(kind, change)
        failures = evidence.failures()
        assert [wanted for wanted in expected if wanted not in failures] == []

    def test_names_a_header_that_differs_by_one_unit(self, evidence: Copy, day: Day) -> None:
        integers = [name for name, value in day.lines("headers")[0].items() if type(value) is int and name != "schema"]
        assert len(integers) >= 7

        def change(headers: list[Record]) -> None:
            for place, name in enumerate(integers):
                headers[2 * place][name] += 1

        evidence.alter("headers", change)
        failures = evidence.failures()
        for place, name in enumerate(integers):
            window = day.lines("headers")[2 * place]["window"] + (", run 1" if name == "run" else "")
            assert f"headers.jsonl line {2 * place + 1}: header of window {window}: hash does not match" in failures

    @pytest.mark.parametrize("place", [0, 11, -1])
    def test_notices_a_header_that_was_removed(self, evidence: Copy, day: Day, place: int) -> None:
        window = day.lines("headers")[place]["window"]
        evidence.alter("headers", lambda headers: headers.pop(place))
        failures = evidence.failures()
        assert f"trade 0 of window {window}: the window has no header" in failures
        assert "batches.jsonl line" in failures

    def test_names_a_signed_transaction_that_was_altered(self, evidence: Copy) -> None:
        def change(chain: Any) -> None:
            raw = chain["transactions"][7]["raw"]
            chain["transactions"][7]["raw"] = raw[:60] + ("0" if raw[60] != "0" else "1") + raw[61:]

        evidence.alter_chain(change)
        assert "chain.json transaction 8: anchor of batch 6" in evidence.failures()

    def test_names_rows_of_the_database_that_were_altered_removed_or_added(self, evidence: Copy, day: Day) -> None:
        expected = []
        with closing(evidence.database()) as database, database:
            tear_down_guards(database)
            for kind, leaf in KINDS.items():
                records = day.lines(kind)
                altered, removed, doubled = (records[place] for place in sample(kind, records, 3))
                field = INTEGERS[kind][-1]
                where = "WHERE window = ? AND ix = ?"
                change(database, f"UPDATE {kind} SET {field} = {field} + 1 {where}", altered)
                expected.append(f"{DATABASE}: {name_of(kind, altered)}: {field}: got {altered[field] + 1}, wanted ")
                change(database, f"DELETE FROM {kind} {where}", removed)
                expected.append(f"{DATABASE}: {name_of(kind, removed)}: missing from table {kind}")
                described = database.execute(f"PRAGMA table_info({kind})")
                columns = [row[1] for row in described if row[1] not in {"id", "ix"}]
                values = ", ".join("'stranger'" if column == WHO[kind] else column for column in columns)
                copied = f"INSERT INTO {kind} ({', '.join(columns)}, ix) SELECT {values}, 9999 FROM {kind} {where}"
                change(database, copied, doubled)
                stray = f"{leaf.kind_name} 9999 of window {doubled['window']!r}"
                expected.append(f"{DATABASE}: {stray}: not in {kind}.jsonl")
        failures = evidence.failures()
        assert [wanted for wanted in expected if wanted not in failures] == []
        assert len(failures.splitlines()) == len(expected)

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_single_record_can_be_proven_alone(self, day: Day, tmp_path: Path, kind: str) -> None:
        evidence = read_directory(day.folder)
        batches = rebuilt(evidence.batches, evidence.headers)
        registry = read_transactions(evidence.chain, evidence.batches, batches).registry
        assert registry is not None
        record = day.lines(kind)[sample(kind, day.lines(kind), 1)[0]]
        proof = prove(evidence, registry, KINDS[kind], window=record["window"], index=record["index"])
        write_proof(tmp_path / "proof.json", proof)
        assert verify([str(tmp_path / "proof.json"), "--root", day.root]) == 0
        assert verify([str(tmp_path / "proof.json"), "--root", "0x" + "00" * 32]) == 1
        text = (tmp_path / "proof.json").read_text()
        others = {member["id"] for member in day.community["members"]} - set(map(str, record.values()))
        assert [other for other in others if f'"{other}"' in text] == []
        field = INTEGERS[kind][-1]
        (tmp_path / "proof.json").write_text(
            text.replace(f'"{field}":{record[field]}', f'"{field}":{record[field] + 1}', 1)
        )
        assert verify([str(tmp_path / "proof.json"), "--root", day.root]) == 1


def tear_down_guards(database: sqlite3.Connection) -> None:
    """Whoever has the file can take down what keeps the service from changing its books."""
    for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        database.execute(f"DROP TRIGGER {name}")


def change(database: sqlite3.Connection, statement: str, record: Record) -> None:
    assert database.execute(statement, (record["window"], record["index"])).rowcount == 1


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    named = os.environ.get("GRIDPACT_CHROMIUM")
    executable = named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if executable is None:
        reason = "no Chromium: got neither $GRIDPACT_CHROMIUM nor chromium or google-chrome on the path"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=executable, args=["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        )
        yield chromium
        chromium.close()


def test_the_report_draws_every_picture_without_an_error(browser: "Browser", day: Day) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
    page.on("requestfailed", lambda request: troubles.append(f"failed: {request.url[:200]}"))
    page.goto((day.folder / "report.html").as_uri())
    page.wait_for_selector("html[data-drawn]")
    marks = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll(".plot")].map(plot => [plot.id,
          [...plot.querySelectorAll(".main-svg path[d], .main-svg image")].filter(mark => {
            const box = mark.getBoundingClientRect();
            return box.width > 0 || box.height > 0;
          }).length]))"""
    )
    text = page.evaluate("document.body.innerText")
    page.close()
    assert troubles == []
    assert marks.keys() == PICTURES
    assert {picture for picture, count in marks.items() if count < 5} == set()
    assert day.root in text
