"""What a validator remembers on disk: what it signed, for which registry, and whose keys it has seen.

A line is on disk before the signature that it stands for leaves this machine. Whatever happens between, a validator
never signs two batches of one number: what it reads at its next start is all that it may have signed.
"""

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from contracts.quorum import Domain
from contracts.transactions import Address
from controller.errors import InputError
from controller.validating.evidence import DoubtError, RegisteredKey, SealedRun

NAME = "signed.jsonl"
OWNER_ONLY = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedBatch:
    """A batch that was signed, or was about to be.

    Attributes
    ----------
    microgrid : resource name
    number : of the batch
    hash : of the batch, hex
    next_position : place of the header that comes after it
    last_header : hash of its last header, hex
    runs : what its headers sealed, in order
    signed : whether it was signed; False where it was taken over as it stood
    """

    microgrid: str
    number: int
    hash: str
    next_position: int
    last_header: str
    runs: tuple[SealedRun, ...] = ()
    signed: bool = True

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON spells them."""
        runs = [
            [run.window, run.run, run.trades_root.hex(), run.settlement_root.hex(), run.inputs_digest.hex()]
            for run in self.runs
        ]
        own = ("microgrid", "number", "hash", "next_position", "last_header", "signed")
        return {name: getattr(self, name) for name in own} | {"runs": runs}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "SignedBatch":
        """What ``to_json`` wrote."""
        runs = tuple(
            SealedRun(
                window=window,
                run=run,
                trades_root=bytes.fromhex(trades),
                settlement_root=bytes.fromhex(settlement),
                inputs_digest=bytes.fromhex(inputs),
            )
            for window, run, trades, settlement, inputs in values["runs"]
        )
        return cls(**values | {"runs": runs})


class SigningJournal:
    """The journal of one validator; nobody else may use its folder meanwhile.

    Parameters
    ----------
    folder : made where it is missing

    Raises
    ------
    InputError
        If it cannot be used, somebody else uses it, or a line in it is none.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._newest: dict[str, SignedBatch] = {}
        self._hashes: dict[tuple[str, int], str] = {}
        self._runs: dict[str, list[SealedRun]] = {}
        self._domain: Domain | None = None
        self._broken = False
        self._keys: dict[tuple[str, str], RegisteredKey] = {}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file: IO[bytes] = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT, OWNER_ONLY), "r+b")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _sync(folder)
            self._read()
        except BlockingIOError as err:
            raise InputError(f"--data {folder}: got a folder that another validator uses, wanted one's own") from err
        except OSError as err:
            raise InputError(f"--data {folder}: cannot be used: {err}") from err

    def close(self) -> None:
        """Let go of the folder."""
        self._file.close()

    @property
    def domain(self) -> Domain | None:
        """The registry that was signed for; None before the first."""
        return self._domain

    def newest(self, microgrid: str) -> SignedBatch | None:
        """The last batch of a microgrid that was signed; None before the first."""
        return self._newest.get(microgrid)

    def runs(self, window: str) -> tuple[SealedRun, ...]:
        """What was sealed of a window so far, in order, by batches that were signed or taken over."""
        return tuple(self._runs.get(window, ()))

    def pin(self, domain: Domain) -> None:
        """Sign for this registry from now on, and for no other."""
        if self._domain is None:
            self._append({"kind": "registry", "chain_id": domain.chain_id, "contract": domain.contract})
            self._domain = domain

    def know(self, microgrid: str, keys: Mapping[str, RegisteredKey]) -> None:
        """Remember keys; what an id stood for once it stands for ever.

        Raises
        ------
        DoubtError
            If one is another than it was.
        """
        for key in keys.values():
            place = microgrid, key.key_id
            known = self._keys.get(place)
            if known is None:
                self._append({"kind": "key", "microgrid": microgrid, **asdict(key), "public_key": key.public_key.hex()})
                self._keys[place] = key
            elif known != key:
                got = f"{key.public_key.hex()} of {key.holder} for {key.purpose}"
                wanted = f"{known.public_key.hex()} of {known.holder} for {known.purpose}, as before"
                raise DoubtError(f"key {key.key_id}: got {got}, wanted {wanted}")

    def sign(self, batch: SignedBatch) -> None:
        """Put on disk that a batch is about to be signed; the same batch again changes nothing.

        Raises
        ------
        DoubtError
            If another one of that number was signed, or might have been.
        """
        place = batch.microgrid, batch.number
        known = self._hashes.get(place)
        if known is not None and known != batch.hash:
            raise DoubtError(f"batch {batch.number}: got 0x{batch.hash}, signed 0x{known} as that number before")
        if known is None:
            self._append({"kind": "batch", **batch.to_json()})
            self._note(batch)

    def _note(self, batch: SignedBatch) -> None:
        self._hashes[batch.microgrid, batch.number] = batch.hash
        for run in batch.runs:
            self._runs.setdefault(run.window, []).append(run)
        newest = self._newest.get(batch.microgrid)
        if newest is None or newest.number < batch.number:
            self._newest[batch.microgrid] = batch

    def _append(self, values: dict[str, Any]) -> None:
        if self._broken:
            raise InputError(f"{self._path}: got a failed write before, wanted a start anew")
        self._broken = True  # until the line is on disk: half of one must not be gone on with
        try:
            self._file.write(json.dumps(values, sort_keys=True).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as err:
            raise InputError(f"{self._path}: cannot be written: {err.strerror or err}") from err
        self._broken = False

    def _read(self) -> None:
        text = self._file.read()
        whole = text.rfind(b"\n") + 1
        for number, line in enumerate(text[:whole].splitlines(), start=1):
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError) as err:
                raise InputError(f"{self._path}: line {number}: got {line[:80]!r}, wanted what was kept there") from err
        # A line that was cut off was never finished: what it stands for was not done.
        self._file.truncate(whole)
        self._file.seek(whole)

    def _take(self, values: dict[str, Any]) -> None:
        match values.pop("kind"):
            case "registry":
                self._domain = Domain(chain_id=values["chain_id"], contract=Address(values["contract"]))
            case "key":
                microgrid = values.pop("microgrid")
                key = RegisteredKey(**values | {"public_key": bytes.fromhex(values["public_key"])})
                self._keys[microgrid, key.key_id] = key
            case "batch":
                self._note(SignedBatch.from_json(values))
            case kind:
                raise ValueError(kind)


def _sync(folder: Path) -> None:
    """Let the file's name be on disk, too."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
