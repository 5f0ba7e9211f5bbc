"""What happened in a microgrid so far: trades and prices, page by page."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from sqlalchemy import Connection

from contracts.books import round_half_even
from controller.access import Identity
from controller.consent import Scope
from controller.microgrid import GRID_ACCOUNT, Microgrid, Trade
from controller.refusals import not_found
from controller.services.core import require_microgrid, require_window
from controller.services.mandates import visible_members
from controller.services.paging import read_page
from controller.snapshot import microgrid_of
from controller.store import adjustments, market, registry
from controller.wire import fields
from controller.wire.market import trade_message
from gridpact.v1 import dispatch_pb2 as pb


def interval_of(
    request: pb.ListClearingsRequest | pb.ListTradesRequest | pb.ListPricesRequest,
) -> tuple[int, int] | None:
    """The interval that a request asks for; None where it asks for all."""
    return fields.interval("interval", request.interval) if request.HasField("interval") else None


def trades(
    connection: Connection, caller: Identity, request: pb.ListTradesRequest, now: float
) -> pb.ListTradesResponse:
    """The trades that a caller may know of, in order of time."""
    window: str | None = None
    if request.parent.count("/") == 1:
        id_ = fields.microgrid_id("parent", request.parent)
    else:
        id_, window = fields.window_id("parent", request.parent)
    within = interval_of(request)
    page = read_page(caller, request, request.page_size, request.page_token, (int, int))
    microgrid = require_microgrid(connection, caller, id_, request.parent)
    if window is not None:
        require_window(connection, caller, window, "parent")
    known = visible_members(connection, caller, id_, Scope.TRADES, now)
    rows = market.history(
        connection,
        id_,
        market.TradeFilter(
            window=window, within=within, members=known, member=_member(connection, id_, request.member, known)
        ),
        after=None if page.after is None else (int(page.after[0]), int(page.after[1])),
        limit=page.size + 1,
    )
    found, token = page.cut(rows, lambda row: (row.window_start, row.ix))
    return pb.ListTradesResponse(
        trades=[
            trade_message(
                row.window,
                row.ix,
                Trade(
                    seller=_shown(row.seller, known),
                    buyer=_shown(row.buyer, known),
                    mtu_start=row.mtu_start,
                    energy_wh=row.energy_wh,
                    price_micro_per_kwh=row.price_micro_per_kwh,
                ),
                microgrid.mtu_seconds,
                adjustment=row.adjustment,
            )
            for row in found
        ],
        next_page_token=token,
    )


def _member(connection: Connection, microgrid: str, name: str, known: frozenset[str] | None) -> str | None:
    """The member that is asked for; the same refusal for one that is not there and one that the caller may not know."""
    if not name:
        return None
    grid, member = fields.resource("member", name, "microgrids", "members")
    members = registry.member_ids(connection, microgrid) if known is None else known
    if grid != microgrid or member not in members:
        raise not_found(name)
    return member


def _shown(party: str, known: frozenset[str] | None) -> str:
    """A party's name, empty where it may not be known."""
    return party if known is None or party == GRID_ACCOUNT or party in known else ""


def prices(connection: Connection, caller: Identity, request: pb.ListPricesRequest) -> pb.ListPricesResponse:
    """What energy cost in each MTU that was cleared, in order of time."""
    id_ = fields.microgrid_id("parent", request.parent)
    within = interval_of(request)
    page = read_page(caller, request, request.page_size, request.page_token, (int,))
    microgrid = require_microgrid(connection, caller, id_, request.parent)
    after = None if page.after is None else int(page.after[0])
    found: list[tuple[int, pb.Price]] = []
    for start, message in _prices(connection, microgrid, within, after):
        found.append((start, message))
        if len(found) > page.size:
            break
    shown, token = page.cut(found, lambda item: (item[0],))
    return pb.ListPricesResponse(prices=[message for _, message in shown], next_page_token=token)


def _prices(
    connection: Connection, microgrid: Microgrid, within: tuple[int, int] | None, after: int | None
) -> Iterator[tuple[int, pb.Price]]:
    """Each MTU's start and price; windows are read one by one, as far as they are wanted."""
    # Windows that end later than the last MTU shown. Each is read when its turn comes: rows carry whole snapshots.
    first = None if after is None else after - microgrid.window_minutes * 60
    while found := market.decided_windows(
        connection, microgrid.id, market.WindowFilter(after=first, within=within, cleared=True, limit=1)
    ):
        (row,) = found
        first = row.start
        traded = [trade for trade, _ in market.trades(connection, row.name)]
        for begin, end, snapshot in _cleared(connection, row):
            decided = microgrid_of(snapshot)
            for start in microgrid.mtus(begin, end):
                if (after is None or start > after) and (within is None or within[0] <= start < within[1]):
                    yield start, _price(decided, start, [trade for trade in traded if trade.mtu_start == start])


def _cleared(connection: Connection, row: market.WindowRow) -> list[tuple[int, int, str]]:
    """What of a window was cleared, and on which snapshot: all of it, or where that failed what adjustments traded."""
    if row.certificate is not None:
        return [(row.start, row.end, row.snapshot or "")]
    return [
        (part.start, part.end, part.snapshot or "")
        for part in adjustments.adjustments(connection, row.name)
        if part.certificate is not None
    ]


def _price(microgrid: Microgrid, start: int, traded: list[Trade]) -> pb.Price:
    tariff = microgrid.prices(start)
    neighbours = [trade for trade in traded if GRID_ACCOUNT not in (trade.seller, trade.buyer)]
    asked = [trade.price_micro_per_kwh for trade in neighbours]
    energy = sum(trade.energy_wh for trade in neighbours)
    value = sum(trade.energy_wh * trade.price_micro_per_kwh for trade in neighbours)
    from_grid = _from_grid(traded)
    return pb.Price(
        interval=fields.interval_message(start, start + microgrid.mtu_seconds),
        neighbour_price_micro_per_kwh=round_half_even(value, energy) if energy else 0,
        lowest_price_micro_per_kwh=min(asked, default=0),
        highest_price_micro_per_kwh=max(asked, default=0),
        neighbour_energy_wh=energy,
        import_price_micro_per_kwh=tariff.import_price_micro_per_kwh,
        export_price_micro_per_kwh=tariff.export_price_micro_per_kwh,
        import_energy_wh=sum(energy for energy in from_grid.values() if energy > 0),
        export_energy_wh=-sum(energy for energy in from_grid.values() if energy < 0),
    )


def _from_grid(traded: Iterable[Trade]) -> dict[str, int]:
    """What each member bought from the grid less what it sold to it: an adjustment may take back what was traded."""
    bought: dict[str, int] = defaultdict(int)
    for trade in traded:
        if trade.seller == GRID_ACCOUNT:
            bought[trade.buyer] += trade.energy_wh
        elif trade.buyer == GRID_ACCOUNT:
            bought[trade.seller] -= trade.energy_wh
    return bought
