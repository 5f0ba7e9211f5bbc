"""``gridpact demo``: a real community's day, end to end, on embedded defaults."""

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from contracts.anchoring import Anchorer
from contracts.chain import EmbeddedChain, Genesis
from contracts.hashing import keccak
from contracts.registry import Deployment, deploy
from contracts.transactions import LocalSigner
from contracts.verify import verify_directory
from controller.app import Service, Settings
from controller.clock import Clock, VirtualClock
from controller.demo.catalogue import load_catalogue
from controller.demo.check import check_day
from controller.demo.clients import Dialer
from controller.demo.conductor import SET_UP_LEAD_S, Conductor, Diary, Progress
from controller.demo.day import DayResult
from controller.demo.grid import DATA, load_grid
from controller.demo.outcome import read_outcome
from controller.demo.report import write_report
from controller.demo.results import community_json, export_evidence, schedule_json, write_inputs
from controller.demo.scenario import Scenario, Tariff, build_scenario
from controller.demo.summary import day_json
from controller.demo.uplift_check import recount_uplifts
from controller.demo.validators import DemoValidators, quorum_of
from controller.demo.world import World, clock_at
from controller.errors import ControllerError, InputError
from controller.pki import Authority
from controller.registry_identity import RegistryIdentity
from controller.sealing import seeded_salts
from controller.solving import DecompositionSolver
from controller.store.database import Database
from controller.store.outbox import StoredOutbox

CHAIN_ID = 61_337
CHAIN_GAS_LIMIT = 30_000_000
OPERATOR_FUNDS_WEI = 9 * 10**15
"""Below 2^53, so that readers of JSON in any language have it exactly."""
LEASE_S = 1200

DECLARED_GAP = 0.005
"""Relative gap at which the search for a window's schedule may end."""
"""Twenty minutes: in virtual time, drivers come back every quarter of an hour."""
SILENCE_S = 172_800
"""Two days: a virtual day's hours pass between two words of a driver."""
MARK = "day.json"
OURS = {
    *(
        MARK,
        "batches.jsonl",
        "chain.json",
        "community.json",
        "headers.jsonl",
        "postings.jsonl",
        "readings.jsonl",
        "report.html",
    ),
    *("inputs.jsonl", "run", "schedule.json", "trades.jsonl"),
}
"""What a folder of results holds; one that holds anything else is not replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a person asks the demonstration for.

    Attributes
    ----------
    grid : name of a shipped grid, or path of an extract
    day : ISO date; None for the extract's default
    out : folder for the results; replaced where it holds results, made where it is missing
    tariff : prices
    seed : of everything drawn
    catalogue : appliances; None for the shipped ones
    listen : HOST:PORT of the service; port 0 lets the system choose
    """

    grid: str
    day: str | None
    out: Path
    tariff: Tariff
    seed: int
    catalogue: Path | None
    listen: str


def run_demo(order: Order, progress: Progress) -> DayResult:
    """Run the day, write its files, and return its result with all checks.

    Raises
    ------
    InputError
        If a file or an option is wrong, or the folder cannot be written; nothing was left behind.
    ControllerError
        If the service could not do its work.
    """
    grid = load_grid(order.grid, order.day)
    catalogue = load_catalogue(order.catalogue or DATA / "appliances.json")
    scenario = build_scenario(grid, catalogue, order.tariff, seed=order.seed)
    with _staged(order) as staging:
        started = perf_counter()
        result = asyncio.run(_run(scenario, order, staging, progress))
        _write(staging / "run" / "timings.json", {"seconds": round(perf_counter() - started, 2)}, merge=True)
    return result


async def _run(scenario: Scenario, order: Order, staging: Path, progress: Progress) -> DayResult:
    clock = VirtualClock(scenario.microgrid.start - SET_UP_LEAD_S)
    database = Database(f"sqlite:///{staging / 'run' / 'gridpact.sqlite'}")
    solver = DecompositionSolver(gap=DECLARED_GAP)
    secret = f"gridpact demo {order.seed}".encode()
    genesis, anchorer, deployment = await asyncio.to_thread(_chain, scenario, secret, database, clock)
    registry, quorum = deployment.registry, quorum_of(secret)
    identity = RegistryIdentity(domain=registry.domain, genesis=None, quorum=quorum)
    authority = Authority()
    try:
        service = Service(
            Settings(
                listen=order.listen,
                certificate=authority.server(),
                authority=authority.certificate,
                lease_s=LEASE_S,
                silence_s=SILENCE_S,
                # Time leaps from quarter-hour to quarter-hour here: no live power could ever be fresh.
                clamp=False,
            ),
            database=database,
            clock=clock,
            solver=solver,
            salts=seeded_salts(secret),
            anchorer=anchorer,
            registry=lambda: identity,
        )
        try:
            port = await service.start()
        except ControllerError as err:
            raise InputError(f"--listen: {err}") from err
        dialer = Dialer(
            authority=authority,
            target=f"{order.listen.rpartition(':')[0]}:{port}",
            grid=scenario.microgrid.id,
            seed=order.seed,
        )
        validators = DemoValidators(dialer, scenario.microgrid.name, secret, staging / "run")
        conductor = Conductor(
            scenario=scenario,
            world=World(scenario, clock_at(clock.now())),
            service=service,
            clock=clock,
            dialer=dialer,
            validators=validators,
            progress=progress,
        )
        try:
            diary = await conductor.run()
        finally:
            validators.close()
            await conductor.close()
            await service.stop()
        result = await asyncio.to_thread(
            _write_results, scenario, database, staging, diary, genesis, deployment, progress
        )
    finally:
        solver.close()
        database.close()
    result["checks"] = await asyncio.to_thread(_check, staging, result["summary"]["root"])
    _write(staging / MARK, result)
    write_report(result, staging / "report.html")
    return result


def _chain(scenario: Scenario, secret: bytes, database: Database, clock: Clock) -> tuple[Genesis, Anchorer, Deployment]:
    """An in-process chain with the registry on it."""
    signer = LocalSigner(keccak(secret + b" chain operator"))
    genesis = Genesis(
        chain_id=CHAIN_ID,
        timestamp=scenario.microgrid.start,
        gas_limit=CHAIN_GAS_LIMIT,
        balances={signer.address: OPERATOR_FUNDS_WEI},
    )
    chain = EmbeddedChain(genesis)
    genesis_hash = chain.head().hash
    deployment = deploy(chain, signer, quorum_of(secret))
    worker = Anchorer(
        chain,
        deployment.registry,
        genesis_hash=genesis_hash,
        signer=signer,
        outbox=StoredOutbox(database),
        clock=clock.now,
        holder="demo",
    )
    return genesis, worker, deployment


def _write_results(
    scenario: Scenario,
    database: Database,
    staging: Path,
    diary: Diary,
    genesis: Genesis,
    deployment: Deployment,
    progress: Progress,
) -> DayResult:
    progress.step(96, 96, "writing results")
    outcome = database.run(read_outcome, scenario)
    database.run(export_evidence, staging, scenario, genesis, deployment)
    database.run(write_inputs, staging / "inputs.jsonl", scenario)
    _write(staging / "community.json", community_json(scenario, outcome))
    _write(staging / "schedule.json", schedule_json(scenario, outcome, diary))
    _write(
        staging / "run" / "timings.json",
        {"clearing_seconds": {window: round(seconds, 2) for window, seconds in diary.seconds.items()}},
    )
    return day_json(scenario, outcome, diary)


def _check(staging: Path, root: str) -> list[Any]:
    """The independent checks, and the verification of the evidence against the root."""
    checks = [*check_day(staging), recount_uplifts(staging)]
    report = verify_directory(staging, root=bytes.fromhex(root[2:]))
    checks.append(
        {
            "name": "every trade, reading and posting is proven up to the root, and the chain holds it",
            "passed": report.ok,
            "detail": "; ".join(report.failures[:3]) or f"{len(report.checks)} checks",
        }
    )
    return checks


@contextmanager
def _staged(order: Order) -> Iterator[Path]:
    """A folder in which everything is made, and whose files take their place at the end, or vanish without a trace."""
    out = order.out
    made: list[Path] = []
    try:
        out = out.resolve()
        _check_free(out)
        made = [parent for parent in out.parents if not parent.exists()]
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.exists() and not os.access(out, os.W_OK):
            raise PermissionError("not writable")
        staging = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except (OSError, RuntimeError) as err:
        _remove_empty(made)
        raise InputError(f"--out {out}: cannot be written: {err}") from err
    try:
        staging.chmod(0o755)
        (staging / "run").mkdir()
        yield staging
        _replace(staging, out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        _remove_empty(made)


def _check_free(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: got a file, wanted a folder")
    found = {path.name for path in out.iterdir()} if out.exists() else set()
    strange = sorted(found - OURS) or sorted(found if found and not _is_ours(out) else ())
    if strange:
        raise InputError(f"--out {out}: got a folder with other files in it, such as {strange[0]!r}, wanted a new one")


def _is_ours(out: Path) -> bool:
    """Whether a folder holds the results of an earlier day."""
    try:
        return '"format": "gridpact.day.v1"' in (out / MARK).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _replace(staging: Path, out: Path) -> None:
    """Let the finished files take their place, instead of earlier ones; a folder that exists stays the same one."""
    if not out.exists():
        staging.rename(out)
        return
    earlier = staging / ".earlier"
    earlier.mkdir()
    for old in list(out.iterdir()):
        old.rename(earlier / old.name)
    for new in list(staging.iterdir()):
        if new != earlier:
            new.rename(out / new.name)


def _write(path: Path, value: Mapping[str, Any], *, merge: bool = False) -> None:
    """Canonical JSON; with ``merge`` beside what is there."""
    known = json.loads(path.read_text("utf-8")) if merge and path.exists() else {}
    text = json.dumps({**known, **value}, sort_keys=True, indent=1)
    path.write_text(text + "\n", encoding="utf-8")
