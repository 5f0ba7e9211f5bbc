"""Holds a store's batches against the registry on the chain, and the validators' signatures against their addresses."""

from collections.abc import Iterator

from sqlalchemy import Connection, select

from contracts.batch import Batch
from contracts.chain import Chain
from contracts.hashing import ZERO_HASH, to_hex
from contracts.outbox import AnchorState
from contracts.quorum import Domain, SignatureRefusedError, recover
from contracts.registry import Registry
from contracts.report import Check
from controller.store import batches, quorums, schema

PAGE = 256
ON_CHAIN = frozenset({AnchorState.INCLUDED, AnchorState.FINAL})


def audit_signatures(connection: Connection, microgrid: str, domain: Domain) -> Check:
    """Whether each signature under a microgrid's batches is of the validator that it is kept for.

    Parameters
    ----------
    microgrid : its id
    domain : of the registry
    """
    failures: list[str] = []
    count = 0
    for kept in _batches(connection, microgrid):
        digest = domain.digest(kept.batch.hash)
        for validator, signature in kept.signatures.items():
            count += 1
            failures += _refused(f"batch {kept.batch.number}", digest, validator, signature)
    return Check(name=f"{count:,} validators' signatures under batches", failures=tuple(failures))


def audit_rotations(connection: Connection, domain: Domain) -> Check:
    """Whether each signature under a change of the validators is of whom it is kept for."""
    failures: list[str] = []
    count = 0
    for quorum, _ in quorums.proposed(connection):
        digest = domain.digest(quorum.rotation_hash)
        for validator, signature in quorums.signatures(connection, quorum.epoch).items():
            count += 1
            failures += _refused(f"validators of epoch {quorum.epoch}", digest, validator, signature)
    return Check(name=f"{count:,} validators' signatures under changes of validators", failures=tuple(failures))


def audit_anchors(connection: Connection, microgrid: str, chain: Chain, registry: Registry) -> Check:
    """Whether the registry holds what the store says that it holds, and nothing that the store does not know.

    Raises
    ------
    AnchorError
        If the chain does not answer, or is another one.
    """
    failures: list[str] = []
    count = 0
    name = f"microgrids/{microgrid}"
    for kept in _batches(connection, microgrid):
        place, held = f"batch {kept.batch.number}", registry.held(chain, name, kept.batch.number)
        failures += _differs(place, kept.batch, kept.state, held)
        count += 1
    beyond = registry.held(chain, name, count)
    if beyond != ZERO_HASH:
        failures.append(f"batch {count}: the contract holds {to_hex(beyond)}, the store has no such batch")
    failures += _misplaced(connection, microgrid, chain)
    return Check(name=f"{count:,} batches in contract {registry.address}", failures=tuple(failures))


def _differs(place: str, batch: Batch, state: AnchorState, held: bytes) -> Iterator[str]:
    if held == batch.hash:
        return
    if held != ZERO_HASH:
        yield f"{place}: the contract holds {to_hex(held)}, the store gives {to_hex(batch.hash)}"
    elif state in ON_CHAIN:
        yield f"{place}: is {state.name}, the contract holds nothing for it"


def _misplaced(connection: Connection, microgrid: str, chain: Chain) -> Iterator[str]:
    """Which batches are said to be in a block that the chain does not have."""
    table = schema.outbox
    rows = connection.execute(
        select(table)
        .where(table.c.kind == batches.BATCH, table.c.microgrid == microgrid, table.c.block_number.is_not(None))
        .order_by(table.c.number)
    )
    known: dict[int, bytes | None] = {}
    for row in rows:
        number = int(row.block_number)
        if number not in known:
            known[number] = chain.block_hash(number)
        got = known[number]
        if got != bytes(row.block_hash):
            block = "none" if got is None else to_hex(got)
            wanted = to_hex(bytes(row.block_hash))
            yield f"batch {row.number}: block {number}: the chain has {block}, the store {wanted}"


def _batches(connection: Connection, microgrid: str) -> Iterator[batches.KeptBatch]:
    after = -1
    while page := batches.batches(connection, microgrid, after=after, count=PAGE):
        yield from page
        after = page[-1].batch.number


def _refused(place: str, digest: bytes, validator: str, signature: bytes) -> Iterator[str]:
    try:
        signer = recover(digest, signature)
    except SignatureRefusedError as err:
        yield f"{place}: signature of {validator}: {err}"
        return
    if signer != validator:
        yield f"{place}: signature of {validator}: is {signer}'s, or of something else"
