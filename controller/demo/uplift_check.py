"""Checks a day's uplifts: that they follow from what each clearing stated, and that from what it was decided on.

The first is whole numbers alone, and shares nothing with what computed them. The second values each member's own best
plan again, by the same oracles: from the inputs and the powers that were planned, as they were written.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from controller import problem
from controller.demo.day import Check
from controller.microgrid import Trade
from controller.snapshot import Snapshot
from controller.uplifts import uplifts_of
from optimization.devices import FixedLoad
from optimization.quantities import DeviceId, Floats

UPLIFTS = "who has paid more than its own best plan is made whole by who has gained, as each clearing stated"
RECOUNTED = "each member's own best plan, recounted from its window's inputs, is worth what the clearing stated"
TOLERANCE_MICRO = 2000
"""Powers were written in whole W: what that changes, and a fifth of a cent at most."""
KILO = 1000.0

Lines = list[dict[str, Any]]


def check_uplifts(schedule: dict[str, Any], postings: Lines) -> Check:
    """That uplifts are what regrets and gains make them, and are posted as they are."""
    posted: dict[tuple[str, str], int] = defaultdict(int)
    paid: dict[tuple[str, str], int] = defaultdict(int)
    for posting in postings:
        account = posting["window"], posting["account"]
        if posting["kind"] == "UPLIFT":
            posted[account] += posting["amount_micro"]
        elif posting["kind"] in {"TRADE", "NETWORK_CHARGE"}:
            paid[account] -= posting["amount_micro"]
    problems: list[str] = []
    regret: dict[str, int] = defaultdict(int)
    received: dict[str, int] = defaultdict(int)
    for window in schedule["windows"]:
        name, uplifts = window["window"], window.get("uplifts") or []
        members = [uplift["member"] for uplift in uplifts]
        if uplifts and members != sorted(schedule["position_wh"]):
            problems.append(f"{name}: uplifts of {len(members)} members, wanted each member's in order")
        for uplift in uplifts:
            member, amount = uplift["member"], uplift["uplift_micro"]
            got = posted.pop((name, member), 0)
            regret[member] += uplift["paid_micro"] + uplift["ahead_micro"] - uplift["alone_micro"]
            received[member] += amount
            for what, stated, wanted in (
                ("paid_micro", uplift["paid_micro"], paid[name, member]),
                ("regret_micro", uplift["regret_micro"], regret[member]),
                ("received_micro", uplift["received_micro"], received[member]),
                ("uplift_micro", amount, got),
            ):
                if stated != wanted:
                    problems.append(f"{name}: {what} of {member} is {wanted}, and stated as {stated}")
        left = posted.pop((name, "community"), 0) + sum(uplift["uplift_micro"] for uplift in uplifts)
        if left:
            problems.append(f"{name}: {left} micro of uplifts come from nowhere")
        if uplifts:
            problems += [f"{name}: {problem}" for problem in _unfair(regret, received)]
    problems += [f"{window}: {account} got an uplift that no clearing stated" for window, account in posted]
    total = sum(max(0, amount) for amount in received.values())
    detail = f"{total / 1e6:.2f} to {sum(amount > 0 for amount in received.values())} members in the end"
    return {"name": UPLIFTS, "passed": not problems, "detail": "; ".join(problems[:3]) or detail}


def _unfair(regret: Mapping[str, int], received: Mapping[str, int]) -> Iterator[str]:
    """Who has got anything but its regret, or given another part of its gain than the others."""
    lost = sum(amount for amount in regret.values() if amount > 0)
    gained = -sum(amount for amount in regret.values() if amount < 0)
    covered = min(lost, gained)
    given = 0
    for member, amount in received.items():
        due = regret[member]
        if due >= 0 and amount != due:
            yield f"{member} has got {amount}, its regret is {due}"
        if due < 0:
            given -= amount
            # In proportion to the gain, to the micro-currency: its gain times what is covered, over all gains.
            if not 0 <= -amount <= -due or abs(-amount * gained + due * covered) >= gained:
                yield f"{member} has given {-amount} of a gain of {-due}, where {covered} of {gained} was needed"
    if given != covered:
        yield f"{given} was contributed, {covered} was needed"


def recount_uplifts(directory: Path) -> Check:
    """That what members have ahead of them alone is worth what each clearing stated.

    Parameters
    ----------
    directory : where ``gridpact demo`` wrote inputs.jsonl, schedule.json and trades.jsonl
    """
    schedule = json.loads((directory / "schedule.json").read_text("utf-8"))
    trades: dict[str, list[Trade]] = defaultdict(list)
    for line in (directory / "trades.jsonl").read_text("utf-8").splitlines():
        values = json.loads(line)
        fields = ("seller", "buyer", "mtu_start", "energy_wh", "price_micro_per_kwh")
        trades[values["window"]].append(Trade(**{name: values[name] for name in fields}))
    snapshots = (directory / "inputs.jsonl").read_text("utf-8").splitlines()
    problems: list[str] = []
    worst = counted = 0
    for window, text in zip(schedule["windows"], snapshots, strict=True):
        stated = window.get("uplifts") or []
        counted += bool(stated)
        for member, name, off in _differences(stated, Snapshot.from_json(text), trades[window["window"]], schedule):
            worst = max(worst, abs(off))
            if abs(off) > TOLERANCE_MICRO:
                problems.append(f"{window['window']}: {name} of {member} is stated {off} micro too high")
    detail = f"{counted} windows, {worst / 1e6:.6f} apart at most"
    return {"name": RECOUNTED, "passed": not problems, "detail": "; ".join(problems[:3]) or detail}


def _differences(
    stated: Lines, snapshot: Snapshot, trades: list[Trade], schedule: Mapping[str, Any]
) -> Iterator[tuple[str, str, int]]:
    """Member, name and excess of what a clearing stated over what is counted now."""
    if not stated:
        return
    from optimization.regret import standing

    community = problem.build(snapshot)
    mtus = len(snapshot.mtus())
    planned: dict[DeviceId, Floats] = {
        device.id: device.power_kw
        if isinstance(device, FixedLoad)
        else np.array(schedule["planned_w"][device.id][-mtus:]) / KILO
        for _, device in community.devices()
    }
    found = standing(community, planned, len(snapshot.window_mtus()))
    counted = uplifts_of(snapshot, [peer.id for peer in community.peers], trades, found)
    for one, other in zip(stated, counted, strict=True):
        yield other.member, "alone_micro", one["alone_micro"] - other.alone_micro
        yield other.member, "ahead_micro", one["ahead_micro"] - other.ahead_micro
