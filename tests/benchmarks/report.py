"""The page and the picture of a benchmark from its JSON lines."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.families import FAMILIES
from tests.benchmarks.picture import Curve, chart
from tests.benchmarks.scheduling_report import section
from tests.benchmarks.solvers import SOLVERS

Line = dict[str, Any]
Size = tuple[int, int]

HEAD = """# Benchmarks

What one clearing costs, beside general solvers on the same problem, at equal accuracy and in one run. This page is made
from [{evidence}](evidence/{evidence}) by `python -m tests.benchmarks.clearing --report`; make lines of your own with
`python -m tests.benchmarks.clearing --family bipartite --peers 100 300 1000 --bandwidth --jsonl FILE`.

How it is measured:

- Each solver works in a process of its own, one at a time, and is killed when one solve takes longer than its limit.
- General solvers get the sparse matrices ready-made through their own Python interfaces, and only their set-up and
  solve are timed; `cvxpy` is Clarabel reached through cvxpy, whose compilation counts. Ours begin at the market as
  read from a file, so that their own preparation counts. They run once before on the same market, untimed, to compile
  their kernels.
- The fastest of {repeats} solves counts; what takes over 30 s is solved once.
- Tolerances are set to the accuracy. The answer is then judged by one function for all
  (`tests/benchmarks/quadratic.py`): largest violation of a row or a bound over 1 + the largest power; largest reduced
  cost that no bound carries over 1 + the largest cost; difference of primal and dual objective over 1 + its size. An
  answer that misses the accuracy is solved again at a tenth and at a hundredth of the tolerance, and the first that
  keeps to it counts; what misses it still is called inaccurate.
- ADMM stops by a rule of its own, on sums of squares; its default is kept, and its row says how accurate that is.
- Memory is the largest resident size of the whole process, Python and the problem included.
"""


def read(path: Path) -> list[Line]:
    """The lines of a file of evidence."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]


def write_report(evidence: Path, docs: Path, *, scheduling: Path | None = None) -> None:
    """Write ``benchmarks.md`` and ``benchmarks.svg``, with ``scheduling.svg``.

    Parameters
    ----------
    evidence : lines of clearings
    docs : folder to write to
    scheduling : lines of schedulings; None for a page without them

    Raises
    ------
    ValueError
        If there is no line of a clearing.
    """
    lines = read(evidence)
    runs = latest(line for line in lines if line["kind"] == "clearing")
    if not runs:
        raise ValueError(f"{evidence}: got no clearing, wanted at least one")
    repeats = max(line["repeats"] for line in runs)
    parts = [HEAD.format(evidence=evidence.name, repeats=repeats), _machines(lines), _bandwidth(lines)]
    pictured = max(FAMILIES, key=lambda name: sum(r["status"] == "solved" for r in runs if r["family"] == name))
    picture = _picture(pictured, [run for run in runs if run["family"] == pictured])
    if picture:
        (docs / "benchmarks.svg").write_text(picture, "utf-8")
        parts.append(f"![Seconds over peers, family {pictured}](benchmarks.svg)\n")
    for name in FAMILIES:
        chosen = [run for run in runs if run["family"] == name]
        if chosen:
            parts.append(_family(name, chosen))
    if scheduling is not None:
        text, scaling = section(read(scheduling))
        parts.append(text)
        if scaling:
            (docs / "scheduling.svg").write_text(scaling, "utf-8")
    (docs / "benchmarks.md").write_text("\n".join(part for part in parts if part), "utf-8")


def latest(runs: Iterable[Line]) -> list[Line]:
    """The last line of each solver on each market."""
    kept = {}
    for run in runs:
        kept[run["family"], run["peers"], run["links_per_peer"], run["seed"], run["accuracy"], run["solver"]] = run
    return list(kept.values())


def _machines(lines: Sequence[Line]) -> str:
    told = dict.fromkeys(
        f"Measured on {line['cpu']}, {line['cores']} cores, {line['system']}, Python {line['python']}, at commit "
        f"{line['commit']}."
        for line in lines
        if line["kind"] == "machine"
    )
    general = {name for name, solver in SOLVERS.items() if not solver.ours}
    versions = sorted(
        {f"{run['solver']} {run['version']}" for run in lines if run.get("solver") in general and "version" in run}
    )
    return "\n".join([*told, f"Versions: {', '.join(versions)}.\n"])


def _bandwidth(lines: Sequence[Line]) -> str:
    """The latest bandwidths, and what rounds of ADMM cost beside them."""
    speeds = {line["threads"]: line["gb_s"] for line in lines if line["kind"] == "bandwidth"}
    if not speeds:
        return ""
    told = ", ".join(f"{gb_s:.1f} GB/s with {threads} thread{'s'[: threads > 1]}" for threads, gb_s in speeds.items())
    rounds = {line["scheme"]: line for line in lines if line["kind"] == "round"}
    text = [
        f"A round of ADMM ({scheme}) over {line['pairs']:,} pairs takes {1e3 * line['seconds']:.2f} ms, "
        f"{line['passes']:.1f} times what one pass over the {line['bytes'] / 1e6:.0f} MB that it must read and write "
        f"costs at that bandwidth with {line['threads']} thread{'s'[: line['threads'] > 1]}."
        for scheme, line in rounds.items()
    ]
    return "\n".join([f"Memory bandwidth (triad): {told}.", *text, ""])


def _family(name: str, runs: Sequence[Line]) -> str:
    sizes = _sizes(runs)
    used = [solver for solver in SOLVERS if any(run["solver"] == solver for run in runs)]
    rows = [
        f"## {name}: {FAMILIES[name].about}\n",
        "Seconds, and as a multiple of dispatch's.\n",
        f"| peers | links | {' | '.join(used)} |",
        f"|---:|---:|{'---:|' * len(used)}",
    ]
    for peers, links in sizes:
        here = {run["solver"]: run for run in runs if (run["peers"], _links(run, runs)) == (peers, links)}
        cells = " | ".join(_cell(here[solver]) if solver in here else "" for solver in used)
        rows.append(f"| {peers:,} | {links:,} | {cells} |")
    peers, links = sizes[-1]
    rows += [
        f"\nAt {peers:,} peers:\n",
        "| solver | iterations | residual | objective | seconds | of all cores | peak memory |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for run in runs:
        if (run["peers"], _links(run, runs)) == (peers, links) and "seconds" in run:
            rows.append(
                f"| {run['solver']} | {run['iterations']:,} | {_short(run.get('residual'))} | "
                f"{_number(run.get('objective'))} | {_seconds(run['seconds'])} | {_seconds(run.get('cpu_seconds'))} | "
                f"{run['peak_mb']:,.0f} MB |"
            )
    return "\n".join([*rows, ""])


def _links(run: Line, runs: Sequence[Line]) -> int:
    """Links of a run's market, which a run that never ended does not know itself."""
    for other in (run, *runs):
        if other["peers"] == run["peers"] and other["links_per_peer"] == run["links_per_peer"] and "links" in other:
            return int(other["links"])
    return 0


def _sizes(runs: Sequence[Line]) -> list[Size]:
    return sorted({(run["peers"], _links(run, runs)) for run in runs})


def _cell(run: Line) -> str:
    match run["status"]:
        case "solved":
            ratio = f" (×{run['ratio']:.3g})" if run["solver"] != "dispatch" and run.get("ratio") else ""
            return f"{_seconds(run['seconds'])}{ratio}"
        case "timeout":
            return f"over {run['timeout']:g}"
        case "inaccurate":
            return f"inaccurate ({_short(run.get('residual'))}), {_seconds(run['seconds'])}"
        case other:
            return str(other)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _short(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.1e}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"


def _picture(name: str, runs: Sequence[Line]) -> str | None:
    """Seconds over peers at the one density of links that most sizes share; None where nothing was solved."""
    solved = [run for run in runs if run["status"] == "solved"]
    if not solved:
        return None
    sizes = Counter(density for _, density in {(run["peers"], run["links_per_peer"]) for run in solved})
    density = max(sizes, key=lambda d: (sizes[d], d is None))
    alike = [run for run in solved if run["links_per_peer"] == density]
    curves = [
        Curve(name=solver, points=sorted((float(r["peers"]), r["seconds"]) for r in alike if r["solver"] == solver))
        for solver in SOLVERS
        if any(run["solver"] == solver for run in alike)
    ]
    notes = {float(run["peers"]): f"{run['links']:,} links" for run in alike}
    accuracy = f"{alike[0]['accuracy']:.0e}".replace("e-0", "e-")
    title = f"Clearing one market to a residual of {accuracy} ({name})"
    return chart(curves, title=title, across="peers", up="seconds", notes=notes)
