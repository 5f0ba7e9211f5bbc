"""A small community's books, settled and anchored on an embedded chain as the controller does it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest
from eth_keys.backends.native import main as native

from contracts.batch import GENESIS_BATCH, Batch
from contracts.batch_evidence import SignedBatch
from contracts.books import WindowBooks
from contracts.chain import EmbeddedChain, Genesis
from contracts.chain_evidence import ChainEvidence, ChainTransaction, Purpose
from contracts.evidence import export_directory
from contracts.header import GENESIS_PREVIOUS, WindowHeader
from contracts.leaves import PostingLeaf, ReadingLeaf, TradeLeaf
from contracts.registry import Deployment, deploy
from contracts.transactions import LocalSigner
from tests.contracts.memory_outbox import MemoryOutbox, make_worker, restored
from tests.contracts.validators import keys, quorum_of

START = 1476849600
MICROGRID = "microgrids/rural1"
WINDOWS = 3


@dataclass(frozen=True, kw_only=True)
class Settled:
    """Books and their evidence."""

    books: tuple[WindowBooks, ...]
    headers: tuple[WindowHeader, ...]
    batches: tuple[SignedBatch, ...]
    chain: ChainEvidence
    deployment: Deployment

    @property
    def root(self) -> bytes:
        return self.headers[-1].hash


def salt(*names: object) -> bytes:
    return sha256(repr(names).encode()).digest()


def make_books(number: int) -> WindowBooks:
    window = window_name(number)
    start = START + 900 * number
    trades = (("anna", "bert", 125, 180_000), ("anna", "carl", 75, 220_000), ("grid", "bert", 31, 300_001))
    amounts = (22_500, -22_500, 16_500, -16_500)
    return WindowBooks(
        trades=tuple(
            TradeLeaf(
                window=window,
                index=index,
                seller=seller,
                buyer=buyer,
                mtu_start=start,
                energy_wh=energy_wh + number,
                price_micro_per_kwh=price,
                salt=salt("trade", number, index),
            )
            for index, (seller, buyer, energy_wh, price) in enumerate(trades)
        ),
        readings=tuple(
            ReadingLeaf(
                window=window,
                index=index,
                meter=f"meters/{peer}",
                instant=start + 900,
                import_wh=1000 * index + number,
                export_wh=10 * number,
                quality="measured",
                salt=salt("reading", number, index),
            )
            for index, peer in enumerate(("anna", "bert", "carl"))
        ),
        postings=tuple(
            PostingLeaf(
                window=window,
                index=index,
                account=("anna", "bert", "anna", "carl")[index],
                kind="energy",
                reference=f"trade {index // 2}",
                amount_micro=amount,
                salt=salt("posting", number, index),
            )
            for index, amount in enumerate(amounts)
        ),
    )


def window_name(number: int) -> str:
    return f"{MICROGRID}/windows/2016101{number}T040000Z"


def make_headers(books: tuple[WindowBooks, ...]) -> tuple[WindowHeader, ...]:
    headers: list[WindowHeader] = []
    for number, window in enumerate(books):
        headers.append(
            window.header(
                microgrid=MICROGRID,
                window=window_name(number),
                window_start=START + 900 * number,
                window_end=START + 900 * (number + 1),
                run=0,
                previous=headers[-1].hash if headers else GENESIS_PREVIOUS,
                inputs_digest=salt("inputs", number),
            )
        )
    return tuple(headers)


def make_batches(headers: tuple[WindowHeader, ...]) -> tuple[Batch, ...]:
    """One batch of all but the last header, and one of that."""
    hashes = tuple(header.hash for header in headers)
    cut = len(hashes) - 1
    one = Batch(microgrid=MICROGRID, number=0, previous=GENESIS_BATCH, first=0, headers=hashes[:cut])
    return one, Batch(microgrid=MICROGRID, number=1, previous=one.hash, first=cut, headers=hashes[cut:])


def settle() -> Settled:
    """Three windows in two batches, between which the validators changed."""
    signer = LocalSigner(b"\x01" * 32)
    genesis = Genesis(chain_id=31338, timestamp=START, gas_limit=30_000_000, balances={signer.address: 10**18})
    chain = EmbeddedChain(genesis)
    deployment = deploy(chain, signer, quorum_of())
    books = tuple(make_books(number) for number in range(WINDOWS))
    headers = make_headers(books)
    one, other = make_batches(headers)
    outbox = MemoryOutbox()
    for subject, validators in ((one, range(5)), (quorum_of(range(3, 8), epoch=1), range(5)), (other, range(3, 8))):
        outbox.add(subject)
        outbox.sign(deployment.registry.domain, keys(validators))
        make_worker(chain, deployment.registry, signer, outbox).run_once()
    rows = list(outbox.rows.values())
    purposes = (Purpose.ANCHOR, 0), (Purpose.ROTATE, 1), (Purpose.ANCHOR, 1)
    sent = [
        ChainTransaction(purpose=purpose, number=number, raw=row.attempts[0].raw)
        for (purpose, number), row in zip(purposes, rows, strict=True)
    ]
    deployed = ChainTransaction(purpose=Purpose.DEPLOY, number=None, raw=deployment.raw_transaction)
    signed = [(one, rows[0], range(5)), (other, rows[2], range(3, 8))]
    return Settled(
        books=books,
        headers=headers,
        batches=tuple(
            SignedBatch(batch=batch, signatures={address: row.signatures[address] for address in keys(validators)})
            for batch, row, validators in signed
        ),
        chain=ChainEvidence(
            genesis=genesis,
            contract=deployment.registry.address,
            code_hash=deployment.registry.code_hash,
            transactions=(deployed, *sent),
        ),
        deployment=deployment,
    )


def export(settled: Settled, directory: Path) -> None:
    export_directory(
        directory,
        headers=settled.headers,
        batches=settled.batches,
        trades=[leaf for books in settled.books for leaf in books.trades],
        readings=[leaf for books in settled.books for leaf in books.readings],
        postings=[leaf for books in settled.books for leaf in books.postings],
        chain=settled.chain,
    )


def write_database(settled: Settled, directory: Path) -> None:
    path = directory / "run" / "gridpact.sqlite"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as database, database:
        for kind in ("trades", "readings", "postings"):
            leaves = [leaf for books in settled.books for leaf in getattr(books, kind)]
            names = ["ix" if name == "index" else name for name in leaves[0].columns() if name != "salt"]
            database.execute(f"CREATE TABLE {kind} (id INTEGER PRIMARY KEY, note TEXT, {', '.join(names)})")
            marks = ", ".join("?" * len(names))
            for leaf in leaves:
                row = [getattr(leaf, "index" if name == "ix" else name) for name in names]
                database.execute(f"INSERT INTO {kind} ({', '.join(names)}) VALUES ({marks})", row)


class JsonLines:
    """A JSON Lines file as a list that can be altered."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def write(self, values: list[dict[str, object]]) -> None:
        self.path.write_text("".join(json.dumps(value) + "\n" for value in values))


@pytest.fixture(scope="session", autouse=True)
def _recovered_once() -> Iterator[None]:
    """Lets who signed what be computed once for equal bytes: the curve in Python is most of many tests' time."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ecdsa_raw_recover", "ecdsa_raw_sign"):
            patch.setattr(native, name, cache(getattr(native, name)))
        yield


@pytest.fixture(scope="session")
def settled(_recovered_once: None) -> Settled:
    """Three windows, anchored."""
    return settle()


@pytest.fixture(scope="session")
def _exported(settled: Settled, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("exported") / "evidence"
    export(settled, directory)
    write_database(settled, directory)
    return directory


@pytest.fixture
def directory(_exported: Path, tmp_path: Path) -> Path:
    """A fresh copy of the exported evidence, database included."""
    return Path(shutil.copytree(_exported, tmp_path / "evidence"))


@pytest.fixture
def lines(directory: Path) -> Callable[[str], JsonLines]:
    """Opens one of the directory's JSON Lines files."""
    return lambda file: JsonLines(directory / file)


@pytest.fixture
def export_to(settled: Settled) -> Callable[[Path], None]:
    """Exports the settled windows once more."""
    return lambda path: export(settled, path)


@pytest.fixture(scope="session")
def signer() -> LocalSigner:
    """Who pays for transactions."""
    return LocalSigner(b"\x01" * 32)


@pytest.fixture(scope="session")
def stranger() -> LocalSigner:
    """Another funded key."""
    return LocalSigner(b"\x02" * 32)


@pytest.fixture(scope="session")
def genesis(signer: LocalSigner, stranger: LocalSigner) -> Genesis:
    """A chain on which both are funded."""
    balances = {signer.address: 10**18, stranger.address: 10**18}
    return Genesis(chain_id=31337, timestamp=START, gas_limit=30_000_000, balances=balances)


@pytest.fixture(scope="session")
def _deployed(genesis: Genesis, signer: LocalSigner) -> tuple[EmbeddedChain, Deployment]:
    chain = EmbeddedChain(genesis)
    return chain, deploy(chain, signer, quorum_of())


@pytest.fixture
def chain(_deployed: tuple[EmbeddedChain, Deployment]) -> Iterator[EmbeddedChain]:
    """A chain with a registry, which forgets afterwards what a test did: to deploy one takes longer than most tests."""
    chain, _ = _deployed
    with restored(chain):
        yield chain


@pytest.fixture
def deployment(_deployed: tuple[EmbeddedChain, Deployment]) -> Deployment:
    """The registry on the chain, with five validators of whom three must sign."""
    return _deployed[1]
