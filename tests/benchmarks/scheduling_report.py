"""The section of scheduling in the benchmarks' page, and its picture, from JSON lines."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tests.benchmarks.picture import Curve, chart

Line = dict[str, Any]
Key = tuple[Any, ...]

HEAD = """## Scheduling: which appliance runs when, in whole numbers

Communities as `gridpact sample` draws them, eight devices or more in each home, under a transformer and sections that
bind. Made from [scheduling.jsonl](evidence/scheduling.jsonl) by `python -m tests.benchmarks.scheduling --report`; make
lines of your own with `python -m tests.benchmarks.scheduling --homes 100 --monolith --jsonl FILE`.

- Each trial works in a process of its own. Our time begins at the community as read from a file; a small community is
  scheduled before, untimed, to compile the kernels. Nothing is repeated.
- Objective and gap are recomputed by the certificate, for HiGHS too: (objective - lower bound) / objective.
- Memory is the largest resident size of the whole process until the solver ended, Python and the community included.
- What coordination earns is told against two baselines, both less our lower bound. Against the selfish: each device
  follows the import price alone, and neighbours trade what that leaves. Against homes alone: each home plans well for
  itself at the tariff, within its own limits, and trades what that leaves. Neither keeps to the transformer.
"""

WHY = {
    "none": "no schedule found",
    "broken": "breaks a rule",
    "timeout": "ended by its limit",
    "memory": "killed for memory",
}
"""Words for the statuses of trials without a schedule."""


def section(lines: Sequence[Line]) -> tuple[str, str | None]:
    """The text of the section, and its picture where there are sizes to compare.

    Raises
    ------
    ValueError
        If there is no line of a scheduling.
    """
    ours = [line for line in lines if line.get("solver") == "decomposition"]
    if not ours:
        raise ValueError("lines of scheduling: got no decomposition, wanted at least one")
    monoliths = {_community(line): line for line in lines if line.get("solver") == "monolith"}
    pairs = [(run, monoliths[_community(run)]) for run in latest(ours, _community) if _community(run) in monoliths]
    ours = latest(ours, lambda run: (_community(run), run["limit_s"], run["wanted_gap"]))
    sizes = _sizes(ours)
    picture = _picture(sizes)
    parts = [
        HEAD,
        _machines(lines),
        _truth(pairs),
        _scaling(sizes, pictured=picture is not None),
        _by_links(ours),
    ]
    return "\n".join(part for part in parts if part), picture


def latest(runs: Iterable[Line], key: Callable[[Line], Key]) -> list[Line]:
    """The last line of each key."""
    return list({key(run): run for run in runs}.values())


def _community(run: Line) -> Key:
    return (run["homes"], run["mtus"], run["seed"], run["links"], run["tolls"])


def _machines(lines: Sequence[Line]) -> str:
    machines = [line for line in lines if line["kind"] == "machine"]
    told = dict.fromkeys(
        f"Measured on {line['cpu']}, {line['cores']} cores, {line['system']}, Python {line['python']}, at commit "
        f"{line['commit']}{' with changes not committed' if line.get('modified') else ''}."
        for line in machines
    )
    loads = [line[when] for line in lines for when in ("load", "load_after") if when in line and "solver" in line]
    text = f"Load average around the trials: {min(loads):.1f} to {max(loads):.1f}, the trials' own included."
    if max(loads) > min((line["cores"] for line in machines), default=0):
        text += " Others worked on the machine then: seconds by the wall are upper bounds, those of all cores less so."
    return "\n".join([*told, text, ""])


def _truth(pairs: Sequence[tuple[Line, Line]]) -> str:
    """Ours beside the whole model in HiGHS."""
    if not pairs:
        return ""
    rows = [
        "### Beside the whole model in HiGHS\n",
        "The same problem written plainly, one thread; writing it comes on top of the time for its search.\n",
        "| homes | MTUs | links | seed | devices | solver | seconds | memory | objective | lower bound | gap |",
        "|---:|---:|---|---:|---:|---|---:|---:|---:|---:|---:|",
    ]
    pairs = sorted(pairs, key=lambda pair: _community(pair[0]))
    for run, other in pairs:
        head = f"| {_name(run)} | {run.get('devices', 0):,} |"
        rows += [
            f"{head} ours | {_seconds(run)} | {_worth(run)} |",
            f"{head} HiGHS | search {other['limit_s']:.0f}, all {_seconds(other)} | {_worth(other)} |",
        ]
    rows += [
        "",
        "| homes | MTUs | links | seed | who trades afterwards | what it costs | exceeds the transformer by | "
        "coordination earns | the gap's share |",
        "|---:|---:|---|---:|---|---:|---:|---:|---:|",
        *(f"| {_name(run)} | {row} |" for run, _ in pairs if run["status"] == "scheduled" for row in _earnings(run)),
    ]
    return "\n".join([*rows, ""])


def _name(run: Line) -> str:
    tolls = "" if run["tolls"] == 1.0 else f" ×{run['tolls']:g}"
    return f"{run['homes']:,} | {run['mtus']} | {run['links']}{tolls} | {run['seed']}"


def _worth(run: Line) -> str:
    """Memory, objective, bound and gap, or why there are none."""
    memory = f"{run['peak_mb']:,.0f} MB" if "peak_mb" in run else ""
    if run["status"] != "scheduled":
        return f"{memory} | {WHY.get(run['status'], run['status'])} | |"
    return f"{memory} | {run['objective']:.4f} | {run['lower_bound']:.4f} | {_percent(run['gap'])}"


def _earnings(run: Line) -> list[str]:
    """What coordination earns against each baseline there is."""
    rows = [_earning(run, "selfish devices", run["selfish_cost"], run["transformer_over_kw"], run["gap_of_earned"])]
    if run.get("alone_cost") is not None:
        rows.append(_earning(run, "homes alone", run["alone_cost"], run["alone_over_kw"], run["gap_of_joint"]))
    return rows


def _earning(run: Line, who: str, cost: float, over: float, share: float | None) -> str:
    exceeds = f"{over:.1f} of {run['transformer_kw']:.1f} kW" if over > 0.0 else "nothing"
    return f"{who} | {cost:.2f} | {exceeds} | {cost - run['lower_bound']:.2f} | {_share(share)}"


def _share(share: float | None) -> str:
    return "none" if share is None else _percent(share)


def _sizes(ours: Sequence[Line]) -> list[Line]:
    """The runs of one seed that differ in homes alone, by size: of those there are, the longest such list."""
    alike: dict[Key, list[Line]] = {}
    for run in ours:
        if run["status"] == "scheduled":
            alike.setdefault((*_community(run)[1:], run["limit_s"], run["wanted_gap"]), []).append(run)
    longest = max(alike.values(), key=len, default=[])
    return sorted(longest, key=lambda run: run["homes"]) if len(longest) > 1 else []


def growth(sizes: Sequence[Line], what: str) -> float:
    """The power of the homes with which something grows: the slope of a straight line through its logarithms."""
    homes, values = (np.log([float(run[name]) for run in sizes]) for name in ("homes", what))
    return float(np.polyfit(homes, values, 1)[0])


def _scaling(sizes: Sequence[Line], *, pictured: bool) -> str:
    if not sizes:
        return ""
    first = sizes[0]
    picture = "\n![Seconds over homes](scheduling.svg)\n" if pictured else ""
    rows = [
        "### From small communities to large ones\n",
        f"{first['mtus']} MTUs, seed {first['seed']}, links {first['links']}{_until(first)}. Seconds grow as homes "
        f"to the power of {growth(sizes, 'seconds'):.2f}, those of all cores {growth(sizes, 'cpu_seconds'):.2f}.",
        picture,
        "| homes | devices | seconds | of all cores | ms per home | memory | objective | gap | its share of what "
        "coordination earns against the selfish | against homes alone |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for run in sizes:
        rows.append(
            f"| {run['homes']:,} | {run['devices']:,} | {run['seconds']:.1f} | {run['cpu_seconds']:.1f} | "
            f"{1e3 * run['seconds'] / run['homes']:.1f} | {run['peak_mb']:,.0f} MB | {run['objective']:.2f} | "
            f"{_percent(run['gap'])} | {_share(run['gap_of_earned'])} | {_alone(run)} |"
        )
    return "\n".join([*rows, ""])


def _picture(sizes: Sequence[Line]) -> str | None:
    """Seconds over homes, beside what is in proportion to them; None where there is nothing to compare."""
    if not sizes:
        return None
    first = sizes[0]
    measured = {"by the wall": "seconds", "of all cores": "cpu_seconds"}
    curves = [
        Curve(name=name, points=[(float(run["homes"]), run[what]) for run in sizes]) for name, what in measured.items()
    ]
    ends = (first, sizes[-1])
    straight = [(float(run["homes"]), first["seconds"] * run["homes"] / first["homes"]) for run in ends]
    curves.append(Curve(name="in proportion to homes", points=straight))
    return chart(
        curves,
        title=f"Scheduling a community over {first['mtus']} MTUs",
        across="homes",
        up="seconds",
        notes={float(run["homes"]): f"gap {_percent(run['gap'])}" for run in sizes},
    )


def _by_links(ours: Sequence[Line]) -> str:
    """By what links cost, at each size at which more than one kind was tried."""
    alike: dict[Key, list[Line]] = {}
    for run in ours:
        alike.setdefault((run["homes"], run["mtus"], run["seed"], run["limit_s"] or 0.0, run["wanted_gap"]), []).append(
            run
        )
    rows: list[str] = []
    for (homes, mtus, seed, *_), runs in sorted(alike.items()):
        if len(runs) < 2:
            continue
        rows += [
            "### By what links cost\n" if not rows else "",
            f"{homes:,} homes, {mtus} MTUs, seed {seed}{_until(runs[0])}.\n",
            "| links | how many | what they cost | seconds | memory | objective | lower bound | gap | its share of "
            "what coordination earns against the selfish | against homes alone |",
            "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        ]
        order = ("none", "neighbours", "all")
        for run in sorted(runs, key=lambda run: (order.index(run["links"]), run["tolls"])):
            rows.append(
                f"| {run['links']} | {run.get('link_count', 0):,} | ×{run['tolls']:g} | {_seconds(run)} | "
                f"{_worth(run)} | {_share(run.get('gap_of_earned'))} | {_alone(run)} |"
            )
    return "\n".join([*rows, ""]) if rows else ""


def _alone(run: Line) -> str:
    """The gap's share of what coordination earns against homes alone, where that was measured."""
    return _share(run["gap_of_joint"]) if "gap_of_joint" in run else ""


def _seconds(run: Line) -> str:
    """By the wall; what was ended or broke has none."""
    if "seconds" in run:
        return f"{run['seconds']:.1f}"
    return f"over {run['timeout']:.0f}" if run["status"] == "timeout" else ""


def _until(run: Line) -> str:
    enough = f", until a gap of {_percent(run['wanted_gap'])} is certified"
    return enough if run["limit_s"] is None else f"{enough} or {run['limit_s']:g} s are over"


def _percent(value: float) -> str:
    return f"{100.0 * value:.3g} %"
