"""The registry's views: a window and a trade are proven where they stand, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from eth_abi.abi import encode

from contracts.artefact import selector
from contracts.batch import GENESIS_BATCH, Batch, microgrid_key
from contracts.chain import EmbeddedChain, Genesis
from contracts.hashing import keccak
from contracts.header import WindowHeader
from contracts.leaves import TradeLeaf
from contracts.merkle import MerkleTree
from contracts.registry import Registry, deploy
from contracts.transactions import LocalSigner
from tests.contracts.conftest import MICROGRID, make_books, make_headers
from tests.contracts.validators import Account, packed, quorum_of

PLACE = "(bytes32,uint64,bytes32,bytes32,uint64,bytes32[])"
TRADE = "(string,uint64,string,string,uint64,uint64,int64,bytes32)"
HEADER = "(uint64,string,string,uint64,uint64,uint64,bytes32,bytes32,bytes32,uint64,bytes32,uint64,uint64,uint64,int64)"


@dataclass(frozen=True, kw_only=True)
class Views:
    """What a registry that holds some batches answers."""

    chain: EmbeddedChain
    registry: Registry

    def _asks(self, name: str, types: tuple[str, ...], *values: object) -> bool:
        data = selector(f"{name}({','.join(types)})") + encode(types, values)
        return int.from_bytes(self.chain.call(self.registry.address, data)) == 1

    def window(self, batch: Batch, position: int, header: bytes, path: tuple[bytes, ...]) -> bool:
        return self._asks("verifyWindow", (PLACE, "bytes32"), place(batch, position, path), header)

    def trade(self, leaf: TradeLeaf, path: tuple[bytes, ...], header: WindowHeader, batch: Batch, at: int) -> bool:
        values = (leaf.abi_values()[1:], path, header.abi_values()[1:], place(batch, at, batch.proof(at)))
        return self._asks("verifyTrade", (TRADE, "bytes32[]", HEADER, PLACE), *values)


def place(batch: Batch, position: int, path: tuple[bytes, ...]) -> tuple[object, ...]:
    return microgrid_key(batch.microgrid), batch.number, batch.previous, batch.windows_root, position, path


BOOKS = tuple(make_books(number) for number in range(3))
HEADERS = make_headers(BOOKS)
FIRST = Batch(microgrid=MICROGRID, number=0, previous=GENESIS_BATCH, first=0, headers=(HEADERS[0].hash,))
SECOND = Batch(
    microgrid=MICROGRID, number=1, previous=FIRST.hash, first=1, headers=tuple(header.hash for header in HEADERS[1:])
)


@pytest.fixture(scope="module")
def views() -> Views:
    signer = LocalSigner(b"\x01" * 32)
    chain = EmbeddedChain(
        Genesis(chain_id=31337, timestamp=1476849600, gas_limit=30_000_000, balances={signer.address: 10**18})
    )
    registry = deploy(chain, signer, quorum_of()).registry
    relay = Account(chain, signer)
    for batch in (FIRST, SECOND, *SIZES.values()):
        assert relay.send(registry.anchor_transaction, batch, packed(registry.domain, batch.hash))
    return Views(chain=chain, registry=registry)


def batch_of(count: int) -> Batch:
    headers = tuple(keccak(b"header %d of %d" % (k, count)) for k in range(count))
    return Batch(microgrid=f"microgrids/{count}", number=0, previous=GENESIS_BATCH, first=0, headers=headers)


SIZES = {count: batch_of(count) for count in (1, 2, 3, 5, 8, 96)}


@pytest.mark.parametrize("count", SIZES)
def test_each_window_is_proven_at_its_place_alone(views: Views, count: int) -> None:
    batch = SIZES[count]
    for position in {0, 1, count // 2, count - 1} & set(range(count)):
        header, path = batch.headers[position], batch.proof(position)
        assert views.window(batch, position, header, path)
        assert not views.window(batch, position + 1, header, path)
        assert not views.window(batch, position, keccak(header), path)
        assert not views.window(batch, position, header, (*path, header))
        if path:
            assert not views.window(batch, position, header, path[1:])


def test_a_window_of_a_batch_that_is_not_held_is_not_proven(views: Views) -> None:
    batch = batch_of(4)
    assert not views.window(batch, 0, batch.headers[0], batch.proof(0))
    other = replace(SIZES[3], microgrid="microgrids/5")
    assert not views.window(other, 0, other.headers[0], other.proof(0))


@pytest.mark.parametrize("window", range(3))
def test_each_trade_is_proven_in_its_window_alone(views: Views, window: int) -> None:
    header, batch = HEADERS[window], FIRST if window == 0 else SECOND
    leaves = BOOKS[window].trades
    tree = MerkleTree([leaf.hash for leaf in leaves])
    assert tree.root == header.trades_root
    for index, leaf in enumerate(leaves):
        assert views.trade(leaf, tree.proof(index), header, batch, window)
        assert not views.trade(replace(leaf, energy_wh=leaf.energy_wh + 1), tree.proof(index), header, batch, window)
        assert not views.trade(leaf, tree.proof(index - 1), header, batch, window)
    other = HEADERS[2 if window == 1 else 1]
    assert not views.trade(leaves[0], tree.proof(0), other, SECOND, 2 if window == 1 else 1)
    assert not views.trade(leaves[0], tree.proof(0), replace(header, run=1), batch, window)
