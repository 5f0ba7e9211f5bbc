"""The contract `NetPayments` on an embedded chain, in credits for money; every refusal by its name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from contracts.chain import EmbeddedChain, Genesis
from contracts.energy_credits import Certificate, EnergyCredits, deploy_credits
from contracts.errors import EvidenceError, WrongChainError
from contracts.net_payments import NetPayments, Statement, deploy_payments
from contracts.registry import Registry, deploy
from contracts.transactions import Address, LocalSigner
from tests.contracts.validators import MICROGRID, Account, address_of, forgetting, make_batches, packed, quorum_of

ANNA, BERT, CARL = (address_of(number) for number in (20, 21, 22))


@dataclass(frozen=True, kw_only=True)
class Town:
    """A registry with a batch, credits for it, and the contract that pays in them."""

    registry: Registry
    credits: EnergyCredits
    payments: NetPayments
    account: Account

    @property
    def chain(self) -> EmbeddedChain:
        return self.account.chain

    def state(self, statement: Statement) -> bool:
        signed = packed(self.payments.domain, statement.hash)
        return self.account.send(self.payments.state_transaction, statement, signed)

    def claim(self, statement: Statement, account: Address) -> bool:
        return self.account.send(self.payments.claim_transaction, statement, account)

    def has(self, account: Address) -> int:
        return self.credits.balance(self.chain, account)


@pytest.fixture(scope="module")
def _founded() -> Town:
    signer = LocalSigner(b"\x01" * 32)
    chain = EmbeddedChain(
        Genesis(chain_id=31337, timestamp=1476849600, gas_limit=30_000_000, balances={signer.address: 10**18})
    )
    registry = deploy(chain, signer, quorum_of()).registry
    account = Account(chain, signer)
    (batch,) = make_batches(1)
    assert account.send(registry.anchor_transaction, batch, packed(registry.domain, batch.hash))
    credits_, _ = deploy_credits(chain, signer, registry)
    certificate = Certificate(batch=batch, account=signer.address, energy_wh=1000)
    assert account.send(credits_.mint_transaction, certificate, packed(credits_.domain, certificate.hash))
    payments, _ = deploy_payments(chain, signer, registry, credits_.address)
    assert account.send(credits_.approve_transaction, payments.address, 1000)
    assert account.send(payments.fund_transaction, MICROGRID, 600)
    return Town(registry=registry, credits=credits_, payments=payments, account=account)


@pytest.fixture
def town(_founded: Town) -> Iterator[Town]:
    """The town on a chain that forgets afterwards what a test did."""
    with forgetting(_founded.chain):
        yield _founded


def statement(number: int, owed: dict[Address, int]) -> Statement:
    return Statement(microgrid=MICROGRID, number=number, owed=owed)


def test_accounts_are_paid_the_difference_and_a_new_statement_loses_nothing(town: Town) -> None:
    first = statement(1, {ANNA: 100, BERT: 50, CARL: 7})
    second = statement(2, {ANNA: 160, BERT: 80, CARL: 7})
    second.check_follows(first)
    assert town.state(first)
    assert town.claim(first, ANNA)
    assert town.state(second)
    assert town.claim(second, ANNA)
    assert town.claim(second, BERT)
    assert [town.has(each) for each in (ANNA, BERT, CARL)] == [160, 80, 0]
    assert town.payments.paid(town.chain, MICROGRID, ANNA) == 160
    assert town.payments.funds(town.chain, MICROGRID) == town.has(town.payments.address) == 600 - 240
    assert town.payments.stated(town.chain, MICROGRID) == (2, second.tree.root)


def test_what_was_paid_is_not_paid_again(town: Town) -> None:
    owed = statement(1, {ANNA: 100, BERT: 50})
    assert town.state(owed)
    assert town.claim(owed, ANNA)
    said = town.account.refusal(town.payments.claim_transaction, owed, ANNA, contract="NetPayments")
    assert said.startswith("NothingToClaim")
    assert said.endswith("cumulative 100, paid 100")
    assert town.has(ANNA) == 100


def test_what_is_not_stated_is_not_owed(town: Town) -> None:
    owed = statement(1, {ANNA: 100, BERT: 50})
    assert town.state(owed)
    for made_up in (statement(1, {ANNA: 101, BERT: 50}), replace(owed, microgrid="microgrids/other")):
        said = town.account.refusal(town.payments.claim_transaction, made_up, ANNA, contract="NetPayments")
        assert said.startswith("NotOwed")
    assert town.has(ANNA) == 0


def test_a_claim_beyond_the_funds_waits_for_them(town: Town) -> None:
    owed = statement(1, {ANNA: 700})
    assert town.state(owed)
    said = town.account.refusal(town.payments.claim_transaction, owed, ANNA, contract="NetPayments")
    assert said.startswith("TooFewFunds")
    assert said.endswith("got 600, wanted 700")
    assert town.account.send(town.payments.fund_transaction, MICROGRID, 100)
    assert town.claim(owed, ANNA)
    assert town.has(ANNA) == 700


def test_a_statement_out_of_turn_or_not_signed_is_refused(town: Town) -> None:
    first, late = statement(1, {ANNA: 1}), statement(3, {ANNA: 2})
    signed = packed(town.payments.domain, late.hash)
    said = town.account.refusal(town.payments.state_transaction, late, signed, contract="NetPayments")
    assert said.startswith("WrongNumber")
    assert said.endswith("got 3, wanted 1")
    few = packed(town.payments.domain, first.hash, quorum_of(threshold=2))
    said = town.account.refusal(town.payments.state_transaction, first, few)
    assert said == "TooFewSignatures: got 2, wanted 3"
    assert not town.account.send(town.payments.state_transaction, first, packed(town.registry.domain, first.hash))
    assert town.payments.stated(town.chain, MICROGRID) == (0, bytes(32))


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"number": 0}, "number"),
        ({"number": 2**64}, "number"),
        ({"owed": {}}, "owed"),
        ({"owed": {ANNA: 0}}, f"owed to {ANNA}"),
        ({"owed": {ANNA: 10**36 + 1}}, f"owed to {ANNA}"),
    ],
)
def test_a_statement_out_of_bounds_is_refused(changed: dict[str, object], field: str) -> None:
    with pytest.raises(EvidenceError, match=field):
        replace(statement(1, {ANNA: 1}), **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("after", "field"),
    [
        (statement(2, {ANNA: 9, BERT: 5}), f"owed to {ANNA}"),
        (statement(2, {ANNA: 10}), f"owed to {BERT}"),
        (statement(3, {ANNA: 10, BERT: 5}), "number"),
        (Statement(microgrid="microgrids/x", number=2, owed={ANNA: 10, BERT: 5}), "microgrid"),
    ],
)
def test_a_statement_that_takes_something_back_is_refused(after: Statement, field: str) -> None:
    with pytest.raises(EvidenceError, match=field):
        after.check_follows(statement(1, {ANNA: 10, BERT: 5}))


def test_an_account_that_is_not_named_has_no_proof() -> None:
    with pytest.raises(EvidenceError, match=f"'account': got '{CARL}'"):
        statement(1, {ANNA: 1}).proof(CARL)


def test_another_contract_is_refused(town: Town) -> None:
    town.payments.check(town.chain)
    for wrong in (
        replace(town.payments, token=town.registry.address),
        replace(town.payments, address=town.credits.address),
        replace(town.payments, chain_id=1),
    ):
        with pytest.raises(WrongChainError):
            wrong.check(town.chain)
    with pytest.raises(WrongChainError, match="wanted uint256"):
        replace(town.payments, address=ANNA).funds(town.chain, MICROGRID)
