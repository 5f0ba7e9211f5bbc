"""What came out for a case, in the case's own sign and names, whichever solver or design it came from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from controller.case.format import BILATERAL, Case
from controller.case.trading import TradeRow, net_sold, netted, rows_of
from optimization.community import Floats
from optimization.market import Market
from optimization.market_certificate import MarketCertificate
from optimization.market_clearing import MarketClearing


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came out for a case.

    Attributes
    ----------
    case : name
    market, solver : names of the design and of what solved it; None for a design that needs no solver
    status : ``optimal``, ``cleared`` (by a design that does not optimise), ``infeasible`` or ``unsolved``
    reason : why it is unsolved, for people; else empty
    unit : of power
    peers : ids
    mtus : number of MTUs
    objective : currency; None where there is nothing to state it of
    powers : (T,) by peer, then by asset or storage, in the case's sign
    price : (N, T) currency per unit of energy; NaN where a peer has none
    net_sold : (N, T) what each peer sold to other peers less what it bought from them
    trades : by MTU, seller, buyer
    imported, exported : (N, T) from and to the grid
    storages : by peer and storage: (T,) ``charge``, ``discharge``, and ``energy`` at the end of each MTU
    limit_price, state_price : (T,) by limit, by peer and storage
    iterations : what the solver counts
    certificate : None where the design states none
    seconds : what solving took
    conflict : what would have to give, if anything: peers that are not served, limits, storages
    violations : limits and storages' bounds that a design did not keep, because its orders cannot say them
    """

    case: str
    market: str
    solver: str | None
    status: str
    unit: str
    peers: tuple[str, ...]
    mtus: int
    reason: str = ""
    objective: float | None = None
    powers: Mapping[str, Mapping[str, Floats]]
    price: Floats
    net_sold: Floats
    trades: tuple[TradeRow, ...] = ()
    imported: Floats
    exported: Floats
    storages: Mapping[str, Mapping[str, Mapping[str, Floats]]]
    limit_price: Mapping[str, Floats]
    state_price: Mapping[str, Mapping[str, Floats]]
    iterations: int | None = None
    certificate: MarketCertificate | None = None
    seconds: float
    conflict: tuple[Mapping[str, Any], ...] = ()
    violations: tuple[Mapping[str, Any], ...] = ()

    def produced(self, injection: bool) -> Floats:
        """(T,) what all assets that produce produce together."""
        sign = 1.0 if injection else -1.0
        total = np.zeros(self.mtus)
        for assets in self.powers.values():
            for power in assets.values():
                total += np.maximum(sign * power, 0.0)
        return total


def powers_of(case: Case, piece: Floats, charged: Floats) -> dict[str, dict[str, Floats]]:
    """(T,) power by peer, and by asset or storage, in the case's sign.

    Parameters
    ----------
    case : the case
    piece : (P, T) consumption positive
    charged : (S, T) charging less discharging
    """
    market = case.market
    totals = np.zeros((len(market.assets.names), market.mtus))
    np.add.at(totals, market.assets.piece_asset, piece)
    powers: dict[str, dict[str, Floats]] = {peer: {} for peer in market.peers}
    for rows, names, owners in (
        (totals, market.assets.names, market.assets.peer),
        (charged, market.stores.names, market.stores.peer),
    ):
        for row, name, owner in zip(rows, names, owners.tolist(), strict=True):
            # Adding zero turns -0.0 into 0.0.
            powers[market.peers[owner]][name] = case.sign * row + 0.0
    return powers


def storages_of(market: Market, charge: Floats, discharge: Floats) -> dict[str, dict[str, dict[str, Floats]]]:
    """(T,) charge, discharge and stored energy by peer and storage."""
    stores = market.stores
    inflow = stores.charge_efficiency[:, None] * charge - discharge / stores.discharge_efficiency[:, None]
    energy = stores.initial[:, None] + market.hours * np.cumsum(inflow, axis=1)
    shown: dict[str, dict[str, dict[str, Floats]]] = {}
    for s, (owner, name) in enumerate(zip(stores.peer.tolist(), stores.names, strict=True)):
        shown.setdefault(market.peers[owner], {})[name] = {
            "charge": charge[s],
            "discharge": discharge[s],
            "energy": energy[s],
        }
    return shown


def result_of(
    case: Case,
    market: Market,
    clearing: MarketClearing,
    certificate: MarketCertificate,
    *,
    solver: str,
    status: str,
    reason: str,
    seconds: float,
) -> Result:
    """The result that a clearing of a case's market is."""
    trade = netted(market.links, clearing.trade)
    state_price: dict[str, dict[str, Floats]] = {}
    for s, (owner, name) in enumerate(zip(market.stores.peer.tolist(), market.stores.names, strict=True)):
        state_price.setdefault(market.peers[owner], {})[name] = clearing.state_price[s]
    return Result(
        case=case.name,
        market=BILATERAL,
        solver=solver,
        status=status,
        reason=reason,
        unit=case.unit,
        peers=market.peers,
        mtus=market.mtus,
        objective=certificate.objective,
        powers=powers_of(case, clearing.piece, clearing.charge - clearing.discharge),
        price=clearing.price,
        net_sold=net_sold(market, trade),
        trades=rows_of(case, market.links, trade, clearing.price),
        imported=np.where(np.isfinite(market.import_price), np.maximum(clearing.imported, 0.0), 0.0),
        exported=np.where(np.isfinite(market.export_price), np.maximum(clearing.exported, 0.0), 0.0),
        storages=storages_of(market, clearing.charge, clearing.discharge),
        limit_price={limit.name: clearing.limit_price[g] for g, limit in enumerate(market.limits)},
        state_price=state_price,
        iterations=clearing.iterations,
        certificate=certificate,
        seconds=seconds,
    )


def without_clearing(
    case: Case,
    *,
    market: str,
    solver: str | None,
    status: str,
    seconds: float,
    conflict: Sequence[Mapping[str, Any]],
    reason: str = "",
) -> Result:
    """The result where there is no clearing."""
    none = np.full((len(case.market.peers), case.market.mtus), np.nan)
    return Result(
        case=case.name,
        market=market,
        solver=solver,
        status=status,
        reason=reason,
        unit=case.unit,
        peers=case.market.peers,
        mtus=case.market.mtus,
        powers={},
        price=none,
        net_sold=none,
        imported=none,
        exported=none,
        storages={},
        limit_price={},
        state_price={},
        seconds=seconds,
        conflict=tuple(conflict),
    )
