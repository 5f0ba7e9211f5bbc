"""An account whose key a signing service holds: web3signer's JSON-RPC, which go-ethereum's clef and others speak too.

The service is trusted to hold the key and nothing else: what it returns is read back, and must be the transaction that
was asked for, signed by the account.
"""

from __future__ import annotations

from contracts.errors import ChainUnavailableError, SignerUnavailableError, WrongChainError
from contracts.hashing import parse_hex, to_hex
from contracts.json_rpc import JsonRpc
from contracts.transactions import EIP1559_TYPE, Address, Transaction, decode_signed


class RemoteSigner:
    """Signs by ``eth_signTransaction``.

    Parameters
    ----------
    url : str
        http or https.
    address : Address
        The account.
    timeout_s : float
        Longest wait for an answer, seconds.
    """

    def __init__(self, url: str, address: Address, *, timeout_s: float = 10.0) -> None:
        self._rpc = JsonRpc(url, timeout_s=timeout_s)
        self._address = address

    @property
    def address(self) -> Address:
        """The account."""
        return self._address

    def sign(self, transaction: Transaction) -> bytes:
        """Signed bytes.

        Raises
        ------
        SignerUnavailableError
            If the service does not answer, refuses, or returns anything but what was asked for.
        """
        fields = {
            "from": self._address,
            "type": hex(EIP1559_TYPE),
            "chainId": hex(transaction.chain_id),
            "nonce": hex(transaction.nonce),
            "value": "0x0",
            "data": to_hex(transaction.data),
            "gas": hex(transaction.gas),
            "maxFeePerGas": hex(transaction.fees.max_fee_per_gas),
            "maxPriorityFeePerGas": hex(transaction.fees.max_priority_fee_per_gas),
        }
        if transaction.to is not None:
            fields["to"] = transaction.to
        try:
            answer = self._rpc.ask("eth_signTransaction", [fields])
        except ChainUnavailableError as err:
            raise SignerUnavailableError(f"signer {err}") from err
        # web3signer returns the bytes; go-ethereum an object that has them beside the fields.
        stated = answer.get("raw") if isinstance(answer, dict) else answer
        raw = parse_hex(stated.lower()) if isinstance(stated, str) else None
        if raw is None:
            raise SignerUnavailableError(f"signer {self._rpc.host}: got {answer!r:.80}, wanted signed bytes")
        try:
            signed = decode_signed(raw)
        except WrongChainError as err:
            raise SignerUnavailableError(f"signer {self._rpc.host}: {err}") from err
        if (signed.sender, signed.transaction) != (self._address, transaction):
            raise SignerUnavailableError(
                f"signer {self._rpc.host}: got another transaction back, or one of {signed.sender}, wanted what was "
                f"asked for, of {self._address}"
            )
        return raw
