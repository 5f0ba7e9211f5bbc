"""Spreads test files over processes so that none waits at the end, and none compiles what another just compiles.

Kernels of `optimization` are compiled at their first use, some minutes in all, and kept for every process that comes
later. So the first process begins with the files that use them most, and the others with those that use none. Within
both, long files come first.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

ROOT = Path(__file__).parents[1]
WITHOUT_KERNELS = (
    "tests/contracts/",
    "tests/controller/clamp/",
    "tests/controller/limits/",
    "tests/controller/services/",
    "tests/controller/store/",
    "tests/controller/wire/",
    "tests/crash/",
    "tests/device_drivers/",
    "tests/integration/test_integrators.py",
    "tests/integration/test_serve.py",
)
FIRST = "tests/optimization/"
"""Whose files compile most kernels, each alone, before whole days need all of them at once."""
LONG_S = {
    "tests/benchmarks/test_scheduling_benchmark.py": 24,
    "tests/contracts/test_verify.py": 25,
    "tests/controller/demo/test_check.py": 24,
    "tests/controller/demo/test_report.py": 11,
    "tests/controller/plan/test_documented_output.py": 11,
    "tests/controller/plan/test_plan_command.py": 12,
    "tests/controller/services/test_idempotency.py": 20,
    "tests/controller/services/test_operator.py": 10,
    "tests/controller/store/test_window_life.py": 10,
    "tests/controller/test_clear_command.py": 11,
    "tests/controller/test_cli.py": 50,
    "tests/controller/test_help.py": 40,
    "tests/crash/test_power_loss.py": 6,
    "tests/integration/test_day.py": 150,
    "tests/integration/test_serve.py": 18,
    "tests/optimization/decomposition/test_splitting.py": 20,
    "tests/optimization/markets/test_settling.py": 10,
    "tests/optimization/reference/test_relaxation.py": 13,
    "tests/optimization/test_admm.py": 15,
    "tests/optimization/test_dispatch_random.py": 21,
    "tests/optimization/test_regret.py": 12,
    "tests/optimization/test_scheduling.py": 41,
    "tests/optimization/test_scheduling_campaign.py": 10,
}
"""Processor seconds of the longest files; the others take less than ten, and one with more tests takes longer."""
TEST_S = 0.05


class Spread(LoadFileScheduling):
    """Gives each process the file that suits it best of those that are left."""

    def _assign_work_unit(self, node: WorkerController) -> None:
        first = node is self.nodes[0]
        scope = choose({scope: len(tests) for scope, tests in self.workqueue.items()}, compiles=first)
        self.workqueue.move_to_end(scope, last=False)
        super()._assign_work_unit(node)


def choose(counts: dict[str, int], *, compiles: bool) -> str:
    """The file that a process takes next.

    Parameters
    ----------
    counts : of tests, by file
    compiles : whether it is the process that compiles kernels first
    """

    def rank(file: str) -> tuple[bool, bool, float]:
        kernels = not file.startswith(WITHOUT_KERNELS)
        seconds = LONG_S.get(file, TEST_S * counts[file])
        return kernels is not compiles, kernels and not file.startswith(FIRST), -seconds

    return min(counts, key=rank)


def make_scheduler(config: pytest.Config, log: Producer) -> Spread | None:
    """What spreads files where ``--dist loadfile`` is asked for; None leaves it to pytest-xdist."""
    return Spread(config, log) if config.getoption("dist") == "loadfile" else None


def missing(files: Sequence[str] = tuple(LONG_S)) -> list[str]:
    """Those of the long files that are no more."""
    return [file for file in files if not (ROOT / file).is_file()]
