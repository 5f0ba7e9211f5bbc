"""A service that has no validators signs its batches itself: the registry's only validator is then its own key.

What such a registry holds shows that the books were written once and in order. It does not show that anybody but the
service has looked at them.
"""

from typing import Protocol

from contracts.anchoring import AnchorProgress
from contracts.batch import Batch
from contracts.quorum import Domain, Quorum, sign
from contracts.transactions import Address, LocalSigner
from controller.clock import Clock
from controller.store import batches
from controller.store.database import Database
from controller.store.outbox import StoredOutbox

AT_ONCE = 64
"""Most batches of a microgrid that are signed in one go."""


class Moving(Protocol):
    """Moves the outbox on."""

    def run_once(self) -> AnchorProgress:
        """What was done and what waits."""


class SelfAttested:
    """Signs what waits, then moves it on.

    Parameters
    ----------
    moving : moves the outbox on
    key : of the only validator, 32 bytes
    domain : of the registry
    database : holds the batches
    clock : says when a batch was signed
    """

    def __init__(self, moving: Moving, *, key: bytes, domain: Domain, database: Database, clock: Clock) -> None:
        self._moving = moving
        self._key = key
        self._domain = domain
        self._database = database
        self._clock = clock
        self._address = address_of(key)

    def run_once(self) -> AnchorProgress:
        """What was done and what waits.

        Raises
        ------
        AnchorError
            If the chain does not answer, or holds something else.
        """
        for row in StoredOutbox(self._database).waiting(AT_ONCE):
            if isinstance(row.subject, Batch) and self._address not in row.signatures:
                self._database.run(
                    batches.sign,
                    row.subject.microgrid.removeprefix("microgrids/"),
                    row.subject.number,
                    self._address,
                    sign(self._key, self._domain.digest(row.subject.hash)),
                    submitted_by="service",
                    now=int(self._clock.now()),
                )
        return self._moving.run_once()


def only(key: bytes) -> Quorum:
    """The quorum of one validator."""
    return Quorum(epoch=0, threshold=1, validators=(address_of(key),))


def address_of(key: bytes) -> Address:
    """Under which address a key signs."""
    return LocalSigner(key).address
