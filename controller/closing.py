"""Closes the books of a window: postings, sealed readings, header and anchor, in one transaction.

A window is settled at the prices that it was decided on, whatever the tariff says since.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import Connection

from contracts.books import WindowBooks
from controller import uplifts
from controller.adjusting import inputs_text
from controller.demand_response import delivery
from controller.metering import metered_wh, missing
from controller.microgrid import MeterReading, Microgrid, Window
from controller.reputation import performances
from controller.sealing import SaltSource, posting_leaf, reading_leaf, seal, trade_leaf
from controller.settlement import Payment, settle
from controller.snapshot import Snapshot
from controller.store import adjustments, demand, evidence, market, meters, registry, reputations
from controller.store.market import WindowRow


def complete(connection: Connection, row: WindowRow) -> bool:
    """Take a window whose every reading is in to METERED; False while one is missing."""
    snapshot = Snapshot.from_json(row.snapshot or "")
    readings = meters.meter_readings(connection, row.microgrid, row.start, row.end)
    if missing(readings, _members(snapshot), _instants(snapshot)):
        return False
    return market.set_window(connection, row.name, was=row.state, state="METERED")


def close_books(connection: Connection, row: WindowRow, salts: SaltSource) -> bool:
    """Settle a metered window; False while an earlier one is not, as headers link, or while its prices are unknown."""
    window = Window(name=row.name, start=row.start, end=row.end)
    # None at all where another turn settled it meanwhile.
    if [first.name for first in market.unfinished(connection, row.microgrid)[:1]] != [window.name]:
        return False
    snapshot = Snapshot.from_json(row.snapshot or "")
    microgrid = _priced(connection, snapshot)
    if microgrid is None or not market.set_window(connection, window.name, was="METERED", state="SETTLED"):
        return False
    name, members = window.name, _members(snapshot)
    trades = market.trades(connection, name)
    readings = [
        reading
        for reading in meters.meter_readings(connection, row.microgrid, window.start, window.end)
        if reading.member in members
    ]
    metered = {
        place: energy
        for place, energy in metered_wh(readings, members, _instants(snapshot)).items()
        if energy is not None
    }
    committed = {uplift.member: uplift.uplift_micro for uplift in uplifts.from_json(row.uplifts)}
    payments = _demand(connection, microgrid, window, metered)
    postings = settle(microgrid, [trade for trade, _ in trades], metered, committed, payments)
    reputations.add(connection, name, performances([trade for trade, _ in trades], metered))
    sealed = _unsealed(connection, window, row.microgrid, readings)
    reading_salts = [salts(name, "reading", ix) for ix in range(len(sealed))]
    posting_salts = [salts(name, "posting", ix) for ix in range(len(postings))]
    evidence.add_readings(connection, name, sealed, reading_salts)
    evidence.add_postings(connection, name, postings, posting_salts)
    records = WindowBooks(
        trades=tuple(trade_leaf(name, ix, trade, salt) for ix, (trade, salt) in enumerate(trades)),
        readings=tuple(
            reading_leaf(name, ix, reading, salt)
            for ix, (reading, salt) in enumerate(zip(sealed, reading_salts, strict=True))
        ),
        postings=tuple(
            posting_leaf(name, ix, posting, salt)
            for ix, (posting, salt) in enumerate(zip(postings, posting_salts, strict=True))
        ),
    )
    header = seal(
        microgrid,
        window,
        records,
        previous=evidence.newest_header_hash(connection, row.microgrid),
        inputs_digest=hashlib.sha256(inputs_of(connection, row).encode()).digest(),
    )
    evidence.add_header(connection, row.microgrid, header)
    return True


def inputs_of(connection: Connection, row: WindowRow) -> str:
    """Canonical JSON of all that a window was decided on; its SHA-256 is in the window's header."""
    adjusted = [(each.number, each.snapshot or "null") for each in adjustments.adjustments(connection, row.name)]
    counts = market.counts_by_clearing(connection, row.name) if adjusted else {}
    return inputs_text(row.snapshot or "", adjusted, counts)


def _demand(
    connection: Connection, microgrid: Microgrid, window: Window, metered: Mapping[tuple[str, int], int]
) -> list[Payment]:
    """What accepted offers of demand response delivered in a window: kept, and to be paid."""
    payments: list[Payment] = []
    for event in demand.events_between(connection, microgrid.id, window.start, window.end):
        offers = [offer for offer in demand.offers(connection, microgrid.id, event.id) if offer.accepted_w]
        for offer in offers:
            found = [
                delivery(
                    event,
                    offer,
                    mtu,
                    {member: energy for (member, start), energy in metered.items() if start == mtu},
                    microgrid.mtu_seconds,
                )
                for mtu in microgrid.mtus(max(event.start, window.start), min(event.end, window.end))
            ]
            demand.add_deliveries(connection, microgrid.id, found)
            payments += [
                Payment(
                    dso=event.holder,
                    aggregator=offer.aggregator,
                    reference=f"{event.id} {offer.id} {one.mtu_start}",
                    amount_micro=one.amount_micro,
                )
                for one in found
            ]
    return payments


def _members(snapshot: Snapshot) -> list[str]:
    """Whose meters the window is settled with: who was a member at its gate closure."""
    return [member.id for member in snapshot.members]


def _instants(snapshot: Snapshot) -> tuple[int, ...]:
    """When each MTU of the window begins, and when the last one ends."""
    return (*snapshot.window_mtus(), snapshot.window.end)


def _priced(connection: Connection, snapshot: Snapshot) -> Microgrid | None:
    """The microgrid with the prices that the window was decided on, or that were set since; None where none are."""
    microgrid, window = snapshot.microgrid, snapshot.window
    if microgrid.priced_until(window.start) >= window.end:
        return microgrid
    known = registry.tariff(connection, microgrid.id, start=window.start, end=window.end)
    microgrid = replace(microgrid, tariff=tuple(known))
    return microgrid if microgrid.priced_until(window.start) >= window.end else None


def _unsealed(
    connection: Connection, window: Window, microgrid_id: str, readings: list[MeterReading]
) -> list[MeterReading]:
    """The readings without those that were sealed with the window before: at this one's start, of its members."""
    before = market.window_ending_at(connection, microgrid_id, window.start)
    known = set() if before is None else set(_members(Snapshot.from_json(before.snapshot or "")))
    return [r for r in readings if r.instant > window.start or r.member not in known]
