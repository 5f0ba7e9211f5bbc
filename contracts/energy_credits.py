"""The contract `EnergyCredits`: tokens for energy that was produced locally, one unit for each certified Wh."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.batch import Batch, microgrid_key
from contracts.chain import Chain
from contracts.contract import call_data, deploy_contract, quorum_gas, runtime_code
from contracts.errors import EvidenceError
from contracts.hashing import hash_values, keccak
from contracts.quorum import Domain
from contracts.registry import Registry
from contracts.token import Token
from contracts.transactions import Address, FeePolicy, Signer, Transaction

CONTRACT = "EnergyCredits"
"""Name of its artefact."""

MAX_ENERGY_WH = 10**18
"""As much a certificate may say."""

_MINT_TYPE = b"Mint(bytes32 microgrid,uint64 number,bytes32 batchHash,address account,uint256 energyWh)"
_MINT_ARGUMENTS = ("bytes32", "uint64", "address", "uint256", "bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What validators certify of a batch: energy produced locally in its windows, and whose credits it is.

    Attributes
    ----------
    batch : Batch
        A batch that the registry holds.
    account : Address
        Whose the credits are: the community's, so that the chain does not tell what a household produced.
    energy_wh : int
        Wh, 0 to `MAX_ENERGY_WH`.

    Raises
    ------
    EvidenceError
        If the energy is out of bounds.
    """

    batch: Batch
    account: Address
    energy_wh: int

    def __post_init__(self) -> None:
        if not 0 <= self.energy_wh <= MAX_ENERGY_WH:
            raise EvidenceError(f"0 to {MAX_ENERGY_WH}", got=self.energy_wh, field="energy_wh")

    @property
    def hash(self) -> bytes:
        """EIP-712 struct hash that validators sign, 32 bytes."""
        return hash_values(
            ("bytes32", "bytes32", "uint64", "bytes32", "address", "uint256"),
            (
                keccak(_MINT_TYPE),
                microgrid_key(self.batch.microgrid),
                self.batch.number,
                self.batch.hash,
                self.account,
                self.energy_wh,
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyCredits(Token):
    """The deployed contract.

    Attributes
    ----------
    registry : Address
        The registry whose batches and validators count.
    """

    registry: Address

    @property
    def domain(self) -> Domain:
        """For what validators sign."""
        return Domain(chain_id=self.chain_id, contract=self.address, name="GridpactEnergyCredits")

    def check(self, chain: Chain) -> None:
        """Refuse a chain that is not the contract's, or that has other code at its address.

        Raises
        ------
        WrongChainError
            If the chain's number or the code differs.
        """
        self.check_code(chain, runtime_code(CONTRACT, self.domain, {"registry": self.registry}))

    def minted(self, chain: Chain, microgrid: str, number: int) -> bool:
        """Whether credits were minted for a batch."""
        data = call_data("minted", ("bytes32", "uint64"), microgrid_key(microgrid), number)
        return self.ask_number(chain, data) == 1

    def mint_transaction(self, certificate: Certificate, packed: bytes, *, nonce: int, fees: FeePolicy) -> Transaction:
        """The transaction, not yet signed, that mints a batch's credits with the validators' packed signatures."""
        batch = certificate.batch
        data = call_data(
            "mint",
            _MINT_ARGUMENTS,
            microgrid_key(batch.microgrid),
            batch.number,
            certificate.account,
            certificate.energy_wh,
            packed,
        )
        return self.call_transaction(data, gas=150_000 + quorum_gas(packed), nonce=nonce, fees=fees)

    def burn_transaction(self, energy_wh: int, *, nonce: int, fees: FeePolicy) -> Transaction:
        """The transaction, not yet signed, that uses up so many of the sender's credits, Wh."""
        return self.call_transaction(call_data("burn", ("uint256",), energy_wh), gas=100_000, nonce=nonce, fees=fees)


def deploy_credits(
    chain: Chain, signer: Signer, registry: Registry, *, fees: FeePolicy | None = None
) -> tuple[EnergyCredits, int]:
    """The contract, deployed by anybody on a chain that includes transactions at once, and the gas that took."""
    address, gas = deploy_contract(
        chain,
        signer,
        CONTRACT,
        (registry.address,),
        gas=2_500_000,
        fees=FeePolicy() if fees is None else fees,
    )
    made = EnergyCredits(chain_id=registry.chain_id, address=address, registry=registry.address)
    made.check(chain)
    return made, gas
