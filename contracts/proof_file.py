"""The proof of a single record: what a participant shows to prove its own trade and nobody else's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from contracts.chain_evidence import read_address
from contracts.errors import EvidenceError
from contracts.evidence import Evidence, StatedHeader, StatedRecord, read_proof
from contracts.hashing import to_hex
from contracts.leaves import Leaf
from contracts.operator_registry import Registry
from contracts.records import read_object
from contracts.runs import KINDS, run_of, runs_by_window
from contracts.strict_json import read_value, write_lines


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleProof:
    """A record, its path to its header's root, and the headers from there to the root.

    Attributes
    ----------
    stated : StatedRecord
        The record and its path.
    headers : tuple of StatedHeader
        The record's own header first, then those that follow it, up to the root.
    registry : Registry
        The contract that holds the headers' hashes.
    """

    stated: StatedRecord[Leaf]
    headers: tuple[StatedHeader, ...]
    registry: Registry

    def to_json(self) -> dict[str, object]:
        """The fields as JSON spells them."""
        return {
            "kind": self.stated.record.kind_name,
            "record": self.stated.record.to_json(),
            "proof": [to_hex(sibling) for sibling in self.stated.proof],
            "headers": [{**stated.header.to_json(), "hash": to_hex(stated.hash)} for stated in self.headers],
            "registry": {
                "chain_id": self.registry.chain_id,
                "address": self.registry.address,
                "operator": self.registry.operator,
            },
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        """The proof that `to_json` spells as `value`; an `EvidenceError` names the field that is wrong."""
        fields = read_object(value, ("kind", "record", "proof", "headers", "registry"))
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
            registry=_read_registry(fields["registry"]),
        )


def _read_registry(value: object) -> Registry:
    fields = read_object(value, ("chain_id", "address", "operator"))
    chain_id = fields["chain_id"]
    if type(chain_id) is not int or chain_id < 1:
        raise EvidenceError("a positive integer", got=chain_id, field="chain_id")
    return Registry(
        chain_id=chain_id,
        address=read_address(fields["address"], "address"),
        operator=read_address(fields["operator"], "operator"),
    )


def prove(evidence: Evidence, registry: Registry, kind: type[Leaf], *, window: str, index: int) -> SingleProof:
    """The proof of one record of a directory.

    Raises
    ------
    EvidenceError
        If the directory has no such record, or no header for it.
    """
    for stated in evidence.of_kind(kind):
        if (stated.record.window, stated.record.index) == (window, index):
            break
    else:
        raise EvidenceError(f"a {kind.kind_name} of the evidence", got=f"{index} of window {window}")
    run = run_of(runs_by_window(stated.header for stated in evidence.headers).get(window, ()), stated.record)
    for place, header in enumerate(evidence.headers):
        if run is not None and header.header == run.header:
            return SingleProof(stated=stated, headers=evidence.headers[place:], registry=registry)
    raise EvidenceError("a window that has a header", got=window)


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
