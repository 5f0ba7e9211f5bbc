"""The grid operator's limits on groups of devices, checked by the driver itself.

A limit counts only with the operator's signature, only while it is fresh, and only where it is newer than the last: so
a controller can neither make one, nor loosen one, nor bring an old one back, nor keep a tight one away for longer than
the last one is fresh. Where none is fresh the default holds.
"""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from device_drivers.errors import InvalidValueError
from device_drivers.refusal import Refused
from device_drivers.setpoint import Bounds

log = logging.getLogger(__name__)

GROUP_LIMIT, ENVELOPE = b"gridpact.v1.GroupLimit", b"gridpact.v1.Envelope"
DEFAULT_ENVELOPE = b"gridpact.v1.DefaultEnvelope"
"""Types of payloads that the operator signs."""
LONGEST_S = 86_400.0
"""s for which no limit is fresh any longer, whatever it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLimit:
    """What a payload says.

    Attributes
    ----------
    group, driver : str
        ``microgrids/{microgrid}/groups/{group}``, and the identity that it is for.
    bounds : Bounds
        W on the sum of the devices; 0 lies within.
    counter : int
        Counts up with each limit of the group.
    expires : datetime
        UTC.
    """

    group: str
    driver: str
    bounds: Bounds
    counter: int
    expires: datetime

    def __post_init__(self) -> None:
        if (self.bounds.lower_w or 0) > 0 or (self.bounds.upper_w or 0) < 0:
            raise InvalidValueError(f"limit: got {self.bounds}, wanted 0 within")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    limit: GroupLimit
    ends_at: float


class LimitBook:
    """The limits of a driver's groups.

    Parameters
    ----------
    keys : mapping of str to Ed25519PublicKey
        The operator's, by id.
    defaults : mapping of str to Bounds
        By group what holds where no limit is fresh.
    path : Path
        Where the counters are kept, so that a restart forgets none.

    Raises
    ------
    InvalidValueError
        If what is kept cannot be read: then no counter can be trusted, and a person has to look.
    """

    def __init__(self, keys: Mapping[str, Ed25519PublicKey], defaults: Mapping[str, Bounds], path: Path) -> None:
        self._keys = dict(keys)
        self._defaults = dict(defaults)
        self._path = path
        self._counters = _read(path)
        self._held: dict[str, _Held] = {}

    @property
    def knows_operator(self) -> bool:
        """Whether it knows any key of the operator."""
        return bool(self._keys)

    def verifies(self, payload: bytes, signature: bytes, key_id: str, kind: bytes = GROUP_LIMIT) -> bool:
        """Whether the operator signed that payload as one of that type."""
        key = self._keys.get(key_id)
        if key is None:
            return False
        try:
            key.verify(signature, kind + b"\0" + payload)
        except InvalidSignature:
            return False
        return True

    def take(self, limit: GroupLimit, now: float, utc: datetime) -> Refused | None:
        """Let a limit count that `verifies`; why not, where it does not.

        The counter is on disk before it counts.
        """
        if limit.group not in self._defaults:
            return Refused(reason=f"group: got {limit.group}, wanted one of this driver's")
        last = self._counters.get(limit.group, 0)
        held = self._held.get(limit.group)
        if held is not None and held.limit == limit:
            return None
        # After a restart the last one is passed on again: it is as good as it was.
        if limit.counter < last or (limit.counter == last and held is not None):
            return Refused(reason=f"counter of {limit.group}: got {limit.counter}, wanted more than {last}")
        fresh_s = (limit.expires - utc).total_seconds()
        if fresh_s <= 0:
            return Refused(reason=f"limit of {limit.group}: it expired {-fresh_s:.0f} s ago")
        if limit.counter != last:
            self._counters[limit.group] = limit.counter
            _write(self._path, self._counters)
        self._held[limit.group] = _Held(limit=limit, ends_at=now + min(fresh_s, LONGEST_S))
        log.info("%s: %s until %s", limit.group, limit.bounds, limit.expires.isoformat())
        return None

    def bounds(self, group: str, now: float) -> Bounds:
        """What holds now: a fresh limit, else the default."""
        held = self._held.get(group)
        if held is not None and now >= held.ends_at:
            log.warning("%s: no fresh limit: the default of %s holds", group, self._defaults[group])
            del self._held[group]
            held = None
        return self._defaults[group] if held is None else held.limit.bounds

    def next_end(self) -> float | None:
        """s at which the next limit expires; None where none is held."""
        return min((held.ends_at for held in self._held.values()), default=None)


def read_key(path: Path) -> Ed25519PublicKey:
    """The public key of a file, as `gridpact pki` writes it.

    Raises
    ------
    InvalidValueError
        If it is not there, or holds no such key.
    """
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as err:
        raise InvalidValueError(f"dso_keys: {path}: cannot be read: {err}") from err
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidValueError(f"dso_keys: {path}: got another kind of key, wanted Ed25519")
    return key


def _read(path: Path) -> dict[str, int]:
    try:
        counters = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as err:
        raise InvalidValueError(f"{path}: cannot be read, so that no limit's counter can be trusted: {err}") from err
    if not isinstance(counters, dict) or not all(type(one) is int and one >= 0 for one in counters.values()):
        raise InvalidValueError(f"{path}: got no counters, wanted a number for each group")
    return counters


def _write(path: Path, counters: Mapping[str, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    with open(beside, "w", encoding="utf-8") as file:
        file.write(json.dumps(dict(counters)))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


NEVER = datetime.min.replace(tzinfo=UTC)
"""The expiry of a payload that names none: it has passed."""
