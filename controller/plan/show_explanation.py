"""An explanation for people."""

import numpy as np
from rich.console import Console
from rich.markup import escape

from controller.plan.explaining import Explanation, Way
from controller.plan.planned import Planned
from controller.plan.stretches import interval, intervals, runs, stretches

MOST_RUNS = 12
SAME = 5e-4
"""Currency below which two costs are shown as equal."""


def show_explanation(console: Console, plan: Planned, explanation: Explanation) -> None:
    """Print why a device runs when it does."""
    for line in lines(plan, explanation):
        console.print(line, soft_wrap=True)


def lines(plan: Planned, explanation: Explanation) -> list[str]:
    """The same as text, a sentence or two a line."""
    return [
        f"[bold]{escape(explanation.device.id)}[/], {explanation.kind.replace('_', ' ')} of "
        f"{escape(explanation.peer.id)}, in a plan that is {escape(plan.status)}",
        *_runs(plan, explanation),
        _prices(plan, explanation),
        *_costs(plan, explanation),
        *([f"[yellow]It falls short by {explanation.shortfall}.[/]"] if explanation.shortfall else []),
        *(f"  {each.limit}: {escape(each.text)}" for each in explanation.reasons),
    ]


def _runs(plan: Planned, explanation: Explanation) -> list[str]:
    power, price, hours = explanation.planned.power_kw, explanation.price, plan.file.community.horizon.hours
    found = runs(power)
    if not found:
        return ["It does not run."]
    shown = [
        f"  {interval(plan.file.calendar, first, end)}: {hours * power[first:end].sum():.2f} kWh at "
        f"{price[first:end].min():.3f} to {price[first:end].max():.3f} {escape(plan.file.currency)}/kWh"
        for first, end in found[:MOST_RUNS]
    ]
    more = len(found) - MOST_RUNS
    return ["It runs (local time)", *shown, *([f"  and {more} more times"] if more > 0 else [])]


def _prices(plan: Planned, explanation: Explanation) -> str:
    price, currency = explanation.price, escape(plan.file.currency)
    cheap, dear = (stretches(np.isclose(price, bound)) for bound in (price.min(), price.max()))
    least, most = (intervals(plan.file.calendar, found, most=2) for found in (cheap, dear))
    return f"A kWh is worth at least {price.min():.3f} {currency} ({least}) and at most {price.max():.3f} ({most})."


def _costs(plan: Planned, explanation: Explanation) -> list[str]:
    currency, own = escape(plan.file.currency), explanation.planned
    whole = f" together with {', '.join(map(escape, explanation.together))}" if explanation.together else ""
    told = [f"At these prices it costs {own.cost:.3f} {currency}{whole} (energy {own.energy_cost:.3f})."]
    more = own.cost - explanation.cheapest.cost
    if more <= SAME:
        told.append("No other schedule of its own would cost less.")
    else:
        told.append(
            f"The cheapest for itself, {_when(plan, explanation.cheapest)}, would cost {more:.3f} less at these "
            "prices; there it would be in the way of others or of a limit, unless the plan's gap hides a better one."
        )
    if explanation.at_once is not None:
        saved = explanation.at_once.cost - own.cost
        verb = "less" if saved >= 0 else "more"
        told.append(
            f"Running at once, {_when(plan, explanation.at_once)}, would cost {explanation.at_once.cost:.3f}: the plan "
            f"is {abs(saved):.3f} {verb}."
        )
    return told


def _when(plan: Planned, way: Way) -> str:
    found = runs(way.power_kw)
    return intervals(plan.file.calendar, found, most=3) if found else "not running"
