"""Random mixes of all that can befall a worker, on anvil: in the end each batch is anchored, once and in order.

Faults are ends of the process at any step, outages of the node at any call, reorganisations of 1 to 64 blocks, dropped
transactions and lost rows of the pool (gaps in the nonces), fee spikes, and a second worker with the same key.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from contracts.backfill import backfill
from contracts.batch import Batch
from contracts.chain import Genesis
from contracts.errors import AnchorError, ChainUnavailableError
from contracts.fees import GWEI, FeeRules
from contracts.hashing import to_hex
from contracts.json_rpc import JsonRpc
from contracts.outbox import AnchorState
from contracts.quorum import Quorum
from contracts.registry import Anchored, Registry, parse_event, sign_deployment
from contracts.rpc_chain import RpcChain
from contracts.sending import Sending
from contracts.transactions import FeePolicy, LocalSigner
from tests.contracts.anvil_node import anvil_or_skip, eventually, running
from tests.contracts.memory_outbox import MemoryOutbox, make_worker
from tests.contracts.validators import keys, make_batches, quorum_of

SIGNER = LocalSigner(b"\x01" * 32)
GENESIS = Genesis(chain_id=31337, timestamp=1476849600, gas_limit=30_000_000, balances={SIGNER.address: 10**21})
DEEPEST = 64
MIXES = max(1, round(1000 * float(os.environ.get("GRIDPACT_CAMPAIGN", "1"))))
STEPS = 14
SENDING = Sending(fees=FeeRules(cap=50 * GWEI), bump_after_s=60, at_once=4, patience_s=30)


class Ended(Exception):  # noqa: N818  # no error, an end
    """The process ends."""


class Flaky:
    """A node at which some calls end in nothing, before or after they had their effect.

    Parameters
    ----------
    chain : the node
    random : draws which
    share : of the calls that fail
    """

    def __init__(self, chain: RpcChain, random: Random, share: float) -> None:
        self._chain, self._random, self._share = chain, random, share

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._chain, name)

        def call(*args: Any) -> Any:
            before, after = (self._random.random() < self._share / 2 for _ in range(2))
            if before:
                raise ChainUnavailableError("outage before")
            answer = method(*args)
            if after:
                raise ChainUnavailableError("outage after")
            return answer

        return call


class Mix:
    """One mix on a chain with a registry, with rows of two microgrids and a change of the validators."""

    def __init__(self, url: str, registry: Registry, seed: int) -> None:
        self.random = Random(seed)
        self.rpc, self.chain, self.registry = (
            JsonRpc(url, timeout_s=10),
            RpcChain(url, finality_depth=DEEPEST),
            registry,
        )
        self.now = 0.0
        rows: list[Batch | Quorum] = [
            batch
            for name in ("village", "town")
            for batch in make_batches(*[1] * self.random.randint(1, 3), microgrid=f"microgrids/{name}")
        ]
        if self.random.random() < 0.5:
            rows.append(quorum_of(range(3, 8), epoch=1))
        self.outbox = MemoryOutbox(rows)
        self.outbox.sign(registry.domain, keys(range(8)))
        self.left = -1
        self.outbox.watch = self._step

    def _step(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Ended

    def work(self, holder: str, *, share: float = 0.0, steps: int = -1) -> None:
        """One cycle of a worker, which may end anywhere."""
        self.left = steps
        chain: Any = Flaky(self.chain, self.random, share) if share else self.chain
        try:
            genesis = self.chain.block_hash(0)
            worker = make_worker(
                self.chain, self.registry, SIGNER, self.outbox, clock=lambda: self.now, holder=holder, sending=SENDING
            )
            worker._chain = chain
            assert genesis is not None
            worker.run_once()
        except (Ended, AnchorError):
            pass
        finally:
            self.left = -1

    def befall(self) -> None:
        """Something happens."""
        ask = self.rpc.ask
        match self.random.choice(["work", "end", "outage", "other", "mine", "reorganise", "drop", "spike", "later"]):
            case "work":
                self.work("one")
            case "end":
                self.work("one", steps=self.random.randint(1, 30))
            case "outage":
                self.work("one", share=self.random.choice([0.02, 0.2]))
            case "other":
                self.now += self.random.choice([0, 130])
                self.work("other", share=self.random.choice([0.0, 0.05]))
            case "mine":
                ask("anvil_mine", [hex(self.random.randint(1, 5))])
            case "reorganise":
                ask("anvil_reorg", [self.random.randint(1, DEEPEST), []])
            case "drop":
                sent = [attempt.signed.hash for row in self.outbox.rows.values() for attempt in row.attempts]
                if sent:
                    ask("anvil_dropTransaction", [to_hex(self.random.choice(sent))])
            case "spike":
                ask("anvil_setNextBlockBaseFeePerGas", [hex(self.random.choice([1, 20, 80]) * GWEI)])
                ask("anvil_mine", ["0x1"])
            case "later":
                self.now += self.random.choice([5, 61])

    def calm(self) -> None:
        """Nothing befalls any more: all is final in the end."""
        for _ in range(60):
            self.now += 131
            self.rpc.ask("anvil_setNextBlockBaseFeePerGas", [hex(GWEI)])
            self.rpc.ask("anvil_mine", ["0x1"])
            self.work("one")
            self.rpc.ask("anvil_mine", [hex(DEEPEST // 4)])
            if all(row.state is AnchorState.FINAL for row in self.outbox.rows.values()):
                return
        pytest.fail(f"not final: {self.outbox.states()}")

    def check(self) -> None:
        """Each batch is held, and its anchor was said once; so was each change of the validators."""
        said = [parse_event(log) for log in backfill(self.chain, self.registry.address, 0, self.chain.head().number)]
        anchored = [event for event in said if isinstance(event, Anchored)]
        batches = [row.subject for row in self.outbox.rows.values() if isinstance(row.subject, Batch)]
        assert sorted(event.hash for event in anchored) == sorted(batch.hash for batch in batches)
        for batch in batches:
            assert self.registry.held(self.chain, batch.microgrid, batch.number) == batch.hash
        quorums = [row.subject for row in self.outbox.rows.values() if isinstance(row.subject, Quorum)]
        assert [event for event in said if isinstance(event, Quorum)] == [quorum_of(), *quorums]


@pytest.fixture
def anvil() -> Iterator[tuple[str, Registry]]:
    """A node with a registry under more blocks than any reorganisation takes back; transactions wait for a block."""
    with running(anvil_or_skip(), GENESIS) as url:
        rpc = JsonRpc(url, timeout_s=10)
        chain = RpcChain(url)
        raw, registry = sign_deployment(SIGNER, quorum_of(), chain_id=GENESIS.chain_id, nonce=0, fees=FeePolicy())
        deployed = chain.send_raw(raw)
        eventually(lambda: chain.receipt(deployed))
        rpc.ask("anvil_mine", [hex(2 * DEEPEST)])
        rpc.ask("evm_setAutomine", [False])
        yield url, registry


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(MIXES))
def test_each_batch_is_anchored_exactly_once(anvil: tuple[str, Registry], seed: int) -> None:
    mix = Mix(*anvil, seed)
    for _ in range(STEPS):
        mix.befall()
    mix.calm()
    mix.check()
