"""Holds a store's batches against the registry on the chain, and the validators' signatures against their addresses."""

from collections.abc import Iterator

from sqlalchemy import Connection, select

from contracts.chain import Chain
from contracts.hashing import ZERO_HASH, to_hex
from contracts.outbox import AnchorState
from contracts.quorum import Domain, SignatureRefusedError, recover
from contracts.registry import Registry
from contracts.report import Check
from controller.store import batches, quorums, schema

ON_CHAIN = frozenset({AnchorState.INCLUDED.name, AnchorState.FINAL.name})


def audit_signatures(connection: Connection, microgrid: str, domain: Domain) -> Check:
    """Whether each signature under a microgrid's batches is of the validator that it is kept for.

    Parameters
    ----------
    microgrid : its id
    domain : of the registry
    """
    signed, made = schema.batch_signatures, schema.batches
    rows = connection.execute(
        select(signed, made.c.hash)
        .outerjoin(made, (made.c.microgrid == signed.c.microgrid) & (made.c.number == signed.c.number))
        .where(signed.c.microgrid == microgrid)
        .order_by(signed.c.number, signed.c.validator)
    ).all()
    failures: list[str] = []
    for row in rows:
        place = f"batch {row.number}"
        if row.hash is None:
            failures.append(f"{place}: signature of {row.validator}: there is no such batch")
        else:
            digest = domain.digest(bytes(row.hash))
            failures += _refused(place, digest, row.validator, bytes(row.signature))
    return Check(name=f"{len(rows):,} validators' signatures under batches", failures=tuple(failures))


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

    The chain's blocks are compared by `audit_blocks`.

    Raises
    ------
    AnchorError
        If the chain does not answer, or is another one.
    """
    registry.check(chain)
    made, outbox = schema.batches, schema.outbox
    rows = connection.execute(
        select(made.c.number, made.c.hash, outbox.c.state)
        .outerjoin(
            outbox,
            (outbox.c.kind == batches.BATCH)
            & (outbox.c.microgrid == made.c.microgrid)
            & (outbox.c.number == made.c.number),
        )
        .where(made.c.microgrid == microgrid)
        .order_by(made.c.number)
    ).all()
    failures: list[str] = []
    name = f"microgrids/{microgrid}"
    for row in rows:
        failures += _differs(f"batch {row.number}", bytes(row.hash), row.state, registry.held(chain, name, row.number))
    beyond = 1 + max((row.number for row in rows), default=-1)
    held = registry.held(chain, name, beyond)
    if held != ZERO_HASH:
        failures.append(f"batch {beyond}: the contract holds {to_hex(held)}, the store has no such batch")
    return Check(name=f"{len(rows):,} batches in contract {registry.address}", failures=tuple(failures))


def _differs(place: str, wanted: bytes, state: str | None, held: bytes) -> Iterator[str]:
    if held == wanted:
        return
    if held != ZERO_HASH:
        yield f"{place}: the contract holds {to_hex(held)}, the store gives {to_hex(wanted)}"
    elif state in ON_CHAIN:
        yield f"{place}: is {state}, the contract holds nothing for it"


def audit_blocks(connection: Connection, microgrid: str, chain: Chain) -> Check:
    """Whether batches are in blocks that the chain has; blocks of a chain that was rebuilt are others.

    Raises
    ------
    AnchorError
        If the chain does not answer.
    """
    table = schema.outbox
    rows = connection.execute(
        select(table)
        .where(table.c.kind == batches.BATCH, table.c.microgrid == microgrid, table.c.block_number.is_not(None))
        .order_by(table.c.number)
    ).all()
    failures: list[str] = []
    for row in rows:
        got, wanted = chain.block_hash(int(row.block_number)), bytes(row.block_hash)
        if got != wanted:
            found = "none" if got is None else to_hex(got)
            failures.append(
                f"batch {row.number}: block {row.block_number}: the chain has {found}, the store {to_hex(wanted)}"
            )
    return Check(name=f"blocks of {len(rows):,} batches", failures=tuple(failures))


def _refused(place: str, digest: bytes, validator: str, signature: bytes) -> Iterator[str]:
    try:
        signer = recover(digest, signature)
    except SignatureRefusedError as err:
        yield f"{place}: signature of {validator}: {err}"
        return
    if signer != validator:
        yield f"{place}: signature of {validator}: is {signer}'s, or of something else"
