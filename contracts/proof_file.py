"""The proof of a single record: what a participant shows to prove its own trade and nobody else's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from contracts.batch import batch_hash
from contracts.batch_checks import rebuilt
from contracts.batch_evidence import signatures_from_json, signatures_to_json
from contracts.chain_evidence import Purpose, read_address, read_hash, read_number
from contracts.errors import EvidenceError
from contracts.evidence import Evidence, StatedHeader, StatedRecord, read_proof
from contracts.hashing import keccak, to_hex
from contracts.leaves import Leaf
from contracts.records import read_object
from contracts.registry import Registry
from contracts.runs import KINDS, run_of, runs_by_window
from contracts.strict_json import read_value, write_lines
from contracts.transactions import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlace:
    """Where a header stands, and what validators signed of it.

    Attributes
    ----------
    number : int
        Of the batch.
    previous, windows_root : bytes
        Hash of the batch before and root of the batch's windows, 32 bytes each.
    position : int
        Place of the header among all of the microgrid's.
    path : tuple of bytes
        Siblings on the way from the header's leaf up to `windows_root`.
    signatures : mapping from address to bytes
        By validator.
    transaction : bytes or None
        Hash of the transaction that anchored the batch; None where somebody else's did, or none has yet.
    """

    number: int
    previous: bytes
    windows_root: bytes
    position: int
    path: tuple[bytes, ...]
    signatures: Mapping[Address, bytes]
    transaction: bytes | None

    def hash_in(self, microgrid: str) -> bytes:
        """The batch's hash among those of a microgrid."""
        return batch_hash(microgrid, self.number, self.previous, self.windows_root)

    def to_json(self) -> dict[str, object]:
        """The fields as JSON spells them."""
        return {
            "number": self.number,
            "previous": to_hex(self.previous),
            "windows_root": to_hex(self.windows_root),
            "position": self.position,
            "path": [to_hex(sibling) for sibling in self.path],
            "signatures": signatures_to_json(self.signatures),
            "transaction": None if self.transaction is None else to_hex(self.transaction),
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        """The place that `to_json` spells as `value`; an `EvidenceError` names the field that is wrong."""
        names = ("number", "previous", "windows_root", "position", "path", "signatures", "transaction")
        fields = read_object(value, names)
        transaction = fields["transaction"]
        return cls(
            number=read_number(fields["number"], "number"),
            previous=read_hash(fields["previous"], "previous"),
            windows_root=read_hash(fields["windows_root"], "windows_root"),
            position=read_number(fields["position"], "position"),
            path=read_proof(fields["path"], "path"),
            signatures=signatures_from_json(fields["signatures"]),
            transaction=None if transaction is None else read_hash(transaction, "transaction"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleProof:
    """A record, its path to its header's root, and the header's path to what validators signed.

    Attributes
    ----------
    stated : StatedRecord
        The record and its path.
    headers : tuple of StatedHeader
        The record's own header first; where a root shall be enough, those that follow it as well, up to the root.
    batch : BatchPlace
        Where the record's own header stands.
    registry : Registry
        The contract that holds the batches' hashes.
    """

    stated: StatedRecord[Leaf]
    headers: tuple[StatedHeader, ...]
    batch: BatchPlace
    registry: Registry

    @property
    def microgrid(self) -> str:
        """Whose window it is: what the header says."""
        return self.headers[0].header.microgrid

    def to_json(self) -> dict[str, object]:
        """The fields as JSON spells them."""
        return {
            "kind": self.stated.record.kind_name,
            "record": self.stated.record.to_json(),
            "proof": [to_hex(sibling) for sibling in self.stated.proof],
            "headers": [{**stated.header.to_json(), "hash": to_hex(stated.hash)} for stated in self.headers],
            "batch": self.batch.to_json(),
            "registry": {"chain_id": self.registry.chain_id, "address": self.registry.address},
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        """The proof that `to_json` spells as `value`; an `EvidenceError` names the field that is wrong."""
        fields = read_object(value, ("kind", "record", "proof", "headers", "batch", "registry"))
        kinds = {kind.kind_name: kind for kind in KINDS}
        kind = kinds.get(fields["kind"]) if isinstance(fields["kind"], str) else None
        if kind is None:
            raise EvidenceError(f"one of {', '.join(kinds)}", got=fields["kind"], field="kind")
        headers = fields["headers"]
        if not isinstance(headers, list) or not headers:
            raise EvidenceError("a JSON array of at least one header", got=headers, field="headers")
        record = kind.from_json(fields["record"])
        return cls(
            stated=StatedRecord(record=record, leaf=record.hash, proof=read_proof(fields["proof"]), place="record"),
            headers=tuple(
                StatedHeader.from_json(header, f"header {number}") for number, header in enumerate(headers, start=1)
            ),
            batch=BatchPlace.from_json(fields["batch"]),
            registry=_read_registry(fields["registry"]),
        )


def _read_registry(value: object) -> Registry:
    fields = read_object(value, ("chain_id", "address"))
    chain_id = fields["chain_id"]
    if type(chain_id) is not int or not 1 <= chain_id < 2**256:
        raise EvidenceError("a positive integer of 256 bits", got=chain_id, field="chain_id")
    return Registry(chain_id=chain_id, address=read_address(fields["address"], "address"))


def prove(evidence: Evidence, registry: Registry, kind: type[Leaf], *, window: str, index: int) -> SingleProof:
    """The proof of one record of a directory.

    Raises
    ------
    EvidenceError
        If the directory has no such record, no header for it, or no batch with that.
    """
    for stated in evidence.of_kind(kind):
        if (stated.record.window, stated.record.index) == (window, index):
            break
    else:
        raise EvidenceError(f"a {kind.kind_name} of the evidence", got=f"{index} of window {window}")
    run = run_of(runs_by_window(stated.header for stated in evidence.headers).get(window, ()), stated.record)
    for place, header in enumerate(evidence.headers):
        if run is not None and header.header == run.header:
            return SingleProof(
                stated=stated, headers=evidence.headers[place:], batch=_place(evidence, place), registry=registry
            )
    raise EvidenceError("a window that has a header", got=window)


def _place(evidence: Evidence, position: int) -> BatchPlace:
    for stated, batch in zip(evidence.batches, rebuilt(evidence.batches, evidence.headers), strict=True):
        if batch is not None and batch.first <= position < batch.first + len(batch.headers):
            sent = [
                keccak(entry.raw)
                for entry in evidence.chain.transactions
                if entry.purpose is Purpose.ANCHOR and entry.number == batch.number
            ]
            return BatchPlace(
                number=batch.number,
                previous=batch.previous,
                windows_root=batch.windows_root,
                position=position,
                path=batch.proof(position),
                signatures=stated.signatures,
                transaction=sent[0] if sent else None,
            )
    raise EvidenceError("a header that is in a batch", got=evidence.headers[position].header.window)


def write_proof(path: Path, proof: SingleProof) -> None:
    """Write a proof file."""
    write_lines(path, [proof.to_json()])


def read_proof_file(path: Path) -> SingleProof:
    """What a proof file says, well-formed but not checked.

    Raises
    ------
    EvidenceError
        If the file cannot be read; the error names the field that is wrong.
    """
    try:
        return SingleProof.from_json(read_value(path))
    except EvidenceError as err:
        raise err.at(path.name) from err
