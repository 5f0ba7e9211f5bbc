"""That a machine's first run compiles kernels is noticed, and that a later one does not, too."""

import os
import subprocess
import sys
from pathlib import Path

from numba import njit

from controller.compiling import telling

ROOT = Path(__file__).parents[2]
ASK = """
import os
from pathlib import Path
from controller.compiling import never_compiled
from optimization.network_simplex import network_simplex
first = never_compiled()
folder = Path(network_simplex.stats.cache_path)
folder.mkdir(parents=True, exist_ok=True)
index = folder / "network_simplex.network_simplex-1.py3.nbi"
index.touch()
then = never_compiled()
os.utime(index, (0, 0))
print(first, then, never_compiled())
"""


def test_the_first_kernel_that_is_compiled_is_told_once() -> None:
    told: list[str] = []
    one, other = njit(lambda x: x + 1), njit(lambda x: x + 2)
    with telling(lambda: told.append("compiling")):
        assert one(1) == 2
        assert told == ["compiling"]
        assert other(1) == 3
    assert told == ["compiling"]


def test_a_kernel_that_is_known_is_not_told() -> None:
    told: list[str] = []
    known = njit(lambda x: x + 3)
    assert known(1) == 4
    with telling(lambda: told.append("compiling")):
        assert known(1) == 4
    assert told == []


def test_a_machine_without_kernels_or_with_older_ones_has_yet_to_compile(tmp_path: Path) -> None:
    path = os.pathsep.join((str(ROOT), str(ROOT / "proto")))
    environment = {**os.environ, "PYTHONPATH": path, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False", "True"]
