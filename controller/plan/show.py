"""A plan for people: what it is worth, when each device runs, where limits bind, what members pay."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from controller.case.show import print_table
from controller.plan.limits import binding
from controller.plan.result import Plan, shortfall_unit
from controller.plan.stretches import intervals, runs, stretches
from optimization.clearing import Clearing
from optimization.community import Curtailable, FixedLoad

MOST_DEVICES = 60
MOST_NAMED = 20


def show(console: Console, plan: Plan) -> None:
    """Print a plan."""
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
    for line in shortfall_lines(plan):
        console.print(f"[yellow]falls short:[/] {escape(line)}", soft_wrap=True)
    _show_devices(console, plan, plan.clearing)
    _show_limits(console, plan, plan.clearing)
    _show_members(console, plan)


def shortfall_lines(plan: Plan) -> list[str]:
    """What each device could not be given, a line each."""
    if plan.clearing is None:
        return []
    lines = [
        f"{device.id}: {plan.clearing.shortfall[device.id]:.3g} {shortfall_unit(device)}"
        for _, device in plan.file.community.devices()
        if device.id in plan.clearing.shortfall
    ]
    more = len(lines) - MOST_NAMED
    return lines[:MOST_NAMED] + ([f"and {more} more (--json lists all)"] if more > 0 else [])


def _rows(plan: Plan, clearing: Clearing) -> Iterator[tuple[str, str, str, str]]:
    hours = plan.file.community.horizon.hours
    rows = ((row, device) for row, peer in enumerate(plan.file.community.peers) for device in peer.devices)
    for row, device in islice(rows, MOST_DEVICES):
        power = clearing.device_kw[device.id]
        found = runs(power)
        when = "always" if found == [(0, power.size)] else intervals(plan.file.calendar, found)
        if isinstance(device, FixedLoad | Curtailable):
            when = ""
        cost = hours * float(clearing.price[row] @ power)
        yield escape(device.id), f"{hours * power.sum():.2f}", f"{cost:.3f}", when or ("" if found else "never")


def _show_devices(console: Console, plan: Plan, clearing: Clearing) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("device", no_wrap=True)
    table.add_column("kWh", justify="right")
    table.add_column(f"worth, {escape(plan.file.currency)}", justify="right")
    table.add_column("runs (local time)")
    for row in _rows(plan, clearing):
        table.add_row(*row)
    print_table(console, table)
    more = sum(1 for _ in plan.file.community.devices()) - MOST_DEVICES
    if more > 0:
        console.print(f"and {more} more devices (--json lists all)")


def _show_limits(console: Console, plan: Plan, clearing: Clearing) -> None:
    found = [(each, mtus) for each, mtus in binding(plan.file.community, clearing.device_kw) if mtus.any()]
    for envelope, mtus in found[:MOST_NAMED]:
        when = intervals(plan.file.calendar, stretches(mtus))
        console.print(f"limit [bold]{escape(envelope.name)}[/] binds {when}", soft_wrap=True)
    if len(found) > MOST_NAMED:
        console.print(f"and {len(found) - MOST_NAMED} more limits bind")


def _show_members(console: Console, plan: Plan) -> None:
    if not plan.members:
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("member", no_wrap=True)
    for name in ("pays", "of which uplift", "alone at least"):
        table.add_column(name, justify="right")
    for member in plan.members[:MOST_NAMED]:
        table.add_row(
            escape(member.id), f"{member.pays:.3f}", f"{round(-member.uplift, 3) + 0.0:+.3f}", f"{member.alone:.3f}"
        )
    print_table(console, table)
    if len(plan.members) > MOST_NAMED:
        console.print(f"and {len(plan.members) - MOST_NAMED} more members (--json lists all)")
    received = sum(max(0.0, member.uplift) for member in plan.members)
    console.print(f"uplift together: {received:.3f} {escape(plan.file.currency)}")
