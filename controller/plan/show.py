"""A plan for people: what it is worth, when each device runs, where limits bind, what members pay."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from controller.case.show import print_table
from controller.plan.fields import kind_of
from controller.plan.limits import binding
from controller.plan.result import Plan, shortfall_unit
from controller.plan.show_runs import LEAST_WIDTH, filled, spans
from controller.plan.stretches import RUNNING_KW, runs, stretches
from optimization.clearing import Clearing
from optimization.community import Battery, Curtailable, Device, ElectricVehicle, FixedLoad, Floats

MOST_DEVICES = 60
"""Of more than these, kinds are shown instead of each."""

MOST_NAMED = 20
MOST_RUNS = 6

FIGURES = 24
"""Characters that the columns of figures and the spaces between columns take in the table of devices."""


def show(console: Console, plan: Plan, *, everything: bool = False) -> None:
    """Print a plan; with ``everything`` each device, member and limit, however many there are."""
    console.print(f"{escape(plan.file.id)}: [bold]{plan.status}[/] by {plan.solver}", soft_wrap=True)
    if plan.reason:
        what = "conflict" if plan.status == "INFEASIBLE" else "not certified"
        console.print(f"[red]{what}:[/] {escape(plan.reason)}", soft_wrap=True)
    if plan.clearing is None or plan.certificate is None:
        return
    currency, certificate = escape(plan.file.currency), plan.certificate
    gap = f"{100 * certificate.gap:.3g} %" if np.isfinite(certificate.gap) else "unknown"
    console.print(
        f"costs {certificate.objective:.6g} {currency}; no schedule can cost less than {certificate.lower_bound:.6g} "
        f"(gap {gap})",
        soft_wrap=True,
    )
    console.print(_horizon(plan), soft_wrap=True)
    for line in shortfall_lines(plan, everything=everything):
        console.print(f"[yellow]falls short:[/] {escape(line)}", soft_wrap=True)
    most = None if everything else MOST_NAMED
    if everything or sum(1 for _ in plan.file.community.devices()) <= MOST_DEVICES:
        _show_devices(console, plan, plan.clearing, everything=everything)
    else:
        _show_kinds(console, plan, plan.clearing)
    _show_limits(console, plan, plan.clearing, most)
    _show_members(console, plan, most)


def shortfall_lines(plan: Plan, *, everything: bool = False) -> list[str]:
    """What each device could not be given, a line each."""
    if plan.clearing is None:
        return []
    lines = [
        f"{device.id}: {plan.clearing.shortfall[device.id]:.3g} {shortfall_unit(device)}"
        for _, device in plan.file.community.devices()
        if device.id in plan.clearing.shortfall
    ]
    if everything or len(lines) <= MOST_NAMED:
        return lines
    return [*lines[:MOST_NAMED], f"and {len(lines) - MOST_NAMED} more (--json lists all)"]


def _horizon(plan: Plan) -> str:
    """From when to when, and for how many."""
    calendar, community = plan.file.calendar, plan.file.community
    begin, end = calendar.local(0), calendar.local(calendar.mtus)
    devices = sum(len(peer.devices) for peer in community.peers)
    return (
        f"{begin:%a %Y-%m-%d %H:%M} to {end:%a %H:%M}, {escape(str(calendar.zone))}; "
        f"{_count(len(community.peers), 'member')}, {_count(devices, 'device')}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _uses(device: Device, power: Floats) -> list[tuple[str, Floats]]:
    """(T,) kW of each way in which a device is used, with its name where it has more than one."""
    if not isinstance(device, Battery | ElectricVehicle):
        return [("", power)]
    ways = [("charging", np.maximum(power, 0.0)), ("discharging", np.minimum(power, 0.0))]
    return [(name, part) for name, part in ways if (np.abs(part) > RUNNING_KW).any()] or [("", power)]


def _times(plan: Plan, device: Device, power: Floats, lead: str, width: int, most: int | None) -> list[str]:
    """When a device runs; of what always does, when it may not."""
    calendar = plan.file.calendar
    match device:
        case FixedLoad():
            return []
        case Curtailable(available_kw=available):
            spare = available + power
            lost = stretches(spare > RUNNING_KW)
            lead = f"{plan.file.community.horizon.hours * spare.sum():.2f} kWh curtailed"
            return filled(lead, spans(calendar, lost), width=width, most=most) if lost else []
        case _:
            found = runs(power)
            told = ["always"] if found == [(0, power.size)] else spans(calendar, found) or ["never"]
            return filled(lead, told, width=width, most=most)


def _device_rows(plan: Plan, clearing: Clearing, width: int, most: int | None) -> Iterator[tuple[str, str, str, str]]:
    hours = plan.file.community.horizon.hours
    for row, device in _devices(plan):
        price = clearing.price[row]
        for k, (lead, power) in enumerate(_uses(device, clearing.device_kw[device.id])):
            when = "\n".join(_times(plan, device, power, lead, width, most))
            name = "" if k else escape(device.id)
            yield name, _two(hours * power.sum()), _three(hours * float(price @ power)), when


def _devices(plan: Plan) -> Iterator[tuple[int, Device]]:
    """Every device with the row of its peer."""
    return ((row, device) for row, peer in enumerate(plan.file.community.peers) for device in peer.devices)


def _two(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"


def _three(value: float) -> str:
    return f"{round(value, 3) + 0.0:.3f}"


def _show_devices(console: Console, plan: Plan, clearing: Clearing, *, everything: bool) -> None:
    longest = max((len(device.id) for _, device in _devices(plan)), default=0)
    most = None if everything else MOST_RUNS
    width = max(console.width - longest - FIGURES, LEAST_WIDTH)
    rows = list(_device_rows(plan, clearing, width, most))
    table = Table(box=None, pad_edge=False)
    table.add_column("device", overflow="fold")
    for place, name in ((1, "kWh"), (2, f"worth, {escape(plan.file.currency)}")):
        # A figure that does not fit is not cut off: half a number says something else.
        table.add_column(name, justify="right", min_width=max((len(row[place]) for row in rows), default=0))
    taken = max((len(line) for row in rows for line in row[3].splitlines()), default=0)
    table.add_column("runs (local time)", no_wrap=True, min_width=taken)
    for row in rows:
        table.add_row(*row)
    print_table(console, table)


def _show_kinds(console: Console, plan: Plan, clearing: Clearing) -> None:
    """What each kind of device takes and gives, where there are too many to show each."""
    hours = plan.file.community.horizon.hours
    sums: dict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0.0, 0.0])
    for row, device in _devices(plan):
        power, total = clearing.device_kw[device.id], sums[kind_of(device)]
        total[0] += 1
        total[1] += hours * float(np.maximum(power, 0.0).sum())
        total[2] += hours * float(np.minimum(power, 0.0).sum())
        total[3] += hours * float(clearing.price[row] @ power)
    table = Table(box=None, pad_edge=False)
    table.add_column("kind", no_wrap=True)
    for name in ("devices", "kWh taken", "kWh given", f"worth, {escape(plan.file.currency)}"):
        table.add_column(name, justify="right")
    for kind, (number, taken, given, worth) in sums.items():
        table.add_row(kind.replace("_", " "), f"{number:.0f}", _two(taken), _two(-given), _three(worth))
    print_table(console, table)
    console.print("each device with its runs: --all; everything as JSON: --json", soft_wrap=True)


def _show_limits(console: Console, plan: Plan, clearing: Clearing, most: int | None) -> None:
    found = [(each, mtus) for each, mtus in binding(plan.file.community, clearing.device_kw) if mtus.any()]
    for envelope, mtus in found[:most]:
        when = spans(plan.file.calendar, stretches(mtus))
        shown = MOST_RUNS if most else None
        first, *rest = filled(f"limit {envelope.name} binds", when, width=console.width, most=shown)
        console.print(escape(first), soft_wrap=True)
        for line in rest:
            console.print(f"  {line}", soft_wrap=True)
    if most is not None and len(found) > most:
        console.print(f"and {len(found) - most} more limits bind (--all lists them)")


def _show_members(console: Console, plan: Plan, most: int | None) -> None:
    if not plan.members:
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("member", no_wrap=True)
    for name in ("pays", "of which uplift", "alone at least"):
        table.add_column(name, justify="right")
    for member in plan.members[:most]:
        table.add_row(
            escape(member.id), _three(member.pays), f"{round(-member.uplift, 3) + 0.0:+.3f}", _three(member.alone)
        )
    print_table(console, table)
    if most is not None and len(plan.members) > most:
        console.print(f"and {len(plan.members) - most} more members (--all lists them)")
    received = sum(max(0.0, member.uplift) for member in plan.members)
    console.print(f"uplift together: {received:.3f} {escape(plan.file.currency)}")
