"""Checks evidence against a root, or a chain, that the verifier got elsewhere.

    python -m contracts.verify PATH --root HASH
    python -m contracts.verify PATH --rpc URL

PATH is an exported directory or the file of a single proof. Exit codes: 0 everything is right, 1 a check
failed, 2 the input cannot be read or the chain does not answer.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from contracts.batch_checks import check_batches, rebuilt
from contracts.chain_checks import check_anchored, check_replay, read_transactions
from contracts.chain_evidence import read_address
from contracts.checks import (
    check_books,
    check_complete,
    check_first_header,
    check_headers,
    check_leaves,
    check_proofs,
    check_root,
)
from contracts.errors import ContractsError, EvidenceError
from contracts.evidence import read_directory
from contracts.hashing import parse_hash
from contracts.proof_checks import check_batch, check_index, check_on_chain, check_proof_root
from contracts.proof_file import read_proof_file
from contracts.report import Check, Report
from contracts.rpc_chain import RpcChain
from contracts.sqlite_books import DATABASE, check_database
from contracts.transactions import Address


def verify_path(
    path: Path, *, root: bytes | None = None, rpc: str | None = None, contract: Address | None = None
) -> Report:
    """What checking a directory, or the file of a single proof, found.

    Parameters
    ----------
    path : Path
        The directory, or the file.
    root : bytes, optional
        Hash of the last header, 32 bytes, from a source that the verifier trusts; for a single proof, that of its batch
        does as well.
    rpc : str, optional
        URL of a chain that the verifier trusts. At least one of the two is needed.
    contract : Address, optional
        The registry that the verifier trusts. Anybody can deploy a registry of their own: who checks with
        `rpc` alone compares the address, or lets this do it.

    Raises
    ------
    EvidenceError
        If the evidence cannot be read, or neither root nor chain is given.
    AnchorError
        If the chain does not answer.
    """
    if not path.exists():
        raise EvidenceError("exported evidence: a directory, or the file of a single proof", got="nothing of that name")
    if path.is_dir():
        return verify_directory(path, root=root, rpc=rpc, contract=contract)
    return verify_proof_file(path, root=root, rpc=rpc, contract=contract)


def verify_directory(
    path: Path, *, root: bytes | None = None, rpc: str | None = None, contract: Address | None = None
) -> Report:
    """What checking a directory found; arguments and errors as for `verify_path`.

    Without `rpc` the directory's own signed transactions are replayed; with it the chain there must hold
    the hashes. Beside ``run/gridpact.sqlite`` the database is compared as well.
    """
    _check_trust(root, rpc)
    evidence = read_directory(path)
    headers, records = evidence.headers, evidence.records()
    checks = [
        check_leaves(records),
        check_proofs(records, headers),
        check_complete(evidence),
        check_books(evidence),
        check_headers(headers),
        check_first_header(headers),
        check_batches(evidence.batches, headers),
    ]
    if root is not None:
        checks.append(check_root(headers, root))
    batches = rebuilt(evidence.batches, headers)
    transactions = read_transactions(evidence.chain, evidence.batches, batches)
    checks.append(transactions.check)
    if contract is not None:
        checks.append(_check_contract(evidence.chain.contract, contract))
    if transactions.registry is not None:
        if rpc is not None:
            checks.append(check_anchored(RpcChain(rpc), transactions.registry, evidence.chain, batches, rpc))
        elif not transactions.check.failures:
            # Only the committed contract is ever run: never code that the evidence brings along.
            checks.append(check_replay(evidence.chain, transactions.registry, batches))
    if (path / DATABASE).exists():
        checks.append(check_database(path, evidence))
    return Report(subject=str(path), checks=tuple(checks), caveat=_caveat(evidence.chain.contract, root, contract))


def verify_proof_file(
    path: Path, *, root: bytes | None = None, rpc: str | None = None, contract: Address | None = None
) -> Report:
    """What checking the proof of a single record found; arguments and errors as for `verify_path`."""
    _check_trust(root, rpc)
    proof = read_proof_file(path)
    checks = [
        check_proofs([proof.stated], proof.headers[:1]),
        check_index(proof),
        check_headers(proof.headers),
        check_batch(proof),
    ]
    if root is not None:
        checks.append(check_proof_root(proof, root))
    if contract is not None:
        checks.append(_check_contract(proof.registry.address, contract))
    if rpc is not None:
        checks.append(check_on_chain(RpcChain(rpc), proof, rpc))
    return Report(
        subject=f"{path}: {proof.stated.record.name}",
        checks=tuple(checks),
        caveat=_caveat(proof.registry.address, root, contract),
    )


def _check_contract(stated: Address, trusted: Address) -> Check:
    failures = () if stated == trusted else (f"got contract {stated}, wanted {trusted}",)
    return Check(name=f"contract {trusted}", failures=failures)


def _caveat(stated: Address, root: bytes | None, contract: Address | None) -> str:
    """What a chain alone leaves open: anybody can deploy a registry of their own."""
    return "" if root is not None or contract is not None else f"you know {stated} as the contract"


def _check_trust(root: bytes | None, rpc: str | None) -> None:
    if root is None and rpc is None:
        raise EvidenceError("--root HASH or --rpc URL: what the verifier trusts", got="neither")
    if root is not None and len(root) != 32:
        raise EvidenceError("32 bytes", got=root, field="root")


def parse_root(text: str) -> bytes:
    """The 32 bytes of a root as people write it: 64 hexadecimal digits of either case, ``0x`` or not."""
    digits = text.strip().lower().removeprefix("0x")
    root = parse_hash(f"0x{digits}")
    if root is None:
        raise EvidenceError("64 hexadecimal digits", got=text, field="root")
    return root


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m contracts.verify") -> int:
    """Exit code of the command, called `prog`, after printing its report."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Check exported evidence against a root or a chain that you got elsewhere.",
        epilog=f"example: {prog} gridpact-demo --root 0x5f0c...",
    )
    parser.add_argument("path", type=Path, help="exported directory, or file of a single proof")
    parser.add_argument("--root", help="hash of the last header, 64 hexadecimal digits; or of a proof's batch")
    parser.add_argument("--rpc", help="URL of a chain that holds the batches' hashes")
    parser.add_argument("--contract", help="address of the registry that you trust there")
    options = parser.parse_args(arguments)
    try:
        report = verify_path(
            options.path,
            root=None if options.root is None else parse_root(options.root),
            rpc=options.rpc,
            contract=None if options.contract is None else read_address(options.contract.lower(), "contract"),
        )
    except ContractsError as err:
        print(f"CANNOT VERIFY: {options.path}: {err}", file=sys.stderr)
        return 2
    for line in report.lines():
        print(line)
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
