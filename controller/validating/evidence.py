"""What a validator gets of a window, as values."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.books import WindowBooks
from contracts.header import WindowHeader
from controller.errors import ControllerError
from controller.snapshot import Snapshot
from controller.uplifts import Uplift


class DoubtError(ControllerError):
    """Something in a window's evidence does not follow from the rest; the message names the first such thing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A message with its Ed25519 signature, and the id of the key that made it."""

    payload: bytes
    signature: bytes
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredKey:
    """A key that the service knows.

    Attributes
    ----------
    key_id : its id
    purpose : what it signs, as the API's KeyPurpose without its prefix
    holder : whose it is: a member's, a DSO's or a gateway's id
    public_key : Ed25519, 32 bytes
    """

    key_id: str
    purpose: str
    holder: str
    public_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """What one clearing of a window was decided on.

    Attributes
    ----------
    number : 0 for the window's own, else the adjustment's
    snapshot : its inputs
    trades : how many trades it made; None for all of them
    """

    number: int
    snapshot: Snapshot
    trades: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedRun:
    """What a validator keeps of a header that it has seen, to hold corrections against.

    Attributes
    ----------
    window, run : which
    trades_root, settlement_root, inputs_digest : as in the header, 32 bytes each
    """

    window: str
    run: int
    trades_root: bytes
    settlement_root: bytes
    inputs_digest: bytes

    @classmethod
    def of(cls, header: WindowHeader) -> "SealedRun":
        """What is kept of a header."""
        return cls(
            window=header.window,
            run=header.run,
            trades_root=header.trades_root,
            settlement_root=header.settlement_root,
            inputs_digest=header.inputs_digest,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowEvidence:
    """Everything that a run of a window was decided on and settled with.

    Attributes
    ----------
    header : as the service states it
    books : the records of the run
    earlier : of a correction, the records of the runs before it, the oldest first
    inputs : canonical JSON whose SHA-256 is in the header
    clearings : what solvers answered, as of ``witness``, by the clearing's number
    uplifts : what the window's own clearing committed to
    failure : why the window's own clearing decided nothing; empty where it did
    orders, limits, vetoes, readings : messages as they were signed; limits are envelopes and default envelopes
    keys : by id
    settlement : canonical JSON of what else the settlement rested on, as of ``controller.settled_on``
    """

    header: WindowHeader
    books: WindowBooks
    earlier: tuple[WindowBooks, ...] = ()
    inputs: str
    clearings: Mapping[int, bytes]
    uplifts: tuple[Uplift, ...]
    failure: str
    orders: tuple[Signed, ...]
    limits: tuple[Signed, ...]
    vetoes: tuple[Signed, ...]
    readings: tuple[Signed, ...]
    keys: Mapping[str, RegisteredKey]
    settlement: str

    def frozen(self) -> tuple[Frozen, ...]:
        """What each clearing of the window was decided on, its own first; adjustments that traded nothing too.

        Raises
        ------
        DoubtError
            If the inputs cannot be read.
        """
        try:
            values: dict[str, Any] = json.loads(self.inputs)
            if "adjustments" not in values:
                return (Frozen(number=0, snapshot=Snapshot.from_json(self.inputs), trades=None),)
            found = [Frozen(number=0, snapshot=_snapshot(values["snapshot"]), trades=values["trades"])]
            found += [
                Frozen(number=each["number"], snapshot=_snapshot(each["snapshot"]), trades=each["trades"])
                for each in values["adjustments"]
                if each["snapshot"] is not None
            ]
            return tuple(found)
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise DoubtError(f"inputs: got {type(err).__name__}: {err}, wanted those of a window") from err


def _snapshot(values: dict[str, Any]) -> Snapshot:
    return Snapshot.from_json(json.dumps(values))
