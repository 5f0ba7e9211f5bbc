import json
import os
import sys
from itertools import pairwise
from math import sqrt
from pathlib import Path
from xml.etree import ElementTree

import numba
import pytest

from tests.benchmarks.bandwidth import pairs, triad_gb_s
from tests.benchmarks.clearing import Line, main, tried, with_ratios
from tests.benchmarks.families import FAMILIES, family
from tests.benchmarks.picture import Curve, chart
from tests.benchmarks.report import write_report
from tests.benchmarks.trial import Job

SCALE = float(os.environ.get("GRIDPACT_CAMPAIGN", "1"))
GENERAL = ["piqp", "clarabel"]


def job(**changes: object) -> Job:
    given: dict[str, object] = {
        "family": "bipartite",
        "peers": 20,
        "seed": 1,
        "links_per_peer": None,
        "solver": "clarabel",
        "accuracy": 1e-6,
        "timeout": 60.0,
        "repeats": 1,
    }
    return Job(**{**given, **changes})  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_trial_tells_what_its_answer_is_worth_and_what_it_cost() -> None:
    line = tried(job())
    assert (line["status"], line["links"], line["said"]) == ("solved", 100, "Solved")
    assert line["residual"] <= 1e-6
    assert line["peak_mb"] >= line["peak_before_mb"] > 10
    assert line["seconds"] > 0


@pytest.mark.slow
def test_a_solve_past_its_limit_is_a_timeout_and_no_success() -> None:
    line = tried(job(solver="osqp", family="pieces", peers=60, accuracy=1e-12, timeout=0.3))
    assert line["status"] == "timeout"
    assert "seconds" not in line


@pytest.mark.slow
def test_an_answer_that_misses_the_accuracy_is_called_so_whatever_its_solver_says() -> None:
    line = tried(job(solver="highs", accuracy=1e-14))
    assert line["said"] == "Optimal"
    assert line["status"] == "inaccurate"
    assert line["tolerance"] == pytest.approx(1e-16)


@pytest.mark.slow
def test_a_crash_is_a_failure_with_its_reason() -> None:
    line = tried(job(peers=2))
    assert line["status"] == "failed"
    assert "got 2, wanted at least 4" in line["said"]


def test_only_solved_trials_get_a_ratio_and_only_beside_a_solved_dispatch() -> None:
    lines: list[Line] = [
        {"solver": "dispatch", "status": "solved", "seconds": 2.0},
        {"solver": "piqp", "status": "solved", "seconds": 30.0},
        {"solver": "scs", "status": "inaccurate", "seconds": 50.0},
    ]
    assert [line.get("ratio") for line in with_ratios(lines)] == [1.0, 15.0, None]
    assert all("ratio" not in line for line in with_ratios(lines[1:]))


def test_the_page_and_its_picture_follow_from_the_lines(tmp_path: Path) -> None:
    about = {"kind": "clearing", "family": "bipartite", "seed": 1, "links_per_peer": None, "accuracy": 1e-6}
    about |= {"timeout": 9.0, "repeats": 3}
    solved = {
        "status": "solved",
        "iterations": 12,
        "residual": 2e-7,
        "objective": -3.5,
        "peak_mb": 80.0,
        "version": "1.0",
    }
    lines: list[Line] = [
        {"kind": "machine", "cpu": "a processor", "cores": 2, "system": "Linux", "python": "3.11", "commit": "abc"},
        {"kind": "bandwidth", "threads": 1, "gb_s": 11.4},
        {
            "kind": "round",
            "scheme": "plain",
            "threads": 1,
            "pairs": 2500,
            "bytes": 180_000,
            "seconds": 4e-5,
            "passes": 2.5,
        },
        {**about, "peers": 100, "solver": "dispatch", "links": 2500, "seconds": 0.01, "ratio": 1.0, **solved},
        {**about, "peers": 100, "solver": "piqp", "links": 2500, "seconds": 0.25, "ratio": 25.0, **solved},
        {**about, "peers": 1000, "solver": "dispatch", "links": 250_000, "seconds": 0.5, "ratio": 1.0, **solved},
        {**about, "peers": 1000, "solver": "piqp", "status": "timeout"},
    ]
    evidence = tmp_path / "lines.jsonl"
    evidence.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    write_report(evidence, tmp_path)
    page, picture = (tmp_path / "benchmarks.md").read_text("utf-8"), (tmp_path / "benchmarks.svg").read_text("utf-8")
    assert "| 100 | 2,500 | 0.01 | 0.25 (×25) |" in page
    assert "| 1,000 | 250,000 | 0.5 | over 9 |" in page
    assert "11.4 GB/s with 1 thread." in page
    assert "A round of ADMM (plain) over 2,500 pairs takes 0.04 ms, 2.5 times" in page
    assert "piqp 1.0" in page
    assert picture.count("<polyline") == 2
    assert picture.count("<circle") == 3


def test_a_chart_keeps_its_names_apart_and_stands_one_single_point() -> None:
    close = [Curve(name=f"solver {k}", points=[(10.0, 1.0 + 0.01 * k), (100.0, 5.0 + 0.01 * k)]) for k in range(5)]
    early = Curve(name="early", points=[(10.0, 3.0)])
    drawn = chart([*close, early], title="a < b", across="peers", up="seconds", notes={10.0: "few"})
    root = ElementTree.fromstring(drawn)
    texts = {text.text: float(text.get("y", "0")) for text in root.iter("{http://www.w3.org/2000/svg}text")}
    heights = sorted(texts[f"solver {k}"] for k in range(5))
    assert min(after - before for before, after in pairwise(heights)) >= 16
    assert {"a < b", "few", "early", "100"} <= set(texts)
    alone = chart([Curve(name="one", points=[(7.0, 1.0)])], title="", across="", up="", notes={})
    assert "nan" not in alone
    with pytest.raises(ValueError, match="got no point"):
        chart([], title="", across="", up="", notes={})


@pytest.mark.slow
def test_the_triad_gives_a_rate_and_leaves_the_threads_as_they_were() -> None:
    before = numba.get_num_threads()
    assert 0 < triad_gb_s(1, 100_000) < float("inf")
    assert numba.get_num_threads() == before


def test_a_pair_counts_once_whether_its_links_run_one_way_or_both() -> None:
    assert pairs(family("bipartite", peers=20, seed=1)) == 100
    assert pairs(family("bipartite-resale", peers=20, seed=1)) == 100


def test_a_report_of_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("", "utf-8")
    with pytest.raises(ValueError, match="got no clearing"):
        write_report(tmp_path / "none.jsonl", tmp_path)


@pytest.mark.slow
def test_the_command_writes_the_lines_that_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "lines.jsonl"
    code = main(["--family", "fixed", "--peers", "10", "--solvers", "clarabel", "--repeats", "1", "--jsonl", str(out)])
    assert code == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == out.read_text("utf-8").splitlines()
    assert [json.loads(line).get("status", "machine") for line in printed] == ["machine", "solved"]


@pytest.mark.campaign
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", FAMILIES)
def test_dispatch_agrees_with_general_solvers_at_full_size(name: str) -> None:
    """A hundredth is a hundredth of the links: a tenth of the peers."""
    periods = FAMILIES[name].mtus
    peers = max(10, round(1000 * sqrt(SCALE) / periods))
    lines = {
        solver: tried(job(family=name, peers=peers, solver=solver, accuracy=1e-7, timeout=600.0))
        for solver in ("dispatch", *GENERAL)
    }
    print(*(json.dumps(line, sort_keys=True) for line in lines.values()), sep="\n", file=sys.stderr)
    assert lines["dispatch"]["status"] == "solved", lines["dispatch"]
    judges = [lines[solver] for solver in GENERAL if lines[solver]["status"] == "solved"]
    assert judges, lines
    for judge in judges:
        assert lines["dispatch"]["objective"] == pytest.approx(judge["objective"], rel=1e-6)
