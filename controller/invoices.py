"""An invoice: a member's lines of the ledger, put together by day or MTU, with what each goes back to. Pure.

Amounts are the ledger's own, to the micro: nothing is computed anew but average prices.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from contracts.books import round_half_even
from contracts.runs import reversed_index
from controller.microgrid import GRID_ACCOUNT, Microgrid, Trade

OF_TRADES = frozenset({"TRADE", "NETWORK_CHARGE", "REFUND"})
"""Kinds whose lines go back to trades."""
OF_MTUS = frozenset({"IMBALANCE", "CORRECTION"})
"""Kinds whose references name a member and an MTU."""
KINDS = (
    "TRADE",
    "REFUND",
    "NETWORK_CHARGE",
    "IMBALANCE",
    "CORRECTION",
    "DEMAND_RESPONSE",
    "UPLIFT",
    "FEE",
    "TAX",
    "ROUNDING",
)
"""In the order of an invoice."""
NEIGHBOURS = "neighbours"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnLine:
    """A member's line of the ledger.

    Attributes
    ----------
    window, index : where it stands
    start, end : of the window, Unix seconds
    kind, reference, amount_micro : as posted
    run : 0 unless it is a correction's
    """

    window: str
    index: int
    start: int
    end: int
    kind: str
    reference: str
    amount_micro: int
    run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Lines of a window's ledger, by their indices."""

    window: str
    postings: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceLine:
    """Lines of the ledger that belong together.

    Attributes
    ----------
    kind : as posted
    start, end : the local day, the MTU, or the window, Unix seconds
    counterpart : of trades and what goes with them ``grid`` or ``neighbours``; else empty
    sold : whether the member sold; False where nothing was traded
    energy_wh : of trades; None of other kinds
    price_micro_per_kwh : their average price; None where there is none
    amount_micro : positive is received, negative is owed
    correction : whether they were posted after the first settlement
    references : what they are
    """

    kind: str
    start: int
    end: int
    counterpart: str
    sold: bool
    energy_wh: int | None
    price_micro_per_kwh: int | None
    amount_micro: int
    correction: bool
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """What a member owes and is owed for a time.

    Attributes
    ----------
    member : its resource name
    currency, time_zone : of the microgrid
    start, end : Unix seconds; windows count that begin in ``[start, end)``
    lines : by time, then in the order of the kinds
    total_micro : what they come to; negative is owed
    unsettled : how many windows that began before ``created`` are not settled yet
    created : Unix seconds
    """

    member: str
    currency: str
    time_zone: str
    start: int
    end: int
    lines: tuple[InvoiceLine, ...]
    total_micro: int
    unsettled: int
    created: int

    def totals(self) -> dict[str, int]:
        """What each kind comes to, in order."""
        found: defaultdict[str, int] = defaultdict(int)
        for line in self.lines:
            found[line.kind] += line.amount_micro
        return {kind: found[kind] for kind in sorted(found, key=_place)}


def days_of(first: date, last: date, time_zone: str) -> tuple[int, int]:
    """From when to when local days last, the last included, in Unix seconds."""
    zone = ZoneInfo(time_zone)
    start, end = (datetime.combine(day, time(), zone) for day in (first, last + timedelta(days=1)))
    return int(start.timestamp()), int(end.timestamp())


def lines_of(
    microgrid: Microgrid,
    member: str,
    own: Iterable[OwnLine],
    trades: Mapping[tuple[str, int], Trade],
    *,
    by_mtu: bool,
) -> tuple[InvoiceLine, ...]:
    """A member's lines, put together.

    Parameters
    ----------
    microgrid : its MTUs and time zone
    member : its id
    own : all its lines of the windows concerned
    trades : its trades by window and index
    by_mtu : a line for each MTU, else for each local day
    """
    every = list(own)
    known = {(line.window, line.index): line for line in every}
    groups: defaultdict[tuple[int, int, int, str, bool, bool], list[tuple[OwnLine, Trade | None]]] = defaultdict(list)
    for line in every:
        first = line
        while (back := reversed_index(first.reference)) is not None:
            first = known[line.window, back]
        trade = trades[line.window, int(first.reference.split()[1])] if line.kind in OF_TRADES else None
        start, end = _time(microgrid, first, trade) if by_mtu else _day(microgrid, line.start)
        counterpart = (
            "" if trade is None else GRID_ACCOUNT if GRID_ACCOUNT in (trade.seller, trade.buyer) else NEIGHBOURS
        )
        sold = trade is not None and trade.seller == member
        groups[start, end, _place(line.kind), counterpart, sold, line.run > 0].append((line, trade))
    return tuple(_line(place, lines) for place, lines in sorted(groups.items(), key=lambda group: group[0]))


def _line(place: tuple[int, int, int, str, bool, bool], lines: list[tuple[OwnLine, Trade | None]]) -> InvoiceLine:
    start, end, _, counterpart, sold, correction = place
    postings: defaultdict[str, list[int]] = defaultdict(list)
    kind = lines[0][0].kind
    energy = product = 0
    for line, trade in lines:
        postings[line.window].append(line.index)
        if kind == "TRADE" and trade is not None:
            sign = 1 if reversed_index(line.reference) is None else -1
            energy += sign * trade.energy_wh
            product += sign * trade.energy_wh * trade.price_micro_per_kwh
    return InvoiceLine(
        kind=kind,
        start=start,
        end=end,
        counterpart=counterpart,
        sold=sold,
        energy_wh=energy if kind == "TRADE" else None,
        price_micro_per_kwh=round_half_even(product, energy) if energy else None,
        amount_micro=sum(line.amount_micro for line, _ in lines),
        correction=correction,
        references=tuple(
            Reference(window=window, postings=tuple(sorted(indices))) for window, indices in sorted(postings.items())
        ),
    )


def _place(kind: str) -> int:
    return KINDS.index(kind) if kind in KINDS else len(KINDS)


def _time(microgrid: Microgrid, line: OwnLine, trade: Trade | None) -> tuple[int, int]:
    if trade is not None:
        start = trade.mtu_start
    elif line.kind in OF_MTUS:
        start = int(line.reference.split()[1])
    else:
        return line.start, line.end
    return start, start + microgrid.mtu_seconds


def _day(microgrid: Microgrid, at: int) -> tuple[int, int]:
    day = datetime.fromtimestamp(at, ZoneInfo(microgrid.time_zone)).date()
    return days_of(day, day, microgrid.time_zone)
