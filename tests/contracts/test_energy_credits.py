"""The contract `EnergyCredits` on an embedded chain; every refusal by its name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from contracts.chain import EmbeddedChain, Genesis
from contracts.energy_credits import Certificate, EnergyCredits, deploy_credits
from contracts.errors import EvidenceError, WrongChainError
from contracts.registry import Registry, deploy
from contracts.transactions import LocalSigner
from tests.contracts.validators import MICROGRID, Account, address_of, forgetting, make_batches, packed, quorum_of

FIRST, SECOND = make_batches(1, 2)


@pytest.fixture(scope="module")
def _founded() -> tuple[Account, Registry, EnergyCredits]:
    signer = LocalSigner(b"\x01" * 32)
    chain = EmbeddedChain(
        Genesis(chain_id=31337, timestamp=1476849600, gas_limit=30_000_000, balances={signer.address: 10**18})
    )
    account = Account(chain, signer)
    registry = deploy(chain, signer, quorum_of()).registry
    assert account.send(registry.anchor_transaction, FIRST, packed(registry.domain, FIRST.hash))
    return account, registry, deploy_credits(chain, signer, registry)[0]


@pytest.fixture
def owner(_founded: tuple[Account, Registry, EnergyCredits]) -> Iterator[Account]:
    """Somebody on a chain that forgets afterwards what a test did."""
    with forgetting(_founded[0].chain):
        yield _founded[0]


@pytest.fixture
def registry(_founded: tuple[Account, Registry, EnergyCredits]) -> Registry:
    return _founded[1]


@pytest.fixture
def credits_(_founded: tuple[Account, Registry, EnergyCredits]) -> EnergyCredits:
    return _founded[2]


def test_credits_are_minted_once_passed_on_and_burned(owner: Account, credits_: EnergyCredits) -> None:
    chain, me, other = owner.chain, owner.signer.address, address_of(9)
    certificate = Certificate(batch=FIRST, account=me, energy_wh=1500)
    signed = packed(credits_.domain, certificate.hash)
    assert not credits_.minted(chain, MICROGRID, 0)
    assert owner.send(credits_.mint_transaction, certificate, signed)
    assert credits_.minted(chain, MICROGRID, 0)
    said = owner.refusal(credits_.mint_transaction, certificate, signed, contract="EnergyCredits")
    assert said.startswith("AlreadyMinted")
    assert owner.send(credits_.transfer_transaction, other, 400)
    assert owner.send(credits_.burn_transaction, 100)
    assert (credits_.balance(chain, me), credits_.balance(chain, other), credits_.supply(chain)) == (1000, 400, 1400)
    assert not owner.send(credits_.burn_transaction, 1001)


def test_a_batch_that_is_not_held_has_no_credits(owner: Account, credits_: EnergyCredits) -> None:
    certificate = Certificate(batch=SECOND, account=owner.signer.address, energy_wh=1)
    signed = packed(credits_.domain, certificate.hash)
    said = owner.refusal(credits_.mint_transaction, certificate, signed, contract="EnergyCredits")
    assert said.startswith("NotAnchored")


def test_credits_other_than_certified_are_refused(owner: Account, credits_: EnergyCredits, registry: Registry) -> None:
    certificate = Certificate(batch=FIRST, account=owner.signer.address, energy_wh=1500)
    signed = packed(credits_.domain, certificate.hash)
    for made_up in (replace(certificate, energy_wh=1501), replace(certificate, account=address_of(9))):
        assert not owner.send(credits_.mint_transaction, made_up, signed)
    assert not owner.send(credits_.mint_transaction, certificate, packed(registry.domain, certificate.hash))
    few = packed(credits_.domain, certificate.hash, quorum_of(threshold=2))
    assert owner.refusal(credits_.mint_transaction, certificate, few) == "TooFewSignatures: got 2, wanted 3"
    assert credits_.supply(owner.chain) == 0


@pytest.mark.parametrize("energy_wh", [-1, 10**18 + 1])
def test_energy_out_of_bounds_is_refused(energy_wh: int) -> None:
    with pytest.raises(EvidenceError, match="energy_wh"):
        Certificate(batch=FIRST, account=address_of(9), energy_wh=energy_wh)


def test_another_contract_is_refused(owner: Account, credits_: EnergyCredits, registry: Registry) -> None:
    with pytest.raises(WrongChainError, match="code hash"):
        replace(credits_, registry=credits_.address).check(owner.chain)
    with pytest.raises(WrongChainError, match="code hash"):
        replace(credits_, address=registry.address).check(owner.chain)
