"""A contract that stands on a chain beside the registry: how it is deployed, recognised, asked and called."""

from __future__ import annotations

from dataclasses import dataclass

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError

from contracts.artefact import domain_immutables, load_artefact, selector
from contracts.chain import Chain, ChainState
from contracts.errors import AnchorError, WrongChainError
from contracts.hashing import keccak, to_hex
from contracts.quorum import SIGNATURE_BYTES, Domain
from contracts.transactions import Address, FeePolicy, Signer, Transaction, created_address


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """One deployed contract of a known kind.

    Attributes
    ----------
    chain_id : int
        The chain on which it stands.
    address : Address
        Where it stands.
    """

    chain_id: int
    address: Address

    def call_transaction(self, data: bytes, *, gas: int, nonce: int, fees: FeePolicy) -> Transaction:
        """A transaction, not yet signed, that calls it."""
        return Transaction(chain_id=self.chain_id, nonce=nonce, to=self.address, data=data, gas=gas, fees=fees)

    def ask(self, state: ChainState, data: bytes, types: tuple[str, ...]) -> tuple[object, ...]:
        """What it answers to a call that changes nothing.

        Raises
        ------
        WrongChainError
            If the answer is not of these types: something else stands there.
        """
        answer = state.call(self.address, data)
        try:
            return tuple(decode(types, answer))
        except DecodingError as err:
            wanted = ", ".join(types)
            raise WrongChainError(
                f"contract {self.address}: got an answer of {len(answer)} bytes, wanted {wanted}"
            ) from err

    def ask_number(self, chain: Chain, data: bytes) -> int:
        """What it answers to a question for one number."""
        (number,) = self.ask(chain, data, ("uint256",))
        if not isinstance(number, int):
            raise WrongChainError(f"contract {self.address}: got {number!r}, wanted a number")
        return number

    def check_code(self, chain: Chain, wanted: bytes) -> None:
        """Refuse a chain that is not the contract's, or that has other code than wanted at its address.

        Raises
        ------
        WrongChainError
            If the chain's number or the code differs.
        """
        if (here := chain.chain_id()) != self.chain_id:
            raise WrongChainError(f"got chain {here}, wanted {self.chain_id}")
        if (code := chain.code(self.address)) != wanted:
            got, right = to_hex(keccak(code)), to_hex(keccak(wanted))
            raise WrongChainError(f"contract {self.address}: got code hash {got}, wanted {right}")


def runtime_code(contract: str, domain: Domain, addresses: dict[str, Address]) -> bytes:
    """Code of a deployed contract with its immutable values: those of its domain, and addresses by their names."""
    words = {name: bytes.fromhex(address[2:]).rjust(32, b"\0") for name, address in addresses.items()}
    return load_artefact(contract).code_with({**domain_immutables(domain), **words})


def call_data(name: str, types: tuple[str, ...], *values: object) -> bytes:
    """Data of a call of a function, by its name and the types of its arguments."""
    return selector(f"{name}({','.join(types)})") + encode(types, values)


def quorum_gas(packed: bytes) -> int:
    """Most gas that checking packed signatures takes; three of them take about 30,000."""
    return 20_000 + 9_000 * (len(packed) // SIGNATURE_BYTES)


def deploy_contract(
    chain: Chain,
    signer: Signer,
    contract: str,
    arguments: tuple[Address, ...],
    *,
    gas: int,
    fees: FeePolicy,
) -> tuple[Address, int]:
    """Address of a contract that was just deployed by its artefact, and the gas that took.

    Raises
    ------
    AnchorError
        If the chain does not include the deployment at once, or reverts it.
    """
    nonce = chain.nonce(signer.address)
    data = load_artefact(contract).creation_code + encode(("address",) * len(arguments), arguments)
    receipt = chain.receipt(
        chain.send_raw(
            signer.sign(Transaction(chain_id=chain.chain_id(), nonce=nonce, to=None, data=data, gas=gas, fees=fees))
        )
    )
    if receipt is None or not receipt.succeeded:
        raise AnchorError(f"deployment of {contract}: got {receipt}, wanted one that is included and succeeded")
    return created_address(signer.address, nonce), receipt.gas_used
