"""Whether a window's readings are what gateways signed, and its postings what the settlement makes of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from contracts.leaves import ReadingLeaf
from controller.corrections import correct
from controller.ledger import COMMUNITY_ACCOUNT, LedgerError, Posting
from controller.metering import metered_wh
from controller.microgrid import MEASURED, MeterReading, Microgrid
from controller.sealing import posting_of, trade_of
from controller.settled_on import SettledOn
from controller.settlement import settle
from controller.snapshot import Snapshot
from controller.validating.evidence import DoubtError, WindowEvidence
from controller.validating.signatures import signed_readings

Readings = Mapping[tuple[str, int], MeterReading]


def check_readings(evidence: WindowEvidence, microgrid: str, facts: SettledOn) -> tuple[Readings, tuple[str, ...]]:
    """The registers that a run is settled with, by member and instant, and whose of them nobody signed.

    Raises
    ------
    DoubtError
        If one says anything but what its gateway signed.
    """
    signed = signed_readings(evidence, microgrid)
    registers: dict[tuple[str, int], MeterReading] = {}
    unsigned = []
    used = [(f"reading of {each.member} at {each.instant}", each) for each in facts.registers]
    used += [(leaf.name, _reading(leaf)) for leaf in evidence.books.readings]
    for what, reading in used:
        place = reading.member, reading.instant
        known = signed.get(place, [])
        if reading in known:
            pass
        elif reading.quality != MEASURED:
            instead = "in the place of what was signed" if known else "signed by nobody"
            unsigned.append(f"reading of {reading.member} at {reading.instant}: {reading.quality}, {instead}")
        elif not known:
            raise DoubtError(f"{what}: got one of {reading.member} at {reading.instant} that no gateway signed")
        else:
            got, wanted = _registers(reading), _registers(known[0])
            raise DoubtError(
                f"{what}: got {got} of {reading.member} at {reading.instant}, what was signed says {wanted}"
            )
        registers[place] = reading
    return registers, tuple(unsigned)


def _registers(reading: MeterReading) -> str:
    return f"{reading.import_wh} and {reading.export_wh} Wh"


def _reading(leaf: ReadingLeaf) -> MeterReading:
    return MeterReading(
        member=leaf.meter,
        instant=leaf.instant,
        import_wh=leaf.import_wh,
        export_wh=leaf.export_wh,
        quality=leaf.quality,
    )


def facts_of(evidence: WindowEvidence) -> SettledOn:
    """What a run rested on beside what its header commits to.

    Raises
    ------
    DoubtError
        If it cannot be read, or was not kept.
    """
    try:
        return SettledOn.from_json(evidence.settlement)
    except (ValueError, KeyError, TypeError, AttributeError, LedgerError) as err:
        raise DoubtError(f"settlement: got {type(err).__name__}: {err}, wanted what it rested on") from err


def check_postings(
    evidence: WindowEvidence, snapshot: Snapshot, registers: Readings, facts: SettledOn
) -> tuple[str, ...]:
    """Refuse postings that the settlement does not give; what of it rests on nobody's signature is named.

    Raises
    ------
    DoubtError
        If a posting differs.
    """
    members = [member.id for member in snapshot.members]
    instants = (*snapshot.window_mtus(), snapshot.window.end)
    metered = {}
    for place, energy in metered_wh(registers.values(), members, instants, facts.meters).items():
        if energy is None:
            raise DoubtError(f"readings: got none for {place[0]} from {place[1]} on, wanted every member's")
        metered[place] = energy
    trades = [trade_of(leaf) for leaf in (evidence.earlier or (evidence.books,))[0].trades]
    uplifts = _uplifts(evidence)
    try:
        computed = settle(
            _priced(snapshot, facts),
            trades,
            metered,
            uplifts,
            facts.demand,
            facts.instructions,
            window=snapshot.window.name,
        )
    except LedgerError as err:
        raise DoubtError(f"settlement: {err}") from err
    if evidence.earlier:
        ledger = {leaf.index: posting_of(leaf) for run in evidence.earlier for leaf in run.postings}
        computed = correct(ledger, computed)
    _compare([posting_of(leaf) for leaf in evidence.books.postings], computed)
    taken = [f"demand response {payment.reference}: what was delivered" for payment in facts.demand]
    taken += [
        f"instruction of {one.member} at {one.mtu_start}: {one.cause.value}, {one.payer} pays"
        for one in facts.instructions
    ]
    taken += [f"meter of {member}: what was declared of its registers" for member in facts.meters]
    return (*taken, *(["the tariff, which came after the decision"] if facts.tariff is not None else []))


def _uplifts(evidence: WindowEvidence) -> dict[str, int]:
    """What was committed to; a correction takes it from what the first settlement posted."""
    stated = {uplift.member: uplift.uplift_micro for uplift in evidence.uplifts}
    if evidence.earlier:
        posted = {
            leaf.account: leaf.amount_micro
            for leaf in evidence.earlier[0].postings
            if leaf.kind == "UPLIFT" and leaf.account != COMMUNITY_ACCOUNT
        }
        if posted != {member: amount for member, amount in stated.items() if amount}:
            raise DoubtError("uplifts: got others than those that the first settlement posted")
    return stated


def _priced(snapshot: Snapshot, facts: SettledOn) -> Microgrid:
    window, microgrid = snapshot.window, snapshot.microgrid
    if microgrid.priced_until(window.start) >= window.end:
        if facts.tariff is not None:
            raise DoubtError("settlement: got a tariff of its own, wanted that of the decision")
        return microgrid
    priced = replace(microgrid, tariff=facts.tariff or ())
    if priced.priced_until(window.start) < window.end:
        raise DoubtError("settlement: got no tariff for all of a window that was decided without one")
    return priced


def _compare(stated: Sequence[Posting], computed: Sequence[Posting]) -> None:
    for place, (got, wanted) in enumerate(zip(stated, computed, strict=False)):
        if got != wanted:
            raise DoubtError(f"posting {place}: got {_text(got)}, the settlement gives {_text(wanted)}")
    if len(stated) != len(computed):
        raise DoubtError(f"postings: got {len(stated)}, the settlement gives {len(computed)}")


def _text(posting: Posting) -> str:
    return f"{posting.kind} of {posting.amount_micro} micro for {posting.account} ({posting.reference})"
