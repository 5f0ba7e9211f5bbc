"""The market designs by the names that the command knows."""

from collections.abc import Mapping

from optimization.errors import ProblemError
from optimization.markets.average_price import AveragePrice, Priority
from optimization.markets.bilateral import Bilateral
from optimization.markets.composite import Composite
from optimization.markets.double_auction import DoubleAuction
from optimization.markets.grid_only import GridOnly
from optimization.markets.negotiation import Negotiation
from optimization.markets.pool import Pool
from optimization.markets.protocol import Design, Solve

NAMES = ("bilateral", "pool", "double-auction", "average-price", "negotiation", "composite")
"""What ``gridpact clear --market`` takes."""

BASELINE = "grid-only"
"""What a comparison measures winners and losers against."""


def designs(
    solve: Solve,
    *,
    fee: float = 0.0,
    import_fee: float = 0.0,
    export_fee: float = 0.0,
    steps: int = 10,
    priority: Priority = Priority.FIRST_COME,
    rounds: int = 20,
    time_out: int | None = None,
) -> Mapping[str, Design]:
    """Every design by its name, the baseline last.

    Parameters
    ----------
    solve : clears a market for the designs that are one
    fee : currency/kWh that each side pays on a trade where partners are not known (pool, double auction, average
        price); over links the market's own network charges and preferences say what a trade costs
    import_fee, export_fee : currency/kWh of the pool's manager
    steps : into how many orders a quadratic cost is cut
    priority : of the average price
    rounds, time_out : of the negotiation
    """
    bilateral = Bilateral(solve=solve)
    pool = Pool(solve=solve, trading_fee=fee, import_fee=import_fee, export_fee=export_fee)
    every: tuple[Design, ...] = (
        bilateral,
        pool,
        DoubleAuction(steps=steps, fee=fee),
        AveragePrice(priority=priority, steps=steps, fee=fee),
        Negotiation(rounds=rounds, time_out=time_out, steps=steps),
        Composite(bilateral=bilateral, pool=pool),
        GridOnly(solve=solve),
    )
    return {design.name: design for design in every}


def design(name: str, every: Mapping[str, Design]) -> Design:
    """One design.

    Raises
    ------
    ProblemError
        If there is none of that name; the message names the choices.
    """
    if name not in every:
        raise ProblemError(f"market: got {name}, wanted one of {', '.join(every)}")
    return every[name]
