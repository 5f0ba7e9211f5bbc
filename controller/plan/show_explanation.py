"""An explanation for people."""

import numpy as np
from rich.console import Console
from rich.markup import escape

from controller.plan.explaining import Explanation, Way
from controller.plan.planned import Planned
from controller.plan.stretches import interval, intervals, runs, stretches
from optimization.community import Battery, Curtailable, ElectricVehicle, Floats, Generator

MOST_RUNS = 12
SAME = 5e-4
"""Currency below which two costs are shown as equal."""


def show_explanation(console: Console, plan: Planned, explanation: Explanation) -> None:
    """Print why a device runs when it does."""
    for line in lines(plan, explanation):
        # Who sits at a terminal reads lines that break between words, a program whole ones.
        console.print(line, soft_wrap=not console.is_terminal)


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
    device, currency = explanation.device, escape(plan.file.currency)
    stores = isinstance(device, Battery | ElectricVehicle)
    shown = [
        f"  {_way(power[first]) if stores else ''}{interval(plan.file.calendar, first, end)}: "
        f"{hours * abs(power[first:end].sum()):.2f} kWh at {_span(price[first:end])} {currency}/kWh"
        for first, end in found[:MOST_RUNS]
    ]
    more = len(found) - MOST_RUNS
    verb = "produces" if isinstance(device, Generator | Curtailable) else "runs"
    return [f"It {verb} (local time)", *shown, *([f"  and {more} more times"] if more > 0 else [])]


def _span(price: Floats) -> str:
    """One price, or the lowest and the highest of several."""
    low, high = f"{price.min():.3f}", f"{price.max():.3f}"
    return low if low == high else f"{low} to {high}"


def _way(power_kw: float) -> str:
    return "charging " if power_kw > 0 else "discharging "


def _prices(plan: Planned, explanation: Explanation) -> str:
    price, currency = explanation.price, escape(plan.file.currency)
    cheap, dear = (stretches(np.isclose(price, bound)) for bound in (price.min(), price.max()))
    least, most = (intervals(plan.file.calendar, found, most=2) for found in (cheap, dear))
    return f"A kWh is worth at least {price.min():.3f} {currency} ({least}) and at most {price.max():.3f} ({most})."


def _costs(plan: Planned, explanation: Explanation) -> list[str]:
    currency, own = escape(plan.file.currency), explanation.planned
    others = [escape(each) for each in explanation.together if each != explanation.device.id]
    whole = f" together with {', '.join(others)}" if others else ""
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
