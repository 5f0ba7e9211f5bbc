"""Reading a community from a file, or from standard input; every complaint says where, what and what was wanted."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from contracts.errors import EvidenceError
from contracts.strict_json import parse
from controller.case.fields import check_fields, name_of
from controller.demo.strict import Reader
from controller.errors import InputError
from controller.plan.calendar import Calendar
from controller.plan.devices import read_device
from controller.plan.links import read_links
from controller.plan.rated import check_rated
from controller.plan.series import Bounds, SeriesReader
from optimization.community import Community, DeviceId, Envelope, Peer, PeerId, SectionId, Tariff
from optimization.devices import Device
from optimization.errors import ProblemError
from optimization.quantities import MAX_MAGNITUDE, MAX_MTUS, MTU_MINUTES

VERSION = 1
COMMUNITY = (
    *("version", "id", "note", "currency", "horizon", "profiles", "tariff", "peers", "links", "envelopes"),
    *("planned_kw", "change_price"),
)
HORIZON = ("start", "mtus", "mtu_minutes", "time_zone")
TARIFF = ("import_price", "export_price")
PEER = ("id", "note", "section", "devices")
TARGETS = ("peer", "section", "peers")
ENVELOPE = ("name", "note", *TARGETS, "lower_kw", "upper_kw")

MOST_PEERS = 100_000
MOST_DEVICES = 1_000_000
MOST_TEXT = 200
STANDARD_INPUT = "-"

ANY = Bounds(lower=-MAX_MAGNITUDE, upper=MAX_MAGNITUDE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommunityFile:
    """A community as a file holds it.

    Attributes
    ----------
    id : as the file gives it
    currency : of all prices and costs, for people
    calendar : its horizon in local time
    community : the problem
    document : the file's own JSON value, which reads as the same again
    """

    id: str
    currency: str
    calendar: Calendar
    community: Community
    document: Mapping[str, Any]


def read_community(source: str) -> CommunityFile:
    """The community of a JSON file.

    Parameters
    ----------
    source : path; ``-`` for standard input

    Raises
    ------
    InputError
        If the file cannot be read, is no JSON, or breaks a rule of the format.
    """
    return community_of(root_of(source))


def root_of(source: str) -> Reader:
    """The root of a JSON file, or of standard input."""
    if source != STANDARD_INPUT:
        return Reader.of_file(Path(source))
    if sys.stdin is None:
        raise InputError("standard input: got none, wanted a JSON object")
    try:
        return Reader(parse(sys.stdin.read()), "standard input")
    except (EvidenceError, UnicodeDecodeError) as err:
        raise InputError(f"standard input: {err}") from err


def community_of(reader: Reader) -> CommunityFile:
    """The community that stands at a place of a document, with the errors of ``read_community``."""
    check_fields(reader, COMMUNITY)
    if reader.field("version").value != VERSION or isinstance(reader.value["version"], bool):
        raise reader.field("version").wrong(str(VERSION))
    try:
        return _community(reader)
    except ProblemError as err:
        raise InputError(f"{reader.place}: {err}") from err


def _community(reader: Reader) -> CommunityFile:
    calendar = _calendar(reader.field("horizon"))
    plain = SeriesReader(calendar=calendar, profiles={})
    profiles = _named(reader.field("profiles")) if reader.has("profiles") else {}
    series = SeriesReader(calendar=calendar, profiles={name: plain.read(each, ANY) for name, each in profiles.items()})
    peers = _peers(reader.field("peers"), series)
    community = Community(
        horizon=calendar.horizon(),
        tariff=_tariff(reader.field("tariff"), series),
        peers=peers,
        links=read_links(reader.field("links"), peers) if reader.has("links") else (),
        envelopes=_envelopes(reader.field("envelopes"), peers, series) if reader.has("envelopes") else (),
        planned_kw=_planned(reader.field("planned_kw"), series) if reader.has("planned_kw") else {},
        change_price=reader.field("change_price").number(upper=MAX_MAGNITUDE) if reader.has("change_price") else 0.0,
    )
    return CommunityFile(
        id=_short(reader.field("id")),
        currency=_short(reader.field("currency")) if reader.has("currency") else "EUR",
        calendar=calendar,
        community=community,
        document=reader.value,
    )


def _named(reader: Reader) -> dict[str, Reader]:
    """The fields of an object whose names are the user's own: printable, as all that messages repeat."""
    for name in reader.entries():
        if not name.isprintable():
            raise InputError(f"{reader.place}: got name {name!r}, wanted a printable text")
    return reader.entries()


def _short(reader: Reader) -> str:
    text = name_of(reader)
    if len(text) > MOST_TEXT:
        raise reader.wrong(f"at most {MOST_TEXT} characters")
    return text


def _calendar(reader: Reader) -> Calendar:
    check_fields(reader, HORIZON)
    minutes = 15
    if reader.has("mtu_minutes"):
        minutes = reader.field("mtu_minutes").integer(lower=min(MTU_MINUTES), upper=max(MTU_MINUTES))
        if minutes not in MTU_MINUTES:
            raise reader.field("mtu_minutes").wrong(f"one of {', '.join(map(str, MTU_MINUTES))}")
    zone = reader.field("time_zone").text() if reader.has("time_zone") else "UTC"
    try:
        known = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as err:
        raise reader.field("time_zone").wrong("an IANA time zone such as Europe/Berlin") from err
    return Calendar(
        start=_start(reader.field("start"), minutes),
        mtus=reader.field("mtus").integer(lower=1, upper=MAX_MTUS),
        mtu_minutes=minutes,
        zone=known,
    )


def _start(reader: Reader, minutes: int) -> datetime:
    wanted = "an instant in UTC such as 2026-03-18T15:00:00Z"
    try:
        start = datetime.fromisoformat(reader.text())
    except ValueError as err:
        raise reader.wrong(wanted) from err
    if start.utcoffset() != timedelta(0) or not 1971 <= start.year <= 9000:
        raise reader.wrong(wanted)
    start = start.astimezone(UTC)
    if (start - datetime(1970, 1, 1, tzinfo=UTC)) % timedelta(minutes=minutes):
        raise reader.wrong(f"a whole number of {minutes} minutes after midnight")
    return start


def _tariff(reader: Reader, series: SeriesReader) -> Tariff:
    if isinstance(reader.value, Mapping) and not set(reader.value) & {"import_price", "periods", "profile"}:
        raise reader.wrong("an object with import_price, or a series")
    if not reader.has("import_price"):
        imports = series.read(reader, ANY)
        return Tariff(import_price=imports, export_price=np.minimum(imports, 0.0))
    check_fields(reader, TARIFF)
    imports = series.read(reader.field("import_price"), ANY)
    if not reader.has("export_price"):
        return Tariff(import_price=imports, export_price=np.minimum(imports, 0.0))
    return Tariff(import_price=imports, export_price=series.read(reader.field("export_price"), ANY))


def _peers(reader: Reader, series: SeriesReader) -> tuple[Peer, ...]:
    items = reader.items()
    if not 1 <= len(items) <= MOST_PEERS:
        raise InputError(f"{reader.place}: got {len(items)} peers, wanted 1 to {MOST_PEERS}")
    peers, devices = [], 0
    for item in items:
        check_fields(item, PEER)
        own = tuple(read_device_at(each, series) for each in item.field("devices").items())
        devices += len(own)
        if devices > MOST_DEVICES:
            raise InputError(f"{reader.place}: got more than {MOST_DEVICES} devices, wanted at most so many")
        section = SectionId(_short(item.field("section")) if item.has("section") else "")
        peers.append(Peer(id=PeerId(_short(item.field("id"))), section=section, devices=own))
    return tuple(peers)


def read_device_at(reader: Reader, series: SeriesReader) -> Device:
    """The device that stands here; a contradiction in it names the place, and every complaint the device."""
    try:
        device = read_device(reader, series)
        check_rated(device)
    except ProblemError as err:
        raise InputError(f"{reader.place}: {err}") from err
    except InputError as err:
        # Nobody counts devices in a file of a hundred homes.
        name = reader.value.get("id") if isinstance(reader.value, Mapping) else None
        raise InputError(f"{err} (device {name[:MOST_TEXT]!r})" if isinstance(name, str) else str(err)) from err
    return device


def _envelopes(reader: Reader, peers: tuple[Peer, ...], series: SeriesReader) -> tuple[Envelope, ...]:
    sections: dict[str, list[PeerId]] = {}
    for peer in peers:
        sections.setdefault(peer.section, []).append(peer.id)
    everybody = frozenset(peer.id for peer in peers)
    envelopes = []
    for k, item in enumerate(reader.items()):
        check_fields(item, ENVELOPE)
        members = _members(item, everybody, sections)
        bounds = {
            side: series.read(item.field(side), Bounds(lower=-MAX_MAGNITUDE, upper=MAX_MAGNITUDE, none=none))
            if item.has(side)
            else np.full(series.calendar.mtus, none)
            for side, none in (("lower_kw", -np.inf), ("upper_kw", np.inf))
        }
        name = _short(item.field("name")) if item.has("name") else _name(item, k)
        try:
            envelopes.append(Envelope(name=name, peers=members, **bounds))
        except ProblemError as err:
            raise InputError(f"{item.place}: {err}") from err
    if len({each.name for each in envelopes}) < len(envelopes):
        raise InputError(f"{reader.place}: got two envelopes of one name, wanted every name once")
    return tuple(envelopes)


def _name(reader: Reader, k: int) -> str:
    for target in ("peer", "section"):
        if reader.has(target):
            return f"{target} {reader.value[target]}"
    return "connection point" if reader.value["peers"] == "all" else f"envelope {k + 1}"


def _members(reader: Reader, everybody: frozenset[PeerId], sections: Mapping[str, list[PeerId]]) -> frozenset[PeerId]:
    given = [target for target in TARGETS if reader.has(target)]
    if len(given) != 1:
        raise InputError(f"{reader.place}: got targets {given}, wanted one of {', '.join(TARGETS)}")
    field = reader.field(given[0])
    if given[0] == "section":
        if field.text() not in sections:
            raise field.wrong("the section of a peer")
        return frozenset(sections[field.text()])
    if given[0] == "peers" and field.value == "all":
        return everybody
    items = [field] if given[0] == "peer" else field.items()
    for item in items:
        if item.text() not in everybody:
            raise item.wrong("the id of a peer")
    if not items or len({item.value for item in items}) < len(items):
        raise field.wrong("at least one peer, and each once")
    return frozenset(PeerId(item.text()) for item in items)


def _planned(reader: Reader, series: SeriesReader) -> dict[DeviceId, np.ndarray]:
    return {DeviceId(name): series.read(each, ANY) for name, each in _named(reader).items()}
