"""A validator: follows a microgrid's batches, computes every window in them again, and signs those that are right.

It trusts nobody for what can be computed: see ``validating``. It signs each number once, for one registry, whatever it
is told later, and says of every batch what it had to take as it was stated.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from contracts.batch import GENESIS_BATCH, Batch
from contracts.errors import ContractsError
from contracts.header import GENESIS_PREVIOUS, WindowHeader
from contracts.quorum import Domain, sign
from contracts.transactions import Address, LocalSigner
from controller.registry_identity import RegistryIdentity
from controller.validating.evidence import DoubtError, SealedRun, WindowEvidence
from controller.validating.journal import SignedBatch, SigningJournal
from controller.validating.window import Checked, check_window
from controller.wire.validation import ListedBatch

AT_ONCE = 20
"""Batches that are asked for at a time."""


class Service(Protocol):
    """What a validator asks of the service. Each method raises ``ControllerError`` where there is no answer."""

    def registry(self) -> RegistryIdentity:
        """The registry that the service anchors in, as it says."""

    def batches(self, first: int, count: int) -> Sequence[ListedBatch]:
        """The first batches from a number on, in their order."""

    def evidence(self, window: str, run: int) -> WindowEvidence:
        """What a run of a window was decided on and settled with."""

    def submit(self, number: int, batch_hash: bytes, signature: bytes) -> None:
        """Hand in a signature; the same again changes nothing."""


class Check(Protocol):
    """Computes a window again: ``check_window``, or what does as it does."""

    def __call__(self, evidence: WindowEvidence, *, previous: bytes, before: Sequence[SealedRun] = ()) -> Checked:
        """What was taken as it was stated; raises ``DoubtError`` where something is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """A batch that was signed.

    Attributes
    ----------
    number, hash : of the batch
    windows : what was computed again, and what was taken as it was stated
    """

    number: int
    hash: bytes
    windows: tuple[Checked, ...]


class Validator:
    """Signs the batches of one microgrid.

    Parameters
    ----------
    service : who settles and anchors
    microgrid : resource name
    key : the validator's private key, 32 bytes
    journal : what it signed before
    domain : the registry that it signs for; None for the first that the service names, and no other ever after
    first : number of the first batch that it signs; those before are taken over as they stand, in their order
    check : computes a window again
    """

    def __init__(
        self,
        service: Service,
        microgrid: str,
        key: bytes,
        journal: SigningJournal,
        *,
        domain: Domain | None = None,
        first: int = 0,
        check: Check = check_window,
    ) -> None:
        self._service = service
        self._microgrid = microgrid
        self._key = key
        self._journal = journal
        self._domain = domain
        self._first = first
        self._check = check
        self.address: Address = LocalSigner(key).address

    def turn(self) -> Iterator[Signing]:
        """Each batch that is new, once it was found right and signed.

        Raises
        ------
        DoubtError
            With the first thing that is wrong; nothing was signed from there on.
        ControllerError
            If the service does not answer, or does not take a signature.
        """
        domain = self._checked_domain()
        while True:
            newest = self._journal.newest(self._microgrid)
            listed = self._service.batches(0 if newest is None else newest.number, AT_ONCE)
            if newest is not None and listed and listed[0].number == newest.number:
                self._hand_in_again(domain, listed[0], newest)
                listed = listed[1:]
            if not listed:
                return
            for batch in listed:
                if batch.number < self._first:
                    self._take_over(batch)
                else:
                    yield self._sign(domain, batch)

    def _checked_domain(self) -> Domain:
        """The registry to sign for, which has to be the service's too."""
        known = self._service.registry()
        wanted = self._domain if self._journal.domain is None else self._journal.domain
        if self._domain is not None and wanted != self._domain:
            raise DoubtError(f"registry: got {_text(self._domain)}, signed for {_text(wanted or self._domain)} before")
        if wanted is not None and known.domain != wanted:
            raise DoubtError(f"registry: got {_text(known.domain)} from the service, wanted {_text(wanted)}")
        if self.address not in known.quorum.validators:
            count = len(known.quorum.validators)
            raise DoubtError(f"validators: got {count} of epoch {known.quorum.epoch} without {self.address}")
        self._journal.pin(known.domain)
        return known.domain

    def _hand_in_again(self, domain: Domain, listed: ListedBatch, newest: SignedBatch) -> None:
        """What was signed and perhaps not handed in before the last end."""
        if listed.hash.hex() != newest.hash:
            raise DoubtError(f"batch {newest.number}: got 0x{listed.hash.hex()}, signed 0x{newest.hash} before")
        if newest.signed and self.address not in listed.signers:
            self._service.submit(newest.number, listed.hash, sign(self._key, domain.digest(listed.hash)))

    def _take_over(self, listed: ListedBatch) -> None:
        """Note a batch that others have signed."""
        newest = self._journal.newest(self._microgrid)
        batch, last = _rebuilt(self._microgrid, listed, newest), _last_header(newest)
        for header in listed.headers:
            _check_link(listed, header, last)
            last = header.hash
        self._journal.sign(_noted(batch, last, map(SealedRun.of, listed.headers), signed=False))

    def _sign(self, domain: Domain, listed: ListedBatch) -> Signing:
        newest = self._journal.newest(self._microgrid)
        batch, last = _rebuilt(self._microgrid, listed, newest), _last_header(newest)
        windows: list[Checked] = []
        runs: list[SealedRun] = []
        for header in listed.headers:
            _check_link(listed, header, last)
            evidence = self._service.evidence(header.window, header.run)
            if evidence.header != header:
                raise DoubtError(f"{header.window} run {header.run}: got another header than in batch {listed.number}")
            self._journal.know(self._microgrid, evidence.keys)
            before = [*self._journal.runs(header.window), *(run for run in runs if run.window == header.window)]
            windows.append(self._check(evidence, previous=last, before=before))
            runs.append(SealedRun.of(header))
            last = header.hash
        self._journal.sign(_noted(batch, last, runs))
        self._service.submit(batch.number, batch.hash, sign(self._key, domain.digest(batch.hash)))
        return Signing(number=batch.number, hash=batch.hash, windows=tuple(windows))


def _last_header(newest: SignedBatch | None) -> bytes:
    return GENESIS_PREVIOUS if newest is None else bytes.fromhex(newest.last_header)


def _check_link(listed: ListedBatch, header: WindowHeader, last: bytes) -> None:
    if header.previous != last:
        got = f"0x{header.previous.hex()} before {header.window} run {header.run}"
        raise DoubtError(f"batch {listed.number}: got header {got}, wanted 0x{last.hex()}")


def _noted(batch: Batch, last_header: bytes, runs: Iterable[SealedRun], *, signed: bool = True) -> SignedBatch:
    return SignedBatch(
        microgrid=batch.microgrid,
        number=batch.number,
        hash=batch.hash.hex(),
        next_position=batch.first + len(batch.headers),
        last_header=last_header.hex(),
        runs=tuple(runs),
        signed=signed,
    )


def _rebuilt(microgrid: str, listed: ListedBatch, newest: SignedBatch | None) -> Batch:
    """The batch that follows the last one that was signed, of the headers that are listed."""
    number, first, previous = (
        (0, 0, GENESIS_BATCH)
        if newest is None
        else (newest.number + 1, newest.next_position, bytes.fromhex(newest.hash))
    )
    what = f"batch {listed.number}"
    if (listed.number, listed.first, listed.previous) != (number, first, previous):
        got = f"number {listed.number} from header {listed.first} on after 0x{listed.previous.hex()}"
        raise DoubtError(f"{what}: got {got}, wanted {number} from header {first} on after 0x{previous.hex()}")
    for header in listed.headers:
        if header.microgrid != microgrid:
            raise DoubtError(f"{what}: got a header of {header.microgrid}, wanted one of {microgrid}")
    try:
        batch = Batch(
            microgrid=microgrid,
            number=number,
            previous=previous,
            first=first,
            headers=tuple(header.hash for header in listed.headers),
        )
    except ContractsError as err:
        raise DoubtError(f"{what}: {err}") from err
    if batch.hash != listed.hash:
        raise DoubtError(f"{what}: got hash 0x{listed.hash.hex()}, its headers give 0x{batch.hash.hex()}")
    return batch


def _text(domain: Domain) -> str:
    return f"contract {domain.contract} on chain {domain.chain_id}"
