"""A small community's books, settled and anchored on an embedded chain as the controller does it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import pytest

from contracts.anchoring import Anchorer, AnchorRow
from contracts.books import WindowBooks
from contracts.chain import EmbeddedChain, Genesis
from contracts.chain_evidence import ChainEvidence, ChainTransaction, Purpose
from contracts.evidence import export_directory
from contracts.header import GENESIS_PREVIOUS, WindowHeader
from contracts.leaves import PostingLeaf, ReadingLeaf, TradeLeaf
from contracts.operator_registry import Deployment, deploy
from contracts.outbox import AnchorState
from contracts.transactions import LocalSigner

START = 1476849600
MICROGRID = "microgrids/rural1"
WINDOWS = 3


class MemoryOutbox:
    """An outbox that a crash of the worker does not reach."""

    def __init__(self, rows: list[AnchorRow]) -> None:
        self.rows = rows

    def unfinished(self) -> list[AnchorRow]:
        return [row for row in self.rows if row.state in {AnchorState.PENDING, AnchorState.SENT}]

    def record_signed(self, row: AnchorRow, raw_transaction: bytes, transaction_hash: bytes) -> None:
        self._replace(
            row,
            replace(
                row,
                state=AnchorState.SENT,
                raw_transaction=raw_transaction,
                transaction_hash=transaction_hash,
            ),
        )

    def record_included(self, row: AnchorRow, gas_used: int | None) -> None:
        current = self.rows[self._place(row)]
        self._replace(row, replace(current, state=AnchorState.INCLUDED, gas_used=gas_used))

    def _replace(self, row: AnchorRow, new: AnchorRow) -> None:
        self.rows[self._place(row)] = new

    def _place(self, row: AnchorRow) -> int:
        return next(n for n, mine in enumerate(self.rows) if (mine.window, mine.run) == (row.window, row.run))


@dataclass(frozen=True, kw_only=True)
class Settled:
    """Books and their evidence."""

    books: tuple[WindowBooks, ...]
    headers: tuple[WindowHeader, ...]
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


def make_rows(headers: tuple[WindowHeader, ...]) -> list[AnchorRow]:
    return [
        AnchorRow(window=header.window, run=header.run, key=header.anchor_key, header_hash=header.hash)
        for header in headers
    ]


def settle() -> Settled:
    signer = LocalSigner(b"\x01" * 32)
    genesis = Genesis(chain_id=31338, timestamp=START, gas_limit=30_000_000, balances={signer.address: 10**18})
    chain = EmbeddedChain(genesis)
    deployment = deploy(chain, signer)
    books = tuple(make_books(number) for number in range(WINDOWS))
    headers = make_headers(books)
    outbox = MemoryOutbox(make_rows(headers))
    Anchorer(chain, deployment.registry, signer, outbox).run_once()
    anchors = [
        ChainTransaction(purpose=Purpose.ANCHOR, window=row.window, raw=row.raw_transaction or b"")
        for row in outbox.rows
    ]
    deployed = ChainTransaction(purpose=Purpose.DEPLOY, window=None, raw=deployment.raw_transaction)
    return Settled(
        books=books,
        headers=headers,
        chain=ChainEvidence(
            genesis=genesis,
            contract=deployment.registry.address,
            code_hash=deployment.registry.code_hash,
            transactions=(deployed, *anchors),
        ),
        deployment=deployment,
    )


def export(settled: Settled, directory: Path) -> None:
    export_directory(
        directory,
        headers=settled.headers,
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


@pytest.fixture(scope="session")
def settled() -> Settled:
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


@pytest.fixture
def signer() -> LocalSigner:
    """The operator's key."""
    return LocalSigner(b"\x01" * 32)


@pytest.fixture
def stranger() -> LocalSigner:
    """Another funded key."""
    return LocalSigner(b"\x02" * 32)


@pytest.fixture
def genesis(signer: LocalSigner, stranger: LocalSigner) -> Genesis:
    """A chain on which both are funded."""
    balances = {signer.address: 10**18, stranger.address: 10**18}
    return Genesis(chain_id=31337, timestamp=START, gas_limit=30_000_000, balances=balances)


@pytest.fixture
def chain(genesis: Genesis) -> EmbeddedChain:
    """A fresh chain."""
    return EmbeddedChain(genesis)


@pytest.fixture
def deployment(chain: EmbeddedChain, signer: LocalSigner) -> Deployment:
    """The registry on the fresh chain."""
    return deploy(chain, signer)


@pytest.fixture
def outbox(settled: Settled) -> MemoryOutbox:
    """One pending row for each settled window."""
    return MemoryOutbox(make_rows(settled.headers))
