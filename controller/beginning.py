"""What an anchored chain starts from: kept in ``chain.json`` beside the database, for good."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from contracts.chain import EmbeddedChain, Genesis
from contracts.errors import AnchorError, ChainRefusedError
from contracts.registry import Registry
from contracts.transactions import SignedTransaction, created_address, decode_signed

CHAIN_FILE = "chain.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What an anchored chain starts from, kept for good.

    Attributes
    ----------
    deployment : the signed transaction that deploys the registry with its first validators
    genesis : of the embedded chain; None for one behind a URL
    genesis_hash : of the first block of a chain behind a URL, 32 bytes; None for the embedded one
    """

    deployment: bytes
    genesis: Genesis | None
    genesis_hash: bytes | None

    @property
    def signed(self) -> SignedTransaction:
        """The deployment, read."""
        return decode_signed(self.deployment)

    @property
    def registry(self) -> Registry:
        """The contract that the deployment creates."""
        signed = self.signed
        return Registry(
            chain_id=signed.transaction.chain_id, address=created_address(signed.sender, signed.transaction.nonce)
        )

    def to_json(self) -> dict[str, object]:
        """The fields as JSON spells them."""
        return {
            "deployment": self.deployment.hex(),
            "genesis": None if self.genesis is None else self.genesis.to_json(),
            "genesis_hash": None if self.genesis_hash is None else self.genesis_hash.hex(),
        }


def read_beginning(path: Path) -> Beginning:
    """What was kept in a file.

    Raises
    ------
    AnchorError
        If it cannot be read, or is something else.
    """
    try:
        stated = json.loads(path.read_text("utf-8"))
        genesis, genesis_hash = stated["genesis"], stated.get("genesis_hash")
        beginning = Beginning(
            deployment=bytes.fromhex(stated["deployment"]),
            genesis=None if genesis is None else Genesis.from_json(genesis),
            genesis_hash=None if genesis_hash is None else bytes.fromhex(genesis_hash),
        )
        _ = beginning.registry
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise AnchorError(f"{path}: got {err!r}, wanted what was kept there") from err
    return beginning


def replayed(genesis: Genesis, deployment: bytes, attempts: Iterable[bytes]) -> EmbeddedChain:
    """The embedded chain, made anew.

    Parameters
    ----------
    genesis : its first block
    deployment : the signed transaction that deploys the registry
    attempts : all signed transactions that were ever stored, in any order: each was sent, or will be
    """
    chain = EmbeddedChain(genesis, [deployment])
    for raw in sorted(attempts, key=lambda raw: decode_signed(raw).transaction.nonce):
        try:
            chain.send_raw(raw)
        except ChainRefusedError:
            # It was replaced by another of its number, or never taken: the worker sends what is missing.
            continue
    return chain
