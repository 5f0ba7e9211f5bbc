"""Whether what a window was decided on says what was signed, and who signed it."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from controller.counted_orders import GivenFor, counted_order
from controller.microgrid import Bounds, Member, MeterReading, Order
from controller.refusals import Refusal
from controller.signing import verifies
from controller.snapshot import Limit, Snapshot
from controller.validating.evidence import DoubtError, RegisteredKey, Signed, WindowEvidence
from controller.veto import Veto
from controller.wire.community import read_batch
from controller.wire.signed import limit_of, order_window
from controller.wire.veto import read_veto

ENVELOPES = ("gridpact.v1.Envelope", "gridpact.v1.DefaultEnvelope")


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who signed a message, and as what."""

    holder: str
    type_name: str


def author(signed: Signed, keys: Mapping[str, RegisteredKey], purpose: str, types: Iterable[str], what: str) -> Author:
    """Who signed a message.

    Raises
    ------
    DoubtError
        If no registered key of that purpose did.
    """
    key = keys.get(signed.key_id)
    if key is None or key.purpose != purpose:
        raise DoubtError(f"{what}: got key {signed.key_id!r:.80}, wanted a registered key of purpose {purpose}")
    for type_name in types:
        if verifies(key.public_key, signed.signature, type_name, signed.payload):
            return Author(holder=key.holder, type_name=type_name)
    raise DoubtError(f"{what}: got a signature that does not verify with key {signed.key_id!r:.80} of {key.holder}")


def check_orders(evidence: WindowEvidence, snapshot: Snapshot) -> None:
    """Refuse a snapshot whose orders are not those that members signed.

    Raises
    ------
    DoubtError
        If one has another content, is somebody else's, or was signed by nobody.
    """
    by_digest = _by_digest(evidence.orders)
    members = {member.id: member for member in snapshot.members}
    for id_, order in snapshot.orders.items():
        what = f"order of {id_}"
        signed = by_digest.get(snapshot.order_digests.get(id_, ""))
        if signed is None:
            raise DoubtError(f"{what}: got no signed message of digest {snapshot.order_digests.get(id_)}, wanted one")
        holder = author(signed, evidence.keys, "ORDER", ("gridpact.v1.Order",), what).holder
        if holder != id_ or id_ not in members:
            raise DoubtError(f"{what}: got one that {holder} signed, wanted the member's own")
        try:
            counted = _counted(signed, snapshot, members[id_])
        except Refusal as err:
            raise DoubtError(f"{what}: {err.message}") from err
        if counted != (order, tuple(snapshot.amended.get(id_, ()))):
            raise DoubtError(f"{what}: got {_difference(order, counted[0])}")


def _counted(signed: Signed, snapshot: Snapshot, member: Member) -> tuple[Order, tuple[str, ...]]:
    name, start = order_window(signed.payload)
    own = snapshot.window.name.partition("/adjustments/")[0]
    return counted_order(
        signed.payload,
        of=GivenFor(name=name, start=start, own=name == own),
        view=snapshot.microgrid,
        window=snapshot.window,
        member=member,
        devices=snapshot.devices,
    )


def _difference(got: Order, wanted: Order) -> str:
    for name in ("window", "load_w", "production", "partners", "thermal", "offers", "attributes"):
        one, other = getattr(got, name), getattr(wanted, name)
        if one != other:
            return f"{name} {one!s:.120}, what was signed gives {other!s:.120}"
    return "other notes on how it was completed than what was signed gives"


def check_limits(evidence: WindowEvidence, snapshot: Snapshot) -> tuple[str, ...]:
    """The ids of limits that nobody signed, such as those that follow from accepted demand response.

    Raises
    ------
    DoubtError
        If a limit says anything but what a DSO signed.
    """
    by_digest = _by_digest(evidence.limits)
    unsigned: list[str] = []
    for limit in snapshot.limits:
        if not limit.digest:
            unsigned.append(limit.id)
            continue
        what = f"limit {limit.id}"
        signed = by_digest.get(limit.digest)
        if signed is None:
            raise DoubtError(f"{what}: got no signed message of digest {limit.digest}, wanted one")
        _check_limit(limit, signed, author(signed, evidence.keys, "ENVELOPE", ENVELOPES, what), snapshot, what)
    return tuple(dict.fromkeys(unsigned))


def _check_limit(limit: Limit, signed: Signed, by: Author, snapshot: Snapshot, what: str) -> None:
    grid = snapshot.microgrid
    try:
        target, stated = limit_of(signed.payload, by.type_name, microgrid=grid.id, mtu_seconds=grid.mtu_seconds)
    except Refusal as err:
        raise DoubtError(f"{what}: {err.message}") from err
    if target != limit.target:
        raise DoubtError(f"{what}: got target {limit.target}, what was signed says {target}")
    for period in limit.periods:
        for side in ("lower_w", "upper_w"):
            value = getattr(period, side)
            if value is not None and not _says(stated, side, value, period):
                got = f"{side} {value} from {period.start} to {period.end} s"
                said = ", ".join(f"{getattr(each, side)} from {each.start} to {each.end} s" for each in stated)
                raise DoubtError(f"{what}: got {got}, what was signed says {said}")


def _says(stated: Iterable[Bounds], side: str, value: int, period: Bounds) -> bool:
    """Whether one period after the other bounds a side so for all of a time."""
    reached = period.start
    for each in stated:
        if getattr(each, side) == value and each.start <= reached < each.end:
            reached = each.end
    return reached >= period.end


def check_vetoes(evidence: WindowEvidence, snapshot: Snapshot) -> None:
    """Refuse a snapshot with a veto that no DSO signed so.

    Raises
    ------
    DoubtError
        If one differs.
    """
    by_digest = _by_digest(evidence.vetoes)
    grid = snapshot.microgrid
    for veto in snapshot.vetoes:
        what = f"veto {veto.id}"
        signed = by_digest.get(veto.digest)
        if signed is None:
            raise DoubtError(f"{what}: got no signed message of digest {veto.digest}, wanted one")
        author(signed, evidence.keys, "ENVELOPE", ("gridpact.v1.Veto",), what)
        try:
            read: Veto = read_veto(signed.payload, microgrid=grid.id, mtu_seconds=grid.mtu_seconds, now=0)
        except Refusal as err:
            raise DoubtError(f"{what}: {err.message}") from err
        if replace(veto, start=read.start, end=read.end) != read or (veto.start, veto.end) != (read.start, read.end):
            raise DoubtError(f"{what}: got {veto}, what was signed says {read}")


def signed_readings(evidence: WindowEvidence, microgrid: str) -> dict[tuple[str, int], list[MeterReading]]:
    """What gateways signed, by member and instant; of an instant that was read twice, both, as they were given.

    Raises
    ------
    DoubtError
        If a batch is signed by no gateway, or is none.
    """
    found: defaultdict[tuple[str, int], list[MeterReading]] = defaultdict(list)
    for number, signed in enumerate(evidence.readings):
        what = f"reading batch {number}"
        author(signed, evidence.keys, "READING", ("gridpact.v1.ReadingBatch",), what)
        try:
            _, readings = read_batch(signed.payload, microgrid=microgrid)
        except Refusal as err:
            raise DoubtError(f"{what}: {err.message}") from err
        for reading in readings:
            found[reading.member, reading.instant].append(reading)
    return found


def _by_digest(messages: Iterable[Signed]) -> dict[str, Signed]:
    return {hashlib.sha256(each.payload).hexdigest(): each for each in messages}
