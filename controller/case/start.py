"""A clearing from what ``gridpact clear --json`` printed earlier: where a solver may start."""

from pathlib import Path
from typing import Any

import numpy as np

from controller.case.fields import number
from controller.case.format import Case
from controller.demo.strict import Reader
from controller.errors import InputError
from optimization.community import Floats
from optimization.market import Market
from optimization.market_clearing import MarketClearing


def read_start(path: Path, case: Case) -> MarketClearing:
    """The clearing in a result, as far as its names occur in the case; what does not starts from nothing.

    Raises
    ------
    InputError
        If the file is no result with as many MTUs as the case.
    """
    reader = Reader.of_file(path)
    market = case.market
    blank = MarketClearing.zeros(market)
    table = _Table(market)
    powers, prices = reader.field("powers"), reader.field("prices")
    if not powers.entries():
        raise powers.wrong("the powers of a clearing, which an infeasible case has not")
    return MarketClearing(
        piece=_pieces(case, table, powers),
        trade=_trades(market, reader.field("trades")),
        imported=table.rows(reader.field("grid"), market.peers, "import", blank.imported),
        exported=table.rows(reader.field("grid"), market.peers, "export", blank.exported),
        charge=table.stored(reader.field("storages"), "charge", blank.charge),
        discharge=table.stored(reader.field("storages"), "discharge", blank.discharge),
        price=table.rows(prices, market.peers, None, blank.price),
        limit_price=table.rows(
            reader.field("limit_prices"), tuple(limit.name for limit in market.limits), None, blank.limit_price
        ),
        state_price=table.stored(reader.field("state_prices"), None, blank.state_price),
    )


class _Table:
    """Reads (T,) values by name into the rows of a table."""

    def __init__(self, market: Market) -> None:
        self._market = market

    def values(self, reader: Reader) -> Floats:
        """(T,) values as a result states them: one number, or one for each MTU."""
        items = reader.items() if isinstance(reader.value, list) else [reader]
        if len(items) != self._market.mtus:
            raise InputError(f"{reader.place}: got {len(items)} values, wanted {self._market.mtus}, one for each MTU")
        return np.array([number(item) for item in items])

    def rows(self, reader: Reader, names: tuple[str, ...], field: str | None, blank: Floats) -> Floats:
        """(names, T) values; ``field`` of each where that is an object."""
        table, entries = blank.copy(), reader.entries()
        for row, name in enumerate(names):
            if name in entries:
                table[row] = self.values(entries[name] if field is None else entries[name].field(field))
        return table

    def stored(self, reader: Reader, field: str | None, blank: Floats) -> Floats:
        """(S, T) values of the storages, which stand under their peers."""
        table, entries, stores = blank.copy(), reader.entries(), self._market.stores
        for row, (owner, name) in enumerate(zip(stores.peer.tolist(), stores.names, strict=True)):
            peer = entries.get(self._market.peers[owner])
            if peer is not None and peer.has(name):
                table[row] = self.values(peer.field(name) if field is None else peer.field(name).field(field))
        return table


def _pieces(case: Case, table: _Table, powers: Reader) -> Floats:
    """(P, T) powers of the pieces; what an asset of several consumes goes to where it is worth most first."""
    market = case.market
    assets, entries = market.assets, powers.entries()
    piece: Floats = np.clip(0.0, assets.lower, assets.upper)
    for a, (owner, name) in enumerate(zip(assets.peer.tolist(), assets.names, strict=True)):
        peer = entries.get(market.peers[owner])
        if peer is None or not peer.has(name):
            continue
        rest = case.sign * table.values(peer.field(name))
        rows = np.flatnonzero(assets.piece_asset == a) if assets.piece_asset.size > len(assets.names) else np.array([a])
        piece[rows] = assets.lower[rows]
        rest = rest - piece[rows].sum(axis=0)
        for k in rows[np.argsort(assets.slope[rows].mean(axis=1), kind="stable")].tolist():
            filled = np.clip(rest, 0.0, assets.upper[k] - assets.lower[k])
            piece[k] += filled
            rest = rest - filled
    return piece


def _trades(market: Market, reader: Reader) -> Floats:
    index: dict[str, int] = {peer: n for n, peer in enumerate(market.peers)}
    links = market.links
    row = {pair: k for k, pair in enumerate(zip(links.seller.tolist(), links.buyer.tolist(), strict=True))}
    trade = np.zeros((links.size, market.mtus))
    for item in reader.items():
        sides: Any = tuple(index.get(item.field(side).text(), -1) for side in ("seller", "buyer"))
        if sides in row:
            mtu = item.field("mtu").integer(upper=market.mtus - 1)
            trade[row[sides], mtu] = number(item.field("power"), lower=0.0)
    return trade
