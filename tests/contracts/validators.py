"""Five validators, three of whom must sign, and batches that follow each other."""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache

import pytest

from contracts.artefact import explain_refusal, load_artefact
from contracts.batch import GENESIS_BATCH, Batch
from contracts.chain import EmbeddedChain
from contracts.errors import ContractsError
from contracts.hashing import keccak
from contracts.quorum import Domain, Quorum, sign
from contracts.transactions import Address, FeePolicy, LocalSigner, Transaction

MICROGRID = "microgrids/village"


def key_of(number: int) -> bytes:
    """Private key of validator `number`."""
    return keccak(b"validator %d" % number)


@cache
def address_of(number: int) -> Address:
    return LocalSigner(key_of(number)).address


def keys(numbers: Iterable[int]) -> dict[Address, bytes]:
    """Private keys of validators by their addresses."""
    return {address_of(number): key_of(number) for number in numbers}


def quorum_of(numbers: Iterable[int] = range(5), *, threshold: int = 3, epoch: int = 0) -> Quorum:
    return Quorum(epoch=epoch, threshold=threshold, validators=tuple(sorted(keys(numbers))))


def packed(
    domain: Domain, struct_hash: bytes, quorum: Quorum | None = None, numbers: Iterable[int] = range(5)
) -> bytes:
    """As many signatures as it takes of these validators."""
    quorum = quorum_of() if quorum is None else quorum
    mine = keys(numbers)
    signers = [address for address in quorum.validators if address in mine][: quorum.threshold]
    digest = domain.digest(struct_hash)
    signed = quorum.pack({address: sign(mine[address], digest) for address in signers})
    assert signed is not None
    return signed


def make_batches(*counts: int, microgrid: str = MICROGRID) -> list[Batch]:
    """Batches with so many headers each."""
    made: list[Batch] = []
    first, previous = 0, GENESIS_BATCH
    for number, count in enumerate(counts):
        headers = tuple(keccak(f"header {first + k}".encode()) for k in range(count))
        made.append(Batch(microgrid=microgrid, number=number, previous=previous, first=first, headers=headers))
        first, previous = first + count, made[-1].hash
    return made


@contextmanager
def forgetting(chain: EmbeddedChain) -> Iterator[None]:
    """The chain afterwards is what it was before."""
    snapshot, receipts = chain._backend.take_snapshot(), dict(chain._receipts)
    yield
    chain._backend.revert_to_snapshot(snapshot)
    chain._receipts = receipts


class Account:
    """Somebody who sends transactions and learns why one was refused."""

    def __init__(self, chain: EmbeddedChain, signer: LocalSigner) -> None:
        self.chain, self.signer = chain, signer

    def send(self, make: Callable[..., Transaction], *args: object) -> bool:
        """Whether the transaction that `make` makes succeeded."""
        return self.gas(make, *args) is not None

    def gas(self, make: Callable[..., Transaction], *args: object) -> int | None:
        """Gas of the transaction; None where it was reverted."""
        transaction = make(*args, nonce=self.chain.nonce(self.signer.address), fees=FeePolicy())
        receipt = self.chain.receipt(self.chain.send_raw(self.signer.sign(transaction)))
        assert receipt is not None
        return receipt.gas_used if receipt.succeeded else None

    def refusal(self, make: Callable[..., Transaction], *args: object, contract: str = "GridpactRegistry") -> str:
        """The reason that a contract names; the transaction is sent as well and must be reverted."""
        transaction = make(*args, nonce=0, fees=FeePolicy())
        assert transaction.to is not None
        assert not self.send(make, *args)
        return why(self.chain, transaction.to, transaction.data, contract)


def why(chain: EmbeddedChain, to: Address, data: bytes, contract: str) -> str:
    """The reason that a contract names for refusing a call."""
    with pytest.raises(ContractsError) as refused:
        chain.call(to, data)
    assert refused.value.__cause__ is not None
    return str(explain_refusal(load_artefact(contract), literal_eval(str(refused.value.__cause__.args[0]))))
