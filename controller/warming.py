"""Compiles the kernels that every plan needs, once in an environment, before a window has to wait for it."""

import logging
from importlib.util import find_spec
from pathlib import Path

from controller.workers import WorkerPool
from optimization.errors import OptimizationError

log = logging.getLogger(__name__)

KERNEL = "optimization.network_simplex"
"""A module with a kernel that every plan of a community needs."""


def kernels_missing(module: str = KERNEL) -> bool:
    """Whether no compiled kernel lies beside the module, or its code is newer. Nothing is loaded for that.

    An environment that keeps compiled kernels elsewhere counts as one without: looking for them then costs a search.
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return True
    code = Path(spec.origin)
    compiled = (code.parent / "__pycache__").glob(f"{code.stem}.*.nbi")
    return not any(index.stat().st_mtime >= code.stat().st_mtime for index in compiled)


async def warm_up() -> None:
    """Plan a small street in a process of its own, which compiles what it needs and keeps it."""
    log.info("compiling kernels: searches are slow until that is done, in some minutes at most")
    pool = WorkerPool(workers=1)
    try:
        await pool.run(plan_a_street)
        log.info("kernels are compiled")
    except OptimizationError as err:
        log.warning("kernels are compiled when they are first needed: %s", err)
    finally:
        pool.close()


def plan_a_street() -> float:
    """The gap of a plan of two homes, told for each member too, as for a window's clearing."""
    from controller.plan.sample.street import sample_community
    from optimization.clearing import Infeasible
    from optimization.regret import standing
    from optimization.scheduling import schedule

    community = sample_community(2, 1, 24)
    clearing = schedule(community)
    if isinstance(clearing, Infeasible):
        return float("inf")
    standing(community, clearing.device_kw, 4)
    return (clearing.objective - clearing.lower_bound) / max(abs(clearing.objective), 1e-9)
