"""Which chain the books are anchored on: none, one in this process, or one behind a URL.

A chain and its registry are made ready at the first anchor, not at the start: rebuilding the embedded chain takes about
40 ms for each anchor that there ever was, and nobody waits for it. What it starts from is kept in ``chain.json``
beside the database, so that a restart finds the same contract.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from contracts.anchoring import Anchorer, AnchorProgress
from contracts.chain import Chain, EmbeddedChain, Genesis
from contracts.errors import AnchorError, ChainUnavailableError
from contracts.hashing import keccak
from contracts.operator_registry import Registry, sign_deployment
from contracts.rpc_chain import RpcChain
from contracts.transactions import FeePolicy, LocalSigner, Signer, created_address, decode_signed
from controller.data_folder import keep
from controller.errors import InputError
from controller.store.database import Database
from controller.store.evidence import StoredOutbox, anchors

CHAIN_ID = 61_337
CHAIN_GAS_LIMIT = 30_000_000
FUNDS_WEI = 10**24
"""For more anchors than a century has quarter-hours."""
KEY_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What an anchored chain starts from, kept for good.

    Attributes
    ----------
    deployment : the signed transaction that deploys the registry
    genesis : of the embedded chain; None for one behind a URL
    """

    deployment: bytes
    genesis: Genesis | None

    def to_json(self) -> dict[str, object]:
        """The fields as JSON spells them."""
        return {
            "deployment": self.deployment.hex(),
            "genesis": None if self.genesis is None else self.genesis.to_json(),
        }


class ChainAnchors:
    """Anchors on a chain that is made ready when it is first needed.

    Parameters
    ----------
    path : where the chain's beginning is kept
    signer : who anchors
    database : holds the outbox
    begin : makes the beginning where none is kept; called once in the life of a data folder
    connect : the chain, given its beginning
    """

    def __init__(
        self,
        path: Path,
        signer: Signer,
        database: Database,
        *,
        begin: Callable[[], Beginning],
        connect: Callable[[Beginning], Chain],
    ) -> None:
        self._path = path
        self._signer = signer
        self._database = database
        self._begin = begin
        self._connect = connect
        self._ready: Anchorer | None = None

    def run_once(self) -> AnchorProgress:
        """How many anchors are done and how many wait.

        Raises
        ------
        AnchorError
            If the chain does not answer, holds something else, or has not included the registry yet.
        """
        if self._ready is None:
            self._ready = self._prepare()
        return self._ready.run_once()

    def _prepare(self) -> Anchorer:
        beginning = self._kept()
        chain = self._connect(beginning)
        deployed = decode_signed(beginning.deployment)
        if deployed.sender != self._signer.address:
            raise AnchorError(
                f"{self._path}: got a contract of {deployed.sender}, wanted one of {self._signer.address}"
            )
        address = created_address(deployed.sender, deployed.transaction.nonce)
        if not chain.code(address):
            # Sent again at each try until it is included: a second sending has no effect.
            chain.send_raw(beginning.deployment)
        if not chain.code(address):
            raise ChainUnavailableError(f"contract {address}: got no code yet, wanted its deployment in a block")
        registry = Registry(chain_id=deployed.transaction.chain_id, address=address, operator=self._signer.address)
        return Anchorer(chain, registry, self._signer, StoredOutbox(self._database))

    def _kept(self) -> Beginning:
        try:
            if not self._path.exists():
                beginning = self._begin()
                keep(self._path, json.dumps(beginning.to_json(), sort_keys=True).encode())
                return beginning
            stated = json.loads(self._path.read_text("utf-8"))
            genesis = stated["genesis"]
            return Beginning(
                deployment=bytes.fromhex(stated["deployment"]),
                genesis=None if genesis is None else Genesis.from_json(genesis),
            )
        except (OSError, ValueError, KeyError, TypeError) as err:
            raise AnchorError(f"{self._path}: got {err!r}, wanted what was kept there") from err


def embedded(folder: Path, secret: bytes, database: Database, *, now: int) -> ChainAnchors:
    """Anchors on a chain in this process, rebuilt from the transactions that the database holds.

    Parameters
    ----------
    folder : where the chain's beginning is kept
    secret : of the folder; the anchoring key follows from it
    database : holds the outbox
    now : Unix seconds, of the first block
    """
    signer = LocalSigner(keccak(secret + b" chain operator"))

    def begin() -> Beginning:
        genesis = Genesis(
            chain_id=CHAIN_ID, timestamp=now, gas_limit=CHAIN_GAS_LIMIT, balances={signer.address: FUNDS_WEI}
        )
        raw, _ = sign_deployment(signer, chain_id=CHAIN_ID, nonce=0, fees=FeePolicy())
        return Beginning(deployment=raw, genesis=genesis)

    def connect(beginning: Beginning) -> Chain:
        if beginning.genesis is None:
            raise AnchorError("chain.json: got a chain behind a URL, wanted an embedded one: anchoring.mode changed")
        return EmbeddedChain(beginning.genesis, [beginning.deployment, *database.read(_sent)])

    return ChainAnchors(folder / "chain.json", signer, database, begin=begin, connect=connect)


def behind(url: str, key: bytes, folder: Path, database: Database) -> ChainAnchors:
    """Anchors on the chain behind a URL, whose registry is deployed at the first anchor.

    Parameters
    ----------
    url : JSON-RPC
    key : private key of who anchors, 32 bytes
    folder : where the deployment is kept
    database : holds the outbox
    """
    signer, chain = LocalSigner(key), RpcChain(url)

    def begin() -> Beginning:
        raw, _ = sign_deployment(signer, chain_id=chain.chain_id(), nonce=chain.nonce(signer.address), fees=FeePolicy())
        return Beginning(deployment=raw, genesis=None)

    def connect(beginning: Beginning) -> Chain:
        if beginning.genesis is not None:
            raise AnchorError("chain.json: got an embedded chain, wanted one behind a URL: anchoring.mode changed")
        return chain

    return ChainAnchors(folder / "chain.json", signer, database, begin=begin, connect=connect)


def read_key(path: Path) -> bytes:
    """The private key in a file.

    Raises
    ------
    InputError
        If it cannot be read, others can read it, or it holds no key. Nothing of the key is said.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise InputError(f"anchoring.key_file: {path}: others can read this key, which spends money; chmod 600")
        text = path.read_text("ascii").strip().removeprefix("0x")
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"anchoring.key_file: {path}: cannot be read") from err
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise InputError(f"anchoring.key_file: {path}: got no key, wanted 0x and 64 digits")
    return key


def _sent(connection: Connection) -> Sequence[bytes]:
    """All signed anchors in the order of their nonces: each was sent, or will be."""
    signed = [row.raw_transaction for row in anchors(connection) if row.raw_transaction is not None]
    return sorted(signed, key=lambda raw: decode_signed(raw).transaction.nonce)
