"""An explanation for people."""

from typing import assert_never

import numpy as np
from rich.console import Console
from rich.markup import escape

from controller.plan.explaining import Explanation, Way
from controller.plan.planned import Planned
from controller.plan.stretches import interval, intervals, runs, stretches
from optimization.community import (
    Battery,
    Curtailable,
    ElectricVehicle,
    FixedLoad,
    Floats,
    Generator,
    Interruptible,
    Programme,
    Thermostatic,
)

MOST_RUNS = 12
SAME = 5e-4
"""Currency below which two costs are shown as equal."""

HIDDEN = ", unless the plan's gap hides a better one"


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
    told = [f"At these prices it costs {own.cost:.3f} {currency}{whole} ({_parts(explanation)})."]
    more = own.cost - explanation.cheapest.cost
    if more <= SAME:
        told.append("No other schedule of its own would cost less.")
    else:
        told.append(
            f"The cheapest for itself, {_when(plan, explanation.cheapest)}, would cost {more:.3f} less at these "
            f"prices; {_obstacle(plan, explanation)}{'' if plan.best else HIDDEN}."
        )
    if explanation.at_once is not None:
        saved = explanation.at_once.cost - own.cost
        thrifty = "Using the least energy that comfort allows, whatever the price"
        what = thrifty if isinstance(explanation.device, Thermostatic) else "Running at once"
        difference = "as much" if abs(saved) <= SAME else f"{abs(saved):.3f} {'less' if saved > 0 else 'more'}"
        told.append(
            f"{what}, {_when(plan, explanation.at_once)}, would cost {explanation.at_once.cost:.3f}: the plan "
            f"is {difference}."
        )
    return told


def _parts(explanation: Explanation) -> str:
    """What a cost consists of, without what rounds to nothing beside energy."""
    own = explanation.planned
    parts = [("energy", own.energy_cost), (_own_parts(explanation), own.own_cost)]
    parts.append(("departing from an earlier plan", own.change_cost))
    return ", ".join(f"{name} {cost:.3f}" for k, (name, cost) in enumerate(parts) if not k or abs(cost) > SAME)


def _own_parts(explanation: Explanation) -> str:
    """What a device costs beside energy."""
    match explanation.device:
        case FixedLoad():
            parts = "other"
        case Curtailable():
            parts = "curtailment"
        case Generator():
            parts = "fuel and starts"
        case Battery(final_value=final_value):
            parts = "wear and waiting, less what is left in it" if final_value else "wear and waiting"
        case ElectricVehicle():
            parts = "wear and waiting"
        case Programme():
            parts = "waiting"
        case Interruptible():
            parts = "starts and waiting"
        case Thermostatic():
            parts = "starts and discomfort"
        case other:
            assert_never(other)
    return f"{parts}, and what it lacks" if explanation.shortfall else parts


def _obstacle(plan: Planned, explanation: Explanation) -> str:
    """What may keep a device from its cheapest schedule."""
    community = plan.file.community
    own = {explanation.device.id, *explanation.together}
    others = any(not isinstance(each, FixedLoad) and each.id not in own for _, each in community.devices())
    limited = any(explanation.peer.id in envelope.peers for envelope in community.envelopes)
    if others or limited:
        in_the_way = " or of ".join([*(["others"] if others else []), *(["a limit"] if limited else [])])
        return f"there it would be in the way of {in_the_way}"
    return "there its own power would change what energy is worth"


def _when(plan: Planned, way: Way) -> str:
    found = runs(way.power_kw)
    return intervals(plan.file.calendar, found, most=3) if found else "not running"
