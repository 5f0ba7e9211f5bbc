"""A chain in this process, on which services anchor that sign their batches themselves."""

from contracts.anchoring import Anchorer
from contracts.chain import EmbeddedChain, Genesis
from contracts.registry import deploy
from contracts.transactions import LocalSigner
from controller.attesting import SelfAttested, only
from controller.clock import VirtualClock
from controller.store.database import Database
from controller.store.outbox import StoredOutbox
from tests.controller.village import START

KEY = b"\x08" * 32
"""Of the only validator."""


class OwnChain:
    """A chain with a registry on it; `anchored` makes what a service anchors with."""

    def __init__(self) -> None:
        self.signer, self.clock = LocalSigner(b"\x07" * 32), VirtualClock(START)
        self.genesis = Genesis(
            chain_id=7, timestamp=START, gas_limit=30_000_000, balances={self.signer.address: 10**18}
        )
        self.chain = EmbeddedChain(self.genesis)
        self._first = self.chain.head().hash
        self.deployment = deploy(self.chain, self.signer, only(KEY))

    def anchored(self, database: Database) -> SelfAttested:
        registry = self.deployment.registry
        worker = Anchorer(
            self.chain,
            registry,
            genesis_hash=self._first,
            signer=self.signer,
            outbox=StoredOutbox(database),
            clock=self.clock.now,
            holder="test",
        )
        return SelfAttested(worker, key=KEY, domain=registry.domain, database=database, clock=self.clock)
