"""Which chain the books are anchored on: none, one in this process, or one behind a URL.

A chain and its registry are made ready at the first anchor, not at the start: rebuilding the embedded chain takes about
50 ms for each anchor that there ever was, and nobody waits for it. What it starts from is kept in ``chain.json``
beside the database, so that a restart finds the same contract.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from secrets import token_hex

from contracts.anchoring import Anchorer, AnchorProgress
from contracts.chain import Chain, Genesis
from contracts.errors import AnchorError, ChainRefusedError, ChainUnavailableError, WrongChainError
from contracts.hashing import keccak, to_hex
from contracts.quorum import Quorum
from contracts.registry import quorum_of_deployment, sign_deployment
from contracts.rpc_chain import RpcChain
from contracts.sending import Sending
from contracts.transactions import FeePolicy, LocalSigner, Signer
from controller.attesting import Moving, SelfAttested, address_of, only
from controller.beginning import CHAIN_FILE, Beginning, read_beginning, replayed
from controller.clock import Clock
from controller.data_folder import keep
from controller.errors import InputError
from controller.registry_identity import RegistryIdentity
from controller.store import quorums
from controller.store.database import Database
from controller.store.outbox import StoredOutbox, all_attempts

CHAIN_ID = 61_337
CHAIN_GAS_LIMIT = 30_000_000
FUNDS_WEI = 10**24
"""For more anchors than a century has quarter-hours."""
KEY_BYTES = 32


class ChainAnchors:
    """Anchors on a chain that is made ready when it is first needed.

    Parameters
    ----------
    path : where the chain's beginning is kept
    signer : who pays
    database : holds the outbox
    clock : the real time
    begin : makes the beginning where none is kept; called once in the life of a data folder
    connect : the chain, given its beginning
    own_key : of the service as a validator, which signs where the registry was deployed with it; None signs nothing
    sending : how transactions are sent
    holder : of the account's lease; None draws a new name, so that another service with the same key is waited for
    """

    def __init__(
        self,
        path: Path,
        signer: Signer,
        database: Database,
        *,
        clock: Clock,
        begin: Callable[[], Beginning],
        connect: Callable[[Beginning], Chain],
        own_key: bytes | None = None,
        sending: Sending | None = None,
        holder: str | None = None,
    ) -> None:
        self._path = path
        self._signer = signer
        self._database = database
        self._clock = clock
        self._begin = begin
        self._connect = connect
        self._own_key = own_key
        self._sending = Sending() if sending is None else sending
        self._holder = token_hex(8) if holder is None else holder
        self._ready: Moving | None = None
        self._known: RegistryIdentity | None = None

    def known(self) -> RegistryIdentity | None:
        """The registry and who may sign for it, as of the last look; None before the first."""
        return self._known

    def run_once(self) -> AnchorProgress:
        """How many anchors are done and how many wait.

        Raises
        ------
        AnchorError
            If the chain does not answer, holds something else, or has not included the registry yet.
        """
        if self._ready is None:
            beginning = self._kept()
            # Validators may sign before the chain answers: where the registry will stand is known.
            self._identify(beginning)
            self._ready = self._prepare(beginning)
        progress = self._ready.run_once()
        self._identify(self._kept())
        return progress

    def _identify(self, beginning: Beginning) -> None:
        first = quorum_of_deployment(beginning.signed.transaction)
        appointed = self._database.read(quorums.in_force)
        quorum = first if appointed is None else appointed
        if quorum is not None:
            self._known = RegistryIdentity(
                domain=beginning.registry.domain,
                genesis=beginning.genesis_hash,
                quorum=quorum,
                self_attested=self._own_key is not None and quorum.validators == (address_of(self._own_key),),
            )

    def _prepare(self, beginning: Beginning) -> Moving:
        chain = self._connect(beginning)
        registry = beginning.registry
        genesis = beginning.genesis_hash or chain.block_hash(0)
        if genesis is None:
            raise ChainUnavailableError("got no first block, wanted one")
        if not chain.code(registry.address):
            self._deploy(chain, beginning)
        moving = Anchorer(
            chain,
            registry,
            genesis_hash=genesis,
            signer=self._signer,
            outbox=StoredOutbox(self._database),
            clock=self._clock.now,
            holder=self._holder,
            sending=self._sending,
        )
        first = quorum_of_deployment(beginning.signed.transaction)
        if self._own_key is None or first is None or address_of(self._own_key) not in first.validators:
            return moving
        return SelfAttested(
            moving, key=self._own_key, domain=registry.domain, database=self._database, clock=self._clock
        )

    def _deploy(self, chain: Chain, beginning: Beginning) -> None:
        """Send the deployment, again at each try until it is included: a second sending has no effect."""
        signed, address = beginning.signed, beginning.registry.address
        first = chain.block_hash(0)
        if beginning.genesis_hash is not None and first != beginning.genesis_hash:
            got = "none" if first is None else to_hex(first)
            raise WrongChainError(f"genesis block: got {got}, wanted {to_hex(beginning.genesis_hash)}")
        if chain.nonce(signed.sender) > signed.transaction.nonce:
            raise AnchorError(
                f"contract {address}: got no code, though {signed.sender} has used nonce {signed.transaction.nonce}: "
                f"its deployment failed; remove {self._path} to deploy another"
            )
        beginning = self._raised(chain, beginning)
        try:
            chain.send_raw(beginning.deployment)
        except ChainRefusedError as err:
            # A node that has it already refuses it too: what counts is whether it was included.
            raise ChainUnavailableError(f"contract {address}: its deployment waits: {err}") from err
        if not chain.code(address):
            raise ChainUnavailableError(f"contract {address}: got no code yet, wanted its deployment in a block")

    def _raised(self, chain: Chain, beginning: Beginning) -> Beginning:
        """The deployment, with higher fees where the chain asks for more: the contract's address stays the same."""
        transaction, base_fee = beginning.signed.transaction, chain.head().base_fee
        if beginning.signed.sender != self._signer.address or base_fee <= transaction.fees.max_fee_per_gas:
            return beginning
        fees = self._sending.fees.replacement(transaction.fees, base_fee)
        if fees is None:
            raise ChainUnavailableError(
                f"deployment: got a base fee of {base_fee} wei, wanted room under {self._sending.fees.cap}"
            )
        raised = replace(beginning, deployment=self._signer.sign(replace(transaction, fees=fees)))
        keep(self._path, json.dumps(raised.to_json(), sort_keys=True).encode())
        return raised

    def _kept(self) -> Beginning:
        try:
            if not self._path.exists():
                beginning = self._begin()
                keep(self._path, json.dumps(beginning.to_json(), sort_keys=True).encode())
                return beginning
            beginning = read_beginning(self._path)
        except OSError as err:
            raise AnchorError(f"{self._path}: got {err!r}, wanted what was kept there") from err
        if quorum_of_deployment(beginning.signed.transaction) is None:
            # Of a version that anchored each window by itself: its contract takes no batches.
            self._path.rename(self._path.with_suffix(".json.windows"))
            return self._kept()
        return beginning


def embedded(
    folder: Path, secret: bytes, database: Database, *, clock: Clock, quorum: Quorum | None = None
) -> ChainAnchors:
    """Anchors on a chain in this process, rebuilt from the transactions that the database holds.

    Parameters
    ----------
    folder : where the chain's beginning is kept
    secret : of the folder; the account's key and that of the service as a validator follow from it
    database : holds the outbox
    clock : the real time
    quorum : the registry's first validators; None for the service alone
    """
    signer = LocalSigner(keccak(secret + b" chain operator"))

    def begin() -> Beginning:
        genesis = Genesis(
            chain_id=CHAIN_ID,
            timestamp=int(clock.now()),
            gas_limit=CHAIN_GAS_LIMIT,
            balances={signer.address: FUNDS_WEI},
        )
        first = only(own_key(secret)) if quorum is None else quorum
        raw, _ = sign_deployment(signer, first, chain_id=CHAIN_ID, nonce=0, fees=FeePolicy())
        return Beginning(deployment=raw, genesis=genesis, genesis_hash=None)

    def connect(beginning: Beginning) -> Chain:
        if beginning.genesis is None:
            raise AnchorError("chain.json: got a chain behind a URL, wanted an embedded one: anchoring.mode changed")
        if (sender := beginning.signed.sender) != signer.address:
            raise AnchorError(f"chain.json: got a contract of {sender}, wanted one of {signer.address}")
        return replayed(beginning.genesis, beginning.deployment, database.read(all_attempts))

    return ChainAnchors(
        folder / CHAIN_FILE,
        signer,
        database,
        clock=clock,
        begin=begin,
        connect=connect,
        own_key=own_key(secret),
        # The folder is this service's alone, and so is the chain: after a restart nobody else has to be waited for.
        holder="embedded",
    )


def behind(
    chain: RpcChain,
    signer: Signer,
    folder: Path,
    database: Database,
    *,
    clock: Clock,
    secret: bytes,
    quorum: Quorum | None = None,
    sending: Sending | None = None,
) -> ChainAnchors:
    """Anchors on the chain behind a URL, whose registry is deployed at the first anchor.

    Parameters
    ----------
    chain : the chain
    signer : who pays
    folder : where the deployment is kept
    database : holds the outbox
    clock : the real time
    secret : of the folder; the key of the service as a validator follows from it
    quorum : the registry's first validators; None for the service alone
    sending : how transactions are sent
    """
    rules = (Sending() if sending is None else sending).fees

    def begin() -> Beginning:
        if (genesis := chain.block_hash(0)) is None:
            raise ChainUnavailableError("got no first block, wanted one")
        base_fee = chain.head().base_fee
        if (fees := rules.first(base_fee)) is None:
            raise ChainUnavailableError(f"got a base fee of {base_fee} wei, wanted room for a tip under {rules.cap}")
        first = only(own_key(secret)) if quorum is None else quorum
        raw, _ = sign_deployment(signer, first, chain_id=chain.chain_id(), nonce=chain.nonce(signer.address), fees=fees)
        return Beginning(deployment=raw, genesis=None, genesis_hash=genesis)

    def connect(beginning: Beginning) -> Chain:
        if beginning.genesis is not None:
            raise AnchorError("chain.json: got an embedded chain, wanted one behind a URL: anchoring.mode changed")
        return chain

    return ChainAnchors(
        folder / CHAIN_FILE,
        signer,
        database,
        clock=clock,
        begin=begin,
        connect=connect,
        own_key=own_key(secret),
        sending=sending,
    )


def own_key(secret: bytes) -> bytes:
    """The key of a service as a validator, 32 bytes."""
    return keccak(secret + b" validator")


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
