import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from controller.plan.sample import sample_community
from optimization.certificate import certify
from optimization.clearing import Clearing
from optimization.scheduling import schedule
from tests.benchmarks.report import write_report
from tests.benchmarks.scheduling import jobs, main, monolith_of, parsed, tried
from tests.benchmarks.scheduling_report import growth, section
from tests.benchmarks.scheduling_trial import (
    Line,
    SchedulingJob,
    against_alone,
    against_selfish,
    community_of,
    selfish_clearing,
)


def job(**changes: Any) -> SchedulingJob:
    given = SchedulingJob(
        solver="decomposition",
        homes=3,
        mtus=24,
        seed=1,
        links="neighbours",
        tolls=1.0,
        limit_s=20.0,
        wanted_gap=1e-4,
        timeout=550.0,
    )
    return replace(given, **changes)


def line(**changes: Any) -> Line:
    return {
        "kind": "scheduling",
        "solver": "decomposition",
        "homes": 100,
        "mtus": 96,
        "seed": 1,
        "links": "neighbours",
        "tolls": 1.0,
        "limit_s": None,
        "wanted_gap": 0.01,
        "timeout": 900.0,
        "load": 0.1,
        "load_after": 1.4,
        "status": "scheduled",
        "devices": 900,
        "link_count": 400,
        "seconds": 10.0,
        "cpu_seconds": 16.0,
        "peak_mb": 512.0,
        "objective": 400.0,
        "lower_bound": 399.0,
        "gap": 0.0025,
        "selfish_cost": 419.0,
        "transformer_over_kw": 31.5,
        "transformer_kw": 90.0,
        "gap_of_earned": 0.05,
        **changes,
    }


MACHINE: Line = {
    "kind": "machine",
    "cpu": "a processor",
    "cores": 2,
    "system": "Linux",
    "python": "3.11",
    "commit": "abc",
    "modified": False,
}


def test_the_selfish_keep_the_rules_of_their_devices() -> None:
    community = sample_community(3, 1, 24, transformer="none")
    selfish = selfish_clearing(community)
    certificate = certify(community, selfish)
    assert certificate.feasible, certificate.violated
    told = against_selfish(community, certificate.objective, certificate.objective - 1.0)
    assert told["selfish_cost"] == pytest.approx(certificate.objective)
    assert told["gap_of_earned"] == pytest.approx(1.0)
    assert told["transformer_kw"] is None


def test_the_selfish_exceed_a_transformer_that_binds() -> None:
    community = sample_community(10, 1, 24)
    certificate = certify(community, selfish_clearing(community))
    told = against_selfish(community, certificate.objective, certificate.objective + 1.0)
    assert certificate.violated == "envelope transformer"
    assert told["transformer_over_kw"] == pytest.approx(certificate.primal_residual_kw)
    assert told["gap_of_earned"] is None


@pytest.mark.campaign
def test_homes_alone_cost_no_less_than_together_and_no_more_than_the_selfish() -> None:
    community = sample_community(6, 1, 24, mtu_minutes=60, transformer="none")
    together = schedule(community)
    assert isinstance(together, Clearing)
    told = against_alone(community, together.objective, together.lower_bound)
    selfish = certify(community, selfish_clearing(community)).objective
    assert together.lower_bound <= told["alone_cost"] <= selfish
    assert 0.0 <= told["gap_of_joint"] < 1.0
    assert told["alone_over_kw"] == 0.0


def test_tolls_multiply_what_links_cost_and_nothing_else() -> None:
    plain, dear = community_of(job()), community_of(job(tolls=3.0))
    assert [link.cost for link in dear.links] == pytest.approx([3.0 * link.cost for link in plain.links])
    assert [peer.id for peer in dear.peers] == [peer.id for peer in plain.peers]


def test_without_links_no_toll_is_tried_twice() -> None:
    options = parsed(["--links", "none", "neighbours", "--tolls", "1", "3"])
    assert [(j.links, j.tolls) for j in jobs(options)] == [("none", 1.0), ("neighbours", 1.0), ("neighbours", 3.0)]


def test_the_whole_model_gets_ten_times_as_long_up_to_a_limit() -> None:
    given = monolith_of(job(), line(seconds=7.0), 600.0)
    assert (given.solver, given.limit_s, given.homes) == ("monolith", 70.0, 3)
    assert monolith_of(job(), line(seconds=70.0), 600.0).limit_s == 600.0


@pytest.mark.campaign
def test_a_trial_tells_what_its_schedule_is_worth_and_the_whole_model_agrees() -> None:
    ours = tried(job())
    assert ours["status"] == "scheduled", ours
    assert ours["residual_kw"] <= 1e-5
    assert ours["devices"] >= 24
    assert ours["peak_mb"] >= ours["peak_before_mb"] > 10
    whole = tried(job(solver="monolith", limit_s=60.0))
    assert whole["status"] == "scheduled", whole
    assert ours["lower_bound"] <= whole["objective"] + 1e-6
    assert whole["lower_bound"] <= ours["objective"] + 1e-6


@pytest.mark.slow
def test_a_trial_past_its_limit_is_a_timeout_and_no_success() -> None:
    told = tried(job(timeout=0.01))
    assert told["status"] == "timeout"
    assert "objective" not in told


@pytest.mark.slow
def test_a_trial_that_breaks_is_a_failure_with_its_reason() -> None:
    told = tried(job(homes=0))
    assert told["status"] == "failed"
    assert "got 0, wanted 1 to" in told["said"]


@pytest.mark.slow
def test_the_command_of_schedulings_writes_the_lines_that_it_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "lines.jsonl"
    code = main(["--homes", "2", "--mtus", "24", "--deadline", "10", "--jsonl", str(out)])
    printed = capsys.readouterr().out.splitlines()
    assert code == 0, printed
    assert printed == out.read_text("utf-8").splitlines()
    lines = [json.loads(text) for text in printed]
    assert [told.get("status", "machine") for told in lines] == ["machine", "scheduled"]
    assert lines[0]["command"].startswith("python -m tests.benchmarks.scheduling --homes 2")


def test_growth_is_the_power_of_the_homes() -> None:
    sizes = [line(homes=homes, seconds=0.3 * homes**1.25) for homes in (100, 300, 1000)]
    assert growth(sizes, "seconds") == pytest.approx(1.25)


def test_the_section_sets_ours_beside_the_whole_model_and_tells_what_it_did_not_find() -> None:
    whole = line(solver="monolith", limit_s=100.0, seconds=131.0, objective=401.0, lower_bound=390.0, gap=0.0274)
    ours = line(alone_cost=409.0, alone_over_kw=0.0, gap_of_joint=0.1)
    text, picture = section([MACHINE, ours, whole])
    name = "| 100 | 96 | neighbours | 1 |"
    assert f"{name} 900 | ours | 10.0 | 512 MB | 400.0000 | 399.0000 | 0.25 % |" in text
    assert f"{name} 900 | HiGHS | search 100, all 131.0 | 512 MB | 401.0000 | 390.0000 | 2.74 % |" in text
    assert f"{name} selfish devices | 419.00 | 31.5 of 90.0 kW | 20.00 | 5 % |" in text
    assert f"{name} homes alone | 409.00 | nothing | 10.00 | 10 % |" in text
    assert "Others worked" not in text
    assert picture is None
    none = {key: whole[key] for key in whole if key not in {"objective", "lower_bound", "gap"}}
    text, _ = section([MACHINE, line(load=5.5), {**none, "status": "none"}])
    assert "| 512 MB | no schedule found | | |" in text
    assert "Others worked on the machine then" in text


def test_the_section_draws_growth_over_homes_and_lists_links() -> None:
    sizes = [line(homes=homes, seconds=0.1 * homes, cpu_seconds=0.15 * homes) for homes in (1000, 100)]
    links = [line(homes=50, links="none", link_count=0), line(homes=50, tolls=3.0, gap_of_earned=None)]
    text, picture = section([MACHINE, *sizes, *links])
    assert "Seconds grow as homes to the power of 1.00" in text
    assert text.index("| 100 | 900 |") < text.index("| 1,000 | 900 |")
    assert "| none | 0 | ×1 | 10.0 |" in text
    assert "| neighbours | 400 | ×3 | 10.0 | 512 MB | 400.0000 | 399.0000 | 0.25 % | none |" in text
    assert picture is not None
    root = ElementTree.fromstring(picture)
    assert len(list(root.iter("{http://www.w3.org/2000/svg}polyline"))) == 3


def test_the_last_line_of_a_community_counts() -> None:
    text, _ = section([MACHINE, *(line(homes=50, links=links) for links in ("none", "all")), line(homes=50, links="all",
                      seconds=77.0)])  # fmt: skip
    assert text.count("| all | 400 | ×1 |") == 1
    assert "| 77.0 |" in text


def test_what_a_trial_without_a_schedule_came_to_is_said() -> None:
    broken = {
        key: value for key, value in line(homes=50).items() if key not in {"seconds", "objective", "gap_of_earned"}
    }
    lines = [
        line(homes=50, links="none"),
        {**broken, "status": "timeout"},
        {**broken, "tolls": 3.0, "status": "failed"},
    ]
    text, _ = section([MACHINE, *lines])
    assert "| neighbours | 400 | ×1 | over 900 | 512 MB | ended by its limit | | | none |" in text
    assert "| neighbours | 400 | ×3 |  | 512 MB | failed | | | none |" in text


def test_a_section_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="got no decomposition"):
        section([MACHINE])


def test_the_page_keeps_its_clearings_beside_the_schedulings(tmp_path: Path) -> None:
    clearing: Line = {"kind": "clearing", "family": "bipartite", "peers": 20, "seed": 1, "links_per_peer": None}
    clearing |= {"solver": "dispatch", "accuracy": 1e-6, "timeout": 9.0, "repeats": 1, "status": "solved", "links": 100}
    clearing |= {"iterations": 9, "residual": 1e-7, "objective": -1.0, "seconds": 0.1, "peak_mb": 80.0, "version": "1"}
    evidence, scheduling = tmp_path / "clearing.jsonl", tmp_path / "scheduling.jsonl"
    evidence.write_text(json.dumps({**MACHINE}) + "\n" + json.dumps(clearing), "utf-8")
    scheduling.write_text("\n".join(map(json.dumps, [MACHINE, line(), line(homes=300)])), "utf-8")
    write_report(evidence, tmp_path, scheduling=scheduling)
    page = (tmp_path / "benchmarks.md").read_text("utf-8")
    assert page.index("## bipartite") < page.index("## Scheduling")
    assert (tmp_path / "scheduling.svg").exists()
