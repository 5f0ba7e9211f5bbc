"""The market designs side by side on one case: what each is worth, to whom, and what it leaves undone."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np

from controller.case.designing import clear_by, designs_of
from controller.case.format import Case
from controller.case.solving import Options
from optimization.community import Floats
from optimization.market import Market
from optimization.market_clearing import MarketConflict, Unsolved
from optimization.markets.protocol import DesignOutcome, DesignResult, Trades
from optimization.markets.registry import BASELINE

DIFFERENCE = 1e-6
"""Share of the mean size of a peer's cost that it must gain or lose to count as a winner or a loser."""

NOISE = 1e-7
"""Share of the largest energy below which one is a solver's rounding."""

UNKNOWN_PARTNERS = ("pool", "double-auction", "average-price")
"""The designs in which nobody knows whom it trades with."""

PRICED = 1e-6
"""Share of the largest trade that a trade must have for its price to count among the lowest and highest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What a design is worth to one peer against the baseline.

    Attributes
    ----------
    peer : id
    amount : currency; None where one of the two leaves it unserved, or the design exceeds a limit, so that its costs
        do not compare
    verdict : 1 for a winner, -1 for a loser, 0 for neither
    """

    peer: str
    amount: float | None
    verdict: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignFigures:
    """What one design makes of a case.

    Attributes
    ----------
    design : name
    status : ``cleared``, ``infeasible`` (it leaves somebody unserved) or ``unsolved``
    reason : why, for people; else empty
    compares : whether everybody is served and every limit kept, without which a welfare says nothing beside others
    welfare : currency; None where it does not compare: it would leave out what is unserved or not kept
    volume : energy that peers sold to each other or to a pool, in the case's unit times an hour
    imported, exported : energy from and to the grid
    price_low, price_mean, price_high : currency per unit of energy that buyers pay sellers or the pool, without fees;
        None where they do not trade
    price_borne : mean of the same with what the buyer bears on top: fee, network charge and preference
    unserved : energy that must run, or must be produced, and found neither partner nor grid
    unserved_peers : number of peers that this leaves unserved in some MTU
    exceeded : bounds of limits and storages that were not kept, a bound in an MTU each
    winners, losers : number of peers better and worse off than with the baseline
    gains : of each peer
    seconds : what clearing took
    """

    design: str
    status: str
    reason: str
    compares: bool = False
    welfare: float | None = None
    volume: float = 0.0
    imported: float = 0.0
    exported: float = 0.0
    price_low: float | None = None
    price_mean: float | None = None
    price_high: float | None = None
    price_borne: float | None = None
    unserved: float = 0.0
    unserved_peers: int = 0
    exceeded: int = 0
    winners: int = 0
    losers: int = 0
    gains: tuple[Gain, ...] = ()
    seconds: float = 0.0

    @property
    def answered(self) -> bool:
        """Whether there are any powers to tell of."""
        return bool(self.gains)


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignComparison:
    """The designs side by side.

    Attributes
    ----------
    case : name
    unit : of power
    price_unit : of prices, as the case says it for people; may be empty
    peers : number of them
    fee_per_side : currency per unit of energy
    particular : whether links differ in what they cost beyond the fee, which a design that knows no partners cannot say
    baseline : the design that gains are measured against: the grid alone; if that leaves somebody unserved or a limit
        exceeded, the first design that does not; empty where there is none
    designs : in the order of the command, the grid alone last
    """

    case: str
    unit: str
    price_unit: str
    peers: int
    fee_per_side: float
    particular: bool
    baseline: str
    designs: tuple[DesignFigures, ...]

    @property
    def currency(self) -> str:
        """What prices are in per unit of energy; empty where the case does not say."""
        name, slash, _ = self.price_unit.partition("/")
        return name.strip() if slash else ""

    @property
    def proviso(self) -> str:
        """What limits the comparison itself, for people; empty for nothing."""
        if not self.particular:
            return ""
        return (
            f"{', '.join(UNKNOWN_PARTNERS)} do not know partners: they feel no preferences and pay the mean network "
            "charge, so their welfare may exceed bilateral's"
        )

    def as_json(self) -> dict[str, Any]:
        """The comparison as JSON has it."""
        shown = asdict(self)
        shown["price_unit"] = self.price_unit or None
        del shown["particular"]
        shown["proviso"] = self.proviso or None
        for figures in shown["designs"]:
            figures["gains"] = {gain["peer"]: gain["amount"] for gain in figures["gains"]}
            figures["reason"] = figures["reason"] or None
        return shown


def compare_designs(case: Case, *, fee_per_side: float, link_limit: float, options: Options) -> DesignComparison:
    """Every design's figures on one case."""
    market = case.scenario(fee_per_side=fee_per_side, link_limit=link_limit)
    outcomes: dict[str, tuple[DesignResult, float]] = {}
    for name, design in designs_of(options, market, fee_per_side=fee_per_side).items():
        began = perf_counter()
        outcome = clear_by(design, market)
        outcomes[name] = outcome, perf_counter() - began
    baseline = _baseline({name: outcome for name, (outcome, _) in outcomes.items()})
    reference = outcomes[baseline][0] if baseline else None
    return DesignComparison(
        case=case.name,
        unit=case.unit,
        price_unit=case.price_unit,
        peers=len(market.peers),
        fee_per_side=fee_per_side,
        particular=_particular(case.market),
        baseline=baseline,
        designs=tuple(
            _figures(case, market, name, outcome, reference, seconds) for name, (outcome, seconds) in outcomes.items()
        ),
    )


def _baseline(outcomes: Mapping[str, DesignResult]) -> str:
    for name in (BASELINE, *outcomes):
        outcome = outcomes.get(name)
        if isinstance(outcome, DesignOutcome) and outcome.feasible:
            return name
    return ""


def _figures(
    case: Case, market: Market, name: str, outcome: DesignResult, reference: DesignResult | None, seconds: float
) -> DesignFigures:
    if isinstance(outcome, MarketConflict):
        missing = market.hours * sum(abs(entry.amount) for entry in outcome.unserved)
        reason = ", ".join(dict.fromkeys(entry.what for entry in outcome.unserved[:3]))
        return DesignFigures(
            design=name,
            status="infeasible",
            reason=f"in conflict: {reason}",
            unserved=missing,
            unserved_peers=len(_unserved(market, outcome)),
            seconds=seconds,
        )
    if isinstance(outcome, Unsolved):
        return DesignFigures(design=name, status="unsolved", reason=outcome.reason, seconds=seconds)
    low, mean, high = _prices(outcome.trades)
    gains = _gains(market, outcome, reference)
    volume, imported, exported = _energies(market, outcome)
    return DesignFigures(
        design=name,
        status="infeasible" if outcome.unserved else "cleared",
        reason=_undone(outcome),
        compares=outcome.feasible,
        welfare=0.0 - outcome.objective - case.constant if outcome.feasible else None,
        volume=volume,
        imported=imported,
        exported=exported,
        price_low=low,
        price_mean=mean,
        price_high=high,
        price_borne=_price_borne(outcome.trades),
        unserved=market.hours * sum(abs(entry.amount) for entry in outcome.unserved),
        unserved_peers=len(_unserved(market, outcome)),
        exceeded=len(outcome.violations),
        winners=sum(gain.verdict > 0 for gain in gains),
        losers=sum(gain.verdict < 0 for gain in gains),
        gains=gains,
        seconds=seconds,
    )


def _undone(outcome: DesignOutcome) -> str:
    """Who is unserved and which bounds are not kept; empty for nothing."""
    parts = []
    for names, what in ((outcome.unserved, "unserved"), (outcome.violations, "exceeded")):
        distinct = list(dict.fromkeys(entry.what for entry in names))
        if distinct:
            more = f" and {len(distinct) - 3} more" if len(distinct) > 3 else ""
            parts.append(f"{what}: {', '.join(distinct[:3])}{more}")
    return "; ".join(parts)


def _prices(trades: Trades) -> tuple[float | None, float | None, float | None]:
    rows = trades.among_peers & (trades.power > PRICED * trades.power.max(initial=0.0))
    if not rows.any():
        return None, None, None
    price, power = trades.price[rows], trades.power[rows]
    low, high = float(price.min()), float(price.max())
    # A mean of equal numbers may differ from them in its last bit.
    return low, min(max(float(np.average(price, weights=power)), low), high), high


def _price_borne(trades: Trades) -> float | None:
    rows = trades.among_peers & (trades.buyer >= 0)
    if not trades.power[rows].sum() > 0:
        return None
    borne = trades.price + trades.buyer_fee + trades.buyer_preference
    return float(np.average(borne[rows], weights=trades.power[rows]))


def _particular(market: Market) -> bool:
    links = market.links
    felt = (links.seller_preference != 0).any() or (links.buyer_preference != 0).any()
    return bool(felt or (links.network_charge != links.network_charge[:1]).any())


def _gains(market: Market, outcome: DesignOutcome, reference: DesignResult | None) -> tuple[Gain, ...]:
    if not isinstance(reference, DesignOutcome) or outcome.violations:
        return tuple(Gain(peer=peer, amount=None) for peer in market.peers)
    unknown = _unserved(market, outcome) | _unserved(market, reference)
    cost: Floats = outcome.peer_cost.sum(axis=1)
    gained: Floats = reference.peer_cost.sum(axis=1) - cost
    verdicts = np.where(np.abs(gained) > DIFFERENCE * np.abs(cost).mean(), np.sign(gained), 0.0).astype(int)
    return tuple(
        Gain(peer=peer, amount=None) if peer in unknown else Gain(peer=peer, amount=amount, verdict=verdict)
        for peer, amount, verdict in zip(market.peers, (gained + 0.0).tolist(), verdicts.tolist(), strict=True)
    )


def _energies(market: Market, outcome: DesignOutcome) -> tuple[float, float, float]:
    """Traded, imported, exported; what is a solver's noise beside the largest of them is nothing."""
    values = (
        outcome.volume(market),
        market.hours * float(outcome.imported.sum()),
        market.hours * float(outcome.exported.sum()),
    )
    traded, imported, exported = (value if value > NOISE * max(values) else 0.0 for value in values)
    return traded, imported, exported


def _unserved(market: Market, outcome: DesignOutcome | MarketConflict) -> set[str]:
    named = {entry.what.removeprefix("peer ") for entry in outcome.unserved}
    return named & set(market.peers)


def served(designs: Sequence[DesignFigures]) -> bool:
    """Whether at least one design serves everybody and keeps every limit."""
    return any(figures.compares for figures in designs)
