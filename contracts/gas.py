"""What each operation of the contracts costs in gas, measured on a fresh embedded chain.

Everything that goes into it is fixed: keys, records, salts. So the same figures come out each time, and a change of the
contracts shows. A signature has more or fewer zero bytes, by which an anchor costs a few dozen gas more or less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from contracts.batch import GENESIS_BATCH, Batch
from contracts.books import WindowBooks
from contracts.chain import EmbeddedChain, Genesis
from contracts.energy_credits import Certificate, deploy_credits
from contracts.errors import AnchorError
from contracts.hashing import keccak
from contracts.header import GENESIS_PREVIOUS
from contracts.leaves import TradeLeaf
from contracts.net_payments import Statement, deploy_payments
from contracts.quorum import Domain, Quorum, sign
from contracts.registry import Registry, deploy
from contracts.transactions import Address, FeePolicy, LocalSigner, Transaction

VALIDATORS, THRESHOLD = 5, 3
DAY = 96
"""Windows of a quarter of an hour in a day."""

TRADES = (1, 10, 100, 1_000, 10_000)
"""How many trades the measured windows have."""

PAYEES = 200
"""How many accounts the measured statements name."""

PUBLISHED = {
    "offer": 129_613,
    "bid": 130_354,
    "start": 286_403,
    "matching": 153_400,
    "transfer": 134_179,
    "settlement": 144_247,
}
"""Gas of EnergyAuction's operations: Condon et al. (2023), Table 3."""

PUBLISHED_TOTAL = sum(PUBLISHED.values())
"""Of all of them once, which is one trade in a window of its own."""

PUBLISHED_MARGINAL = sum(PUBLISHED[name] for name in ("offer", "bid", "transfer", "settlement"))
"""Of those that each further trade of a window takes."""

_START = 1476849600
_WINDOW_S = 900
_MICROGRID = "microgrids/measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class GasReport:
    """What was measured, with `THRESHOLD` of `VALIDATORS` signatures.

    Attributes
    ----------
    windows : mapping from int to int
        Gas of anchoring one window, by how many trades it has; not the microgrid's first.
    day_batch : int
        Gas of anchoring a day of `DAY` windows in one transaction.
    operations : mapping from str to int
        Gas of every single operation.
    """

    windows: Mapping[int, int]
    day_batch: int
    operations: Mapping[str, int]

    @property
    def window(self) -> int:
        """Gas of anchoring one window: the most of the measured ones."""
        return max(self.windows.values())

    @property
    def per_trade(self) -> Mapping[int, float]:
        """Gas per trade where each window is anchored alone, by its number of trades."""
        return {trades: gas / trades for trades, gas in self.windows.items()}

    @property
    def per_trade_of_day(self) -> Mapping[int, float]:
        """Gas per trade where a day is anchored at once, by the number of trades of each window."""
        return {trades: self.day_batch / (DAY * trades) for trades in self.windows}

    def as_json(self) -> dict[str, Any]:
        """The report as JSON has it."""
        alone, of_day = self.per_trade, self.per_trade_of_day
        return {
            "validators": VALIDATORS,
            "threshold": THRESHOLD,
            "window": self.window,
            "day_batch": self.day_batch,
            "day_batch_windows": DAY,
            "per_trade": _named(alone),
            "per_trade_day_batch": _named(of_day),
            "operations": dict(self.operations),
            "published": {
                "source": "EnergyAuction: Condon et al. (2023), Table 3",
                **PUBLISHED,
                "total": PUBLISHED_TOTAL,
                "marginal": PUBLISHED_MARGINAL,
            },
            "times_less_than_total": _named(_ratios(PUBLISHED_TOTAL, alone)),
            "times_less_than_marginal": _named(_ratios(PUBLISHED_MARGINAL, alone)),
            "times_less_than_total_day_batch": _named(_ratios(PUBLISHED_TOTAL, of_day)),
            "times_less_than_marginal_day_batch": _named(_ratios(PUBLISHED_MARGINAL, of_day)),
        }


def _named(figures: Mapping[int, float]) -> dict[str, float]:
    return {str(trades): round(figure, 4) for trades, figure in figures.items()}


def _ratios(published: int, per_trade: Mapping[int, float]) -> dict[int, float]:
    return {trades: published / gas for trades, gas in per_trade.items()}


def measure() -> GasReport:
    """The report of a chain that is made for it and forgotten."""
    return _Measuring().run()


class _Measuring:
    """A chain, its validators, and what was spent on it so far."""

    def __init__(self) -> None:
        self._me = LocalSigner(keccak(b"who measures"))
        keys = [keccak(b"validator %d" % number) for number in range(2 * VALIDATORS)]
        self._keys = {LocalSigner(key).address: key for key in keys}
        addresses = list(self._keys)
        self._quorum = _quorum(0, addresses[:VALIDATORS])
        self._next = _quorum(1, addresses[VALIDATORS:])
        self._chain = EmbeddedChain(
            Genesis(chain_id=31337, timestamp=_START, gas_limit=30_000_000, balances={self._me.address: 10**20})
        )
        self._operations: dict[str, int] = {}
        self._number, self._position = 0, 0
        self._previous_batch, self._previous_header = GENESIS_BATCH, GENESIS_PREVIOUS

    def run(self) -> GasReport:
        deployment = deploy(self._chain, self._me, self._quorum)
        registry = deployment.registry
        self._operations["registry deploy"] = deployment.gas_used
        first = self._batch([1])
        self._operations["registry anchor first window"] = self._anchor(registry, first)
        windows = {trades: self._anchor(registry, self._batch([trades])) for trades in TRADES}
        self._operations["registry anchor window"] = max(windows.values())
        day = self._batch([10] * DAY)
        day_gas = self._anchor(registry, day)
        self._operations[f"registry anchor {DAY} windows"] = day_gas
        self._operations["registry anchor again (no effect)"] = self._anchor(registry, day)
        self._use_credits_and_payments(registry, first, day)
        signed = self._packed(registry.domain, self._next.rotation_hash)
        self._spend("registry rotate to five others", registry.rotate_transaction, self._next, signed)
        return GasReport(windows=windows, day_batch=day_gas, operations=self._operations)

    def _use_credits_and_payments(self, registry: Registry, first: Batch, second: Batch) -> None:
        credits_, self._operations["credits deploy"] = deploy_credits(self._chain, self._me, registry)
        me, energy_wh = self._me.address, 10**9
        for name, batch in (("first", first), ("again", second)):
            certificate = Certificate(batch=batch, account=me, energy_wh=energy_wh)
            signed = self._packed(credits_.domain, certificate.hash)
            self._spend(f"credits mint {name}", credits_.mint_transaction, certificate, signed)
        payees = [Address("0x" + keccak(b"payee %d" % number)[12:].hex()) for number in range(PAYEES)]
        self._spend("credits transfer to a new holder", credits_.transfer_transaction, payees[1], 1)
        self._spend("credits burn", credits_.burn_transaction, 1)
        payments, self._operations["payments deploy"] = deploy_payments(
            self._chain, self._me, registry, credits_.address
        )
        self._spend("token approve", credits_.approve_transaction, payments.address, 10**8)
        for name in ("first", "again"):
            self._spend(f"payments fund {name}", payments.fund_transaction, _MICROGRID, 10**7)
        for number, name in ((1, "first"), (2, "again")):
            owed = {payee: 1_000_000 * number // PAYEES + place for place, payee in enumerate(payees, start=1)}
            statement = Statement(microgrid=_MICROGRID, number=number, owed=owed)
            signed = self._packed(payments.domain, statement.hash)
            self._spend(f"payments state {name}", payments.state_transaction, statement, signed)
            self._spend(f"payments claim {name}", payments.claim_transaction, statement, payees[0])

    def _anchor(self, registry: Registry, batch: Batch) -> int:
        signed = self._packed(registry.domain, batch.hash)
        return self._gas("anchor", registry.anchor_transaction, batch, signed)

    def _spend(self, name: str, make: Callable[..., Transaction], *arguments: object) -> None:
        self._operations[name] = self._gas(name, make, *arguments)

    def _gas(self, name: str, make: Callable[..., Transaction], *arguments: object) -> int:
        transaction = make(*arguments, nonce=self._chain.nonce(self._me.address), fees=FeePolicy())
        receipt = self._chain.receipt(self._chain.send_raw(self._me.sign(transaction)))
        if receipt is None or not receipt.succeeded:
            raise AnchorError(f"{name}: got {receipt}, wanted a transaction that succeeded")
        return receipt.gas_used

    def _packed(self, domain: Domain, struct_hash: bytes) -> bytes:
        digest = domain.digest(struct_hash)
        signers = self._quorum.validators[:THRESHOLD]
        packed = self._quorum.pack({signer: sign(self._keys[signer], digest) for signer in signers})
        if packed is None:
            raise AnchorError(f"got {len(signers)} signatures, wanted {THRESHOLD}")
        return packed

    def _batch(self, trades: list[int]) -> Batch:
        first = self._position
        headers = tuple(self._header(count) for count in trades)
        batch = Batch(
            microgrid=_MICROGRID,
            number=self._number,
            previous=self._previous_batch,
            first=first,
            headers=headers,
        )
        self._number, self._previous_batch = self._number + 1, batch.hash
        return batch

    def _header(self, trades: int) -> bytes:
        start = _START + _WINDOW_S * self._position
        window = f"{_MICROGRID}/windows/{self._position}"
        books = WindowBooks(
            trades=tuple(_trade(window, index, start) for index in range(trades)), readings=(), postings=()
        )
        header = books.header(
            microgrid=_MICROGRID,
            window=window,
            window_start=start,
            window_end=start + _WINDOW_S,
            run=0,
            previous=self._previous_header,
            inputs_digest=keccak(window.encode()),
        )
        self._position, self._previous_header = self._position + 1, header.hash
        return header.hash


def _quorum(epoch: int, addresses: list[Address]) -> Quorum:
    return Quorum(epoch=epoch, threshold=THRESHOLD, validators=tuple(sorted(addresses)))


def _trade(window: str, index: int, start: int) -> TradeLeaf:
    return TradeLeaf(
        window=window,
        index=index,
        seller=f"peer-{index}",
        buyer=f"peer-{index + 1}",
        mtu_start=start,
        energy_wh=100 + index,
        price_micro_per_kwh=180_000,
        salt=keccak(f"{window} {index}".encode()),
    )
