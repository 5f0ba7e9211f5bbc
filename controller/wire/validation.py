"""Messages of validation, to values: what a validator reads of the service."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from contracts.books import WindowBooks
from contracts.errors import EvidenceError
from contracts.header import WindowHeader
from contracts.leaves import PostingLeaf, ReadingLeaf, TradeLeaf
from contracts.quorum import Domain, Quorum
from contracts.transactions import Address
from controller.registry_identity import RegistryIdentity
from controller.uplifts import Uplift
from controller.validating.evidence import DoubtError, RegisteredKey, Signed, WindowEvidence
from gridpact.v1 import audit_pb2, operator_pb2, types_pb2
from gridpact.v1 import validator_pb2 as pb

HEADER_FIELDS = (
    "schema",
    "microgrid",
    "window",
    "window_start",
    "window_end",
    "run",
    "previous",
    "inputs_digest",
    "trades_root",
    "trades_count",
    "settlement_root",
    "readings_count",
    "postings_count",
    "traded_energy_wh",
    "turnover_micro",
)
UPLIFT_FIELDS = (
    "member",
    "paid_micro",
    "alone_micro",
    "ahead_micro",
    "regret_micro",
    "received_micro",
    "uplift_micro",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedBatch:
    """A batch as the service lists it; nothing of it is checked.

    Attributes
    ----------
    number, previous, first, hash : as of ``contracts.batch.Batch``
    headers : in order
    signers : who has signed it
    """

    number: int
    previous: bytes
    first: int
    hash: bytes
    headers: tuple[WindowHeader, ...]
    signers: frozenset[Address]


def read_registry(message: pb.GetRegistryResponse) -> RegistryIdentity:
    """The registry that the service states.

    Raises
    ------
    ContractsError
        If its validators are none.
    """
    return RegistryIdentity(
        domain=Domain(chain_id=message.chain_id, contract=_address(message.contract)),
        genesis=message.genesis_hash or None,
        quorum=Quorum(
            epoch=message.epoch,
            threshold=message.threshold,
            validators=tuple(_address(each) for each in message.validators),
        ),
    )


def read_batch_message(message: pb.Batch) -> ListedBatch:
    """A batch that the service lists.

    Raises
    ------
    DoubtError
        If a header in it is none.
    """
    return ListedBatch(
        number=message.number,
        previous=message.previous,
        first=message.first,
        hash=message.hash,
        headers=tuple(read_header(header) for header in message.headers),
        signers=frozenset(_address(each.validator) for each in message.signatures),
    )


def read_header(message: audit_pb2.Header) -> WindowHeader:
    """A header that the service states.

    Raises
    ------
    DoubtError
        If it is none.
    """
    try:
        return WindowHeader(**{name: getattr(message, name) for name in HEADER_FIELDS})
    except EvidenceError as err:
        raise DoubtError(f"header of {message.window!r:.80}: {err}") from err


def read_evidence(message: pb.GetWindowEvidenceResponse) -> WindowEvidence:
    """A window's evidence.

    Raises
    ------
    DoubtError
        If a part of it is none.
    """
    runs = tuple(_books(run) for run in message.runs)
    if not runs:
        raise DoubtError("records: got none, wanted those of the run")
    return WindowEvidence(
        header=read_header(message.header),
        books=runs[-1],
        earlier=runs[:-1],
        inputs=message.inputs_json,
        clearings={each.adjustment: each.answer for each in message.clearings},
        uplifts=tuple(Uplift(**{name: getattr(each, name) for name in UPLIFT_FIELDS}) for each in message.uplifts),
        failure=message.failure,
        orders=_signed(message.orders),
        limits=_signed(message.limits),
        vetoes=_signed(message.vetoes),
        readings=_signed(message.readings),
        keys={
            key.key_id: RegisteredKey(
                key_id=key.key_id,
                purpose=operator_pb2.KeyPurpose.Name(key.purpose).removeprefix("KEY_PURPOSE_"),
                holder=key.holder,
                public_key=key.public_key,
            )
            for key in message.keys
        },
        settlement=message.settlement_json,
    )


def _books(message: pb.RunRecords) -> WindowBooks:
    try:
        return WindowBooks(
            trades=tuple(TradeLeaf.from_json(json.loads(text)) for text in message.trades_json),
            readings=tuple(ReadingLeaf.from_json(json.loads(text)) for text in message.readings_json),
            postings=tuple(PostingLeaf.from_json(json.loads(text)) for text in message.postings_json),
        )
    except (EvidenceError, ValueError) as err:
        raise DoubtError(f"records: {err}") from err


def _signed(messages: Iterable[types_pb2.Signed]) -> tuple[Signed, ...]:
    return tuple(Signed(payload=each.payload, signature=each.signature, key_id=each.key_id) for each in messages)


def _address(value: bytes) -> Address:
    return Address("0x" + value.hex())
