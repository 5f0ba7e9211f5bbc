"""The demonstration's validators: five, three of whom have to sign what is anchored.

Each fetches everything itself and keeps a journal of its own. As all five are in one process, what one of them has
computed again counts for the others where they were given the very same.
"""

from collections.abc import Sequence
from pathlib import Path

import grpc

from contracts.hashing import keccak
from contracts.quorum import Quorum
from contracts.transactions import LocalSigner
from controller.access import Role
from controller.demo.clients import Dialer
from controller.services.validator_client import CHANNEL_OPTIONS, ServiceClient
from controller.validating.evidence import SealedRun, WindowEvidence
from controller.validating.journal import SigningJournal
from controller.validating.window import Checked, check_window
from controller.validator import Validator

COUNT, THRESHOLD = 5, 3


def keys_of(secret: bytes) -> tuple[bytes, ...]:
    """The validators' private keys."""
    return tuple(keccak(secret + f" validator {number}".encode()) for number in range(COUNT))


def quorum_of(secret: bytes) -> Quorum:
    """The registry's first validators."""
    addresses = sorted(LocalSigner(key).address for key in keys_of(secret))
    return Quorum(epoch=0, threshold=THRESHOLD, validators=tuple(addresses))


class SharedCheck:
    """Computes a window again, once for all who ask with the very same."""

    def __init__(self) -> None:
        self._asked: tuple[WindowEvidence, bytes, tuple[SealedRun, ...]] | None = None
        self._checked: Checked | None = None

    def __call__(self, evidence: WindowEvidence, *, previous: bytes, before: Sequence[SealedRun] = ()) -> Checked:
        """As ``check_window``."""
        asked = evidence, previous, tuple(before)
        if self._checked is None or self._asked != asked:
            self._checked = check_window(evidence, previous=previous, before=before)
            self._asked = asked
        return self._checked


class DemoValidators:
    """The five, each with a connection and a journal of its own.

    Parameters
    ----------
    dialer : opens the connections
    microgrid : resource name
    secret : their keys follow from it
    folder : for their journals
    """

    def __init__(self, dialer: Dialer, microgrid: str, secret: bytes, folder: Path) -> None:
        self._channels: list[grpc.Channel] = []
        self._journals: list[SigningJournal] = []
        self._validators: list[Validator] = []
        check = SharedCheck()
        for number, key in enumerate(keys_of(secret)):
            channel = dialer.blocking_channel(Role.VALIDATOR, f"validator-{number}", CHANNEL_OPTIONS)
            journal = SigningJournal(folder / f"validator-{number}")
            self._channels.append(channel)
            self._journals.append(journal)
            self._validators.append(Validator(ServiceClient(channel, microgrid), microgrid, key, journal, check=check))

    def turn(self) -> int:
        """Let each sign what is new; returns how many signatures were given.

        Raises
        ------
        DoubtError
            With the first thing that is wrong.
        ControllerError
            If the service does not answer.
        """
        return sum(len(list(validator.turn())) for validator in self._validators)

    def close(self) -> None:
        """Let connections and journals go."""
        for channel in self._channels:
            channel.close()
        for journal in self._journals:
            journal.close()
