"""Closes the books of a window: postings, sealed readings, header and anchor, in one transaction.

A window is settled at the prices that it was decided on, whatever the tariff says since. Where readings change after
that, a correction is a run of its own: it takes back what it changes, and seals what it rests on.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from contracts.books import WindowBooks
from controller import told, uplifts
from controller.adjusting import inputs_text
from controller.corrections import correct
from controller.demand_response import Delivery, delivery
from controller.estimating import EstimationRule
from controller.feeders import feeder_sums, losses
from controller.instructions import Instruction
from controller.ledger import Posting
from controller.metered import registers_at
from controller.metering import metered_wh, missing
from controller.microgrid import ESTIMATED, MeterReading, Microgrid, Window
from controller.registers import Meter
from controller.reputation import performances
from controller.sealing import SaltSource, posting_leaf, reading_leaf, seal, trade_leaf
from controller.settled_on import SettledOn
from controller.settlement import Payment, settle
from controller.snapshot import Snapshot
from controller.store import (
    adjustments,
    demand,
    evidence,
    held_back,
    market,
    meter_events,
    meters,
    registry,
    reputations,
)
from controller.store.market import WindowRow


def estimates_from(connection: Connection, row: WindowRow) -> int | None:
    """The instant from which a window's missing readings are estimated; None where they are waited for."""
    declared = meter_events.estimation(connection, row.microgrid)
    return None if declared.rule is EstimationRule.NONE else row.end + declared.after_minutes * 60


def complete(connection: Connection, row: WindowRow, now: float) -> bool:
    """Take a window whose every reading is in, or may be estimated by now, to METERED; False while one is missing."""
    snapshot = Snapshot.from_json(row.snapshot or "")
    since = estimates_from(connection, row)
    rule = EstimationRule.NONE
    if since is not None and now >= since:
        rule = meter_events.estimation(connection, row.microgrid).rule
    members, instants = _members(snapshot), _instants(snapshot)
    readings = registers_at(connection, snapshot.microgrid, members, instants, rule=rule)
    if missing(readings, members, instants):
        return False
    return market.set_window(connection, row.name, was=row.state, state="METERED")


def close_books(connection: Connection, row: WindowRow, salts: SaltSource) -> bool:
    """Settle a metered window; False while an earlier one is not, as headers link, or while its prices are unknown."""
    window = Window(name=row.name, start=row.start, end=row.end)
    # None at all where another turn settled it meanwhile.
    if market.first_unfinished(connection, row.microgrid) != window.name:
        return False
    snapshot = Snapshot.from_json(row.snapshot or "")
    microgrid = _priced(connection, snapshot)
    settled = None if microgrid is None else _settle(connection, row, snapshot, microgrid)
    if microgrid is None or settled is None:
        return False
    if not market.set_window(connection, window.name, was="METERED", state="SETTLED"):
        return False
    trades = [trade for trade, _ in market.trades(connection, window.name)]
    # Of whom nobody read a meter nothing is known to its credit or discredit.
    kept = [one for one in performances(trades, settled.metered) if one.member not in settled.estimated]
    reputations.add(connection, window.name, kept)
    demand.add_deliveries(connection, microgrid.id, settled.deliveries)
    meter_events.put_estimated(connection, microgrid.id, row.name, settled.estimated)
    _add_up(connection, row, snapshot, settled)
    sealed = _unsealed(connection, row, settled.readings)
    _seal(connection, row, microgrid, sealed, settled.postings, salts, run=0)
    evidence.add_settlement(connection, row.name, 0, _rested_on(snapshot, microgrid, settled, sealed).to_json())
    return True


def correct_books(connection: Connection, row: WindowRow, salts: SaltSource) -> bool:
    """Append a run to a settled window where readings changed what it comes to; False where they did not.

    Trades, uplifts and reputations stay as they were decided. Where a register is no longer known, and not estimated
    either, what was posted stays until it is.
    """
    snapshot = Snapshot.from_json(row.snapshot or "")
    microgrid = _priced(connection, snapshot)
    runs = evidence.runs(connection, [row.name]).get(row.name, 0)
    settled = None if microgrid is None or runs == 0 else _settle(connection, row, snapshot, microgrid)
    if microgrid is None or settled is None:
        return False
    _add_up(connection, row, snapshot, settled)
    ledger = {
        posted.ix: Posting(
            account=posted.account, kind=posted.kind, reference=posted.reference, amount_micro=posted.amount_micro
        )
        for posted in evidence.postings(connection, row.name)
    }
    postings = correct(ledger, settled.postings)
    known = {
        one
        for id_ in {delivered.event for delivered in settled.deliveries}
        for one in demand.deliveries(connection, microgrid.id, id_)
    }
    delivered = [one for one in settled.deliveries if one not in known]
    if not postings and not delivered:
        # What was estimated right is known now.
        meter_events.put_estimated(connection, microgrid.id, row.name, settled.estimated)
        return False
    demand.add_deliveries(connection, microgrid.id, delivered, run=runs)
    meter_events.put_estimated(connection, microgrid.id, row.name, settled.estimated)
    sealed = _unsealed(connection, row, settled.readings)
    _seal(connection, row, microgrid, sealed, postings, salts, run=runs)
    evidence.add_settlement(connection, row.name, runs, _rested_on(snapshot, microgrid, settled, sealed).to_json())
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settled:
    """What a window comes to, from what is known now.

    Attributes
    ----------
    readings : of its members at its instants, in order
    meters : of its members, where anything was declared of them
    metered : Wh that each member took, by member and MTU
    deliveries : of demand response
    payments : for them
    instructions : what members were told
    postings : they sum to zero
    """

    readings: Sequence[MeterReading]
    meters: Mapping[str, Meter]
    metered: Mapping[tuple[str, int], int]
    deliveries: Sequence[Delivery]
    payments: Sequence[Payment]
    instructions: Sequence[Instruction]
    postings: Sequence[Posting]

    @property
    def estimated(self) -> frozenset[str]:
        """The members of whom a register was estimated."""
        return frozenset(reading.member for reading in self.readings if reading.quality == ESTIMATED)


def _settle(connection: Connection, row: WindowRow, snapshot: Snapshot, microgrid: Microgrid) -> _Settled | None:
    """Settle a window; None where a reading is missing that is not estimated. Nothing is written."""
    window, members, instants = snapshot.window, _members(snapshot), _instants(snapshot)
    rule = meter_events.estimation(connection, row.microgrid).rule
    readings = registers_at(connection, microgrid, members, instants, rule=rule)
    declared = {one: meter for one, meter in meter_events.meters(connection, row.microgrid).items() if one in members}
    energies = metered_wh(readings, members, instants, declared)
    metered = {place: energy for place, energy in energies.items() if energy is not None}
    if len(metered) != len(energies):
        return None
    trades = [trade for trade, _ in market.trades(connection, window.name)]
    committed = {uplift.member: uplift.uplift_micro for uplift in uplifts.from_json(row.uplifts)}
    deliveries, payments = _demand(connection, microgrid, window, metered)
    instructions = _instructions(connection, snapshot, microgrid, metered, deliveries)
    postings = settle(microgrid, trades, metered, committed, payments, instructions, window=window.name)
    return _Settled(
        readings=readings,
        meters=declared,
        metered=metered,
        deliveries=deliveries,
        payments=payments,
        instructions=instructions,
        postings=postings,
    )


def _instructions(
    connection: Connection,
    snapshot: Snapshot,
    microgrid: Microgrid,
    metered: Mapping[tuple[str, int], int],
    deliveries: Sequence[Delivery],
) -> list[Instruction]:
    """What the window's members were told by limits and demand response, in the order in which it was kept."""
    window = snapshot.window
    events = demand.events_between(connection, microgrid.id, window.start, window.end)
    found = told.of_limits(
        held_back.between(connection, microgrid.id, window.start, window.end),
        known={limit.id for limit in snapshot.limits},
        holders={event.id: event.holder for event in events},
        members=set(_members(snapshot)),
    )
    for event in events:
        for offer in demand.offers(connection, microgrid.id, event.id):
            own = [one for one in deliveries if (one.event, one.offer) == (event.id, offer.id)]
            found += told.of_demand(event, offer, own, metered, mtu_seconds=microgrid.mtu_seconds)
    return found


def _add_up(connection: Connection, row: WindowRow, snapshot: Snapshot, settled: _Settled) -> None:
    """Keep what feeders' meters counted in a window beside their members', and where more is lost than is allowed."""
    readings = meters.feeder_readings(connection, row.microgrid, row.start, row.end)
    if not readings:
        return
    feeders = sorted({reading.member for reading in readings})
    counted = metered_wh(readings, feeders, _instants(snapshot), meter_events.meters(connection, row.microgrid))
    sums = feeder_sums(counted, snapshot.members, settled.metered)
    meter_events.put_sums(connection, row.name, sums)
    allowed = meter_events.estimation(connection, row.microgrid).loss_permille
    found = losses(sums, permille=allowed)
    meter_events.add_events(connection, row.microgrid, found, created=row.end, once=True)


def _rested_on(
    snapshot: Snapshot, microgrid: Microgrid, settled: _Settled, sealed: Sequence[MeterReading]
) -> SettledOn:
    """What a run rested on beside what its header commits to."""
    own = {(reading.member, reading.instant) for reading in sealed}
    return SettledOn(
        tariff=None if microgrid.tariff == snapshot.microgrid.tariff else microgrid.tariff,
        demand=tuple(settled.payments),
        instructions=tuple(settled.instructions),
        registers=tuple(each for each in settled.readings if (each.member, each.instant) not in own),
        meters=settled.meters,
    )


def _seal(
    connection: Connection,
    row: WindowRow,
    microgrid: Microgrid,
    sealed: Sequence[MeterReading],
    postings: Sequence[Posting],
    salts: SaltSource,
    *,
    run: int,
) -> None:
    """Keep the records of a run, and the header that commits to them."""
    name = row.name
    trades = market.trades(connection, name) if run == 0 else []
    first_reading, first_posting = len(evidence.readings(connection, name)), len(evidence.postings(connection, name))
    reading_salts = [salts(name, "reading", first_reading + k) for k in range(len(sealed))]
    posting_salts = [salts(name, "posting", first_posting + k) for k in range(len(postings))]
    evidence.add_readings(connection, name, sealed, reading_salts, run=run, first=first_reading)
    evidence.add_postings(connection, name, postings, posting_salts, run=run, first=first_posting)
    records = WindowBooks(
        trades=tuple(trade_leaf(name, ix, trade, salt) for ix, (trade, salt) in enumerate(trades)),
        readings=tuple(
            reading_leaf(name, ix, reading, salt)
            for ix, (reading, salt) in enumerate(zip(sealed, reading_salts, strict=True), start=first_reading)
        ),
        postings=tuple(
            posting_leaf(name, ix, posting, salt)
            for ix, (posting, salt) in enumerate(zip(postings, posting_salts, strict=True), start=first_posting)
        ),
    )
    header = seal(
        microgrid,
        Window(name=name, start=row.start, end=row.end),
        records,
        previous=evidence.newest_header_hash(connection, row.microgrid),
        inputs_digest=hashlib.sha256(inputs_of(connection, row).encode()).digest(),
        run=run,
    )
    evidence.add_header(connection, row.microgrid, header)


def inputs_of(connection: Connection, row: WindowRow) -> str:
    """Canonical JSON of all that a window was decided on; its SHA-256 is in the window's header."""
    adjusted = [(each.number, each.snapshot or "null") for each in adjustments.adjustments(connection, row.name)]
    counts = market.counts_by_clearing(connection, row.name) if adjusted else {}
    return inputs_text(row.snapshot or "", adjusted, counts)


def _demand(
    connection: Connection, microgrid: Microgrid, window: Window, metered: Mapping[tuple[str, int], int]
) -> tuple[list[Delivery], list[Payment]]:
    """What accepted offers of demand response delivered in a window, and what is to be paid for it."""
    deliveries: list[Delivery] = []
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
            deliveries += found
            payments += [
                Payment(
                    dso=event.holder,
                    aggregator=offer.aggregator,
                    reference=f"{event.id} {offer.id} {one.mtu_start}",
                    amount_micro=one.amount_micro,
                )
                for one in found
            ]
    return deliveries, payments


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


def _unsealed(connection: Connection, row: WindowRow, readings: Sequence[MeterReading]) -> list[MeterReading]:
    """The readings without those that headers have already as they are: at its start, of the window before."""
    before = market.window_ending_at(connection, row.microgrid, row.start)
    names = [row.name] if before is None else [before.name, row.name]
    known = evidence.sealed_registers(connection, row.microgrid, names)
    return [r for r in readings if known.get((r.member, r.instant)) != (r.import_wh, r.export_wh, r.quality)]
