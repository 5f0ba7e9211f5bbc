"""A case cleared by one of the market designs, told like any other result."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any, assert_never

import numpy as np

from controller.case.format import WATTS, Case
from controller.case.result import Result, powers_of, storages_of, without_clearing
from controller.case.solving import Options, named, solver_of
from controller.case.trading import KILO, SHOWN, TradeRow, power_scale, whole_wh
from optimization.community import Floats
from optimization.errors import SolverError
from optimization.market import Market
from optimization.market_clearing import MarketClearing, MarketConflict, Unsolved
from optimization.markets.protocol import GRID, MANAGER, Design, DesignOutcome, DesignResult, Exceeded, Trades
from optimization.markets.registry import designs

SOLVED = frozenset({"bilateral", "pool", "composite"})
"""The designs that are, or hold, an optimisation."""


def designs_of(options: Options, market: Market, *, fee_per_side: float) -> Mapping[str, Design]:
    """Every design by its name.

    Where partners are unknown there is no link to carry a fee or a network charge: each side then pays the fee, and
    half of what links are charged on average.
    """
    charge = float(market.links.network_charge.mean()) if market.links.size else 0.0
    return designs(solver_of(options), fee=fee_per_side + charge / 2)


def clear_design(case: Case, design: str, *, fee_per_side: float, link_limit: float, options: Options) -> Result:
    """The result of one design.

    Parameters
    ----------
    case : the case
    design : its name
    fee_per_side, link_limit : the scenario
    options : how to solve what the design has to solve

    Returns
    -------
    Result
        ``cleared``; ``infeasible`` where the design leaves somebody unserved; ``unsolved`` where its solver ended
        without an answer. Limits that it did not keep are its ``violations``, and its ``reason`` says so.
    """
    market = case.scenario(fee_per_side=fee_per_side, link_limit=link_limit)
    began = perf_counter()
    outcome = clear_by(designs_of(options, market, fee_per_side=fee_per_side)[design], market)
    seconds = perf_counter() - began
    return design_result(case, market, outcome, design=design, solver=options.solver, seconds=seconds)


def clear_by(design: Design, market: Market) -> DesignResult:
    """What a design makes of a market; a solver that fails is a search without end."""
    try:
        return design.clear(market)
    except SolverError as err:
        return Unsolved(reason=str(err), best=MarketClearing.zeros(market))


def design_result(
    case: Case, market: Market, outcome: DesignResult, *, design: str, solver: str, seconds: float
) -> Result:
    """The result that a design's outcome is."""
    match outcome:
        case DesignOutcome():
            return _cleared(case, market, outcome, solver=solver, seconds=seconds)
        case MarketConflict(unserved=unserved):
            return without_clearing(
                case,
                market=design,
                solver=solver,
                status="infeasible",
                seconds=seconds,
                conflict=[named(entry) for entry in unserved],
            )
        case Unsolved(reason=reason):
            return without_clearing(
                case, market=design, solver=solver, status="unsolved", seconds=seconds, conflict=(), reason=reason
            )
        case _:
            assert_never(outcome)


def _cleared(case: Case, market: Market, outcome: DesignOutcome, *, solver: str, seconds: float) -> Result:
    violations = outcome.violations
    return Result(
        case=case.name,
        market=outcome.design,
        solver=solver if outcome.design in SOLVED else None,
        status="infeasible" if outcome.unserved else "cleared",
        reason=_complaint(violations, case.unit),
        unit=case.unit,
        peers=market.peers,
        mtus=market.mtus,
        # While somebody is unserved it would count that as served for nothing.
        objective=None if outcome.unserved else outcome.objective + case.constant,
        powers=powers_of(case, outcome.piece, outcome.charge - outcome.discharge),
        price=mean_prices(market, outcome.trades),
        net_sold=_net_sold(market, outcome.trades),
        trades=_rows(case, outcome.trades),
        imported=outcome.imported,
        exported=outcome.exported,
        storages=storages_of(market, outcome.charge, outcome.discharge),
        limit_price={},
        state_price={},
        iterations=outcome.iterations or None,
        seconds=seconds,
        conflict=tuple(named(entry) for entry in outcome.unserved),
        violations=tuple({"what": one.what, "mtu": one.mtu, "amount": one.amount} for one in violations),
    )


def _complaint(violations: Sequence[Exceeded], unit: str) -> str:
    if not violations:
        return ""
    worst = max(violations, key=lambda one: abs(one.amount))
    energy = "h" if worst.what.startswith("storage ") else ""
    more = f", and {len(violations) - 1} more" if len(violations) > 1 else ""
    return f"{worst.what} is exceeded by {abs(worst.amount):.6g} {unit}{energy} in MTU {worst.mtu}{more}"


def mean_prices(market: Market, trades: Trades) -> Floats:
    """(N, T) currency per unit of energy.

    Of a peer that buys more than it sells: what it pays on average, fees included; of one that sells more: what it gets
    on average, less fees. NaN where it trades nothing.
    """
    shape = (len(market.peers), market.mtus)
    bought, paid, sold, received = (np.zeros(shape) for _ in range(4))
    for side, energy, money, price in (
        (trades.buyer, bought, paid, trades.price + trades.buyer_fee),
        (trades.seller, sold, received, trades.price - trades.seller_fee),
    ):
        rows = side >= 0
        at = (side[rows], trades.mtu[rows])
        np.add.at(energy, at, trades.power[rows])
        np.add.at(money, at, (trades.power * price)[rows])
    buys = bought >= sold
    traded, value = np.where(buys, bought, sold), np.where(buys, paid, received)
    prices: Floats = np.full(shape, np.nan)
    np.divide(value, traded, out=prices, where=traded > 0)
    return prices


def _net_sold(market: Market, trades: Trades) -> Floats:
    """(N, T) sold to peers and to a pool less bought from them."""
    net = np.zeros((len(market.peers), market.mtus))
    for side, add in ((trades.seller, np.add), (trades.buyer, np.subtract)):
        rows = trades.among_peers & (side >= 0)
        add.at(net, (side[rows], trades.mtu[rows]), trades.power[rows])
    return net


def _rows(case: Case, trades: Trades) -> tuple[TradeRow, ...]:
    trades = _joined(trades)
    energy_wh = _whole_wh(case, trades)
    listed = (energy_wh > 0) | (trades.power > SHOWN * power_scale(case.market))
    peers = case.market.peers
    others = {side: _unused(name, peers) for side, name in ((GRID, "grid"), (MANAGER, "pool manager"))}

    def id_of(side: int) -> str:
        return peers[side] if side >= 0 else others[side]

    rows = [
        TradeRow(seller=id_of(seller), buyer=id_of(buyer), mtu=mtu, power=power, energy_wh=wh, price=price)
        for seller, buyer, mtu, power, wh, price in zip(
            *(column[listed].tolist() for column in (trades.seller, trades.buyer, trades.mtu, trades.power)),
            energy_wh[listed].tolist(),
            trades.price[listed].tolist(),
            strict=True,
        )
    ]
    return tuple(sorted(rows, key=lambda row: (row.mtu, row.seller, row.buyer, row.price or 0.0)))


def _joined(trades: Trades) -> Trades:
    """The same with one row for the same two sides at one price in one MTU, where orders cut it into several."""
    key = np.stack([trades.seller, trades.buyer, trades.mtu, trades.price])
    _, first, row = np.unique(key, axis=1, return_index=True, return_inverse=True)
    power = np.bincount(row.ravel(), weights=trades.power, minlength=first.size).astype(np.float64)
    names = [name for name in Trades.__dataclass_fields__ if name != "power"]
    return replace(trades, power=power, **{name: getattr(trades, name)[first] for name in names})


def _whole_wh(case: Case, trades: Trades) -> Any:
    """(K,) whole Wh; what is left over is carried to the same two sides' next MTU, each row to the next of its rank."""
    order = np.lexsort((trades.price, trades.mtu, trades.buyer, trades.seller))
    sides = np.stack([trades.seller, trades.buyer, trades.mtu])[:, order]
    begins = np.flatnonzero(np.r_[True, (sides[:, 1:] != sides[:, :-1]).any(axis=0)][: order.size])
    occurrence = np.arange(order.size) - np.repeat(begins, np.diff(np.r_[begins, order.size]))
    keys, line = np.unique(np.stack([*sides[:2], occurrence]), axis=1, return_inverse=True)
    power = np.zeros((keys.shape[1], case.market.mtus))
    power[line, sides[2]] = trades.power[order]
    # The prefix keeps a peer of any name apart from the grid and the manager.
    names = {side: f"peer {case.market.peers[side]}" if side >= 0 else str(side) for side in set(keys[:2].flat)}
    sellers, buyers = ([names[side] for side in row] for row in keys[:2])
    table = whole_wh(power * (case.market.hours * WATTS[case.unit] / KILO), (sellers, buyers))
    energy_wh = np.zeros(order.size, dtype=np.int64)
    energy_wh[order] = table[line, sides[2]]
    return energy_wh


def _unused(name: str, taken: Sequence[str]) -> str:
    """A name that no peer has."""
    while name in taken:
        name = f"the {name}"
    return name
