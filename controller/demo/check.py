"""Checks a day's files with code that shares nothing with the planner, the settlement or the proofs.

It reads what was written, recomputes with whole numbers and loops, and says what held.
"""

import hashlib
import json
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from controller.demo.day import Check
from controller.demo.uplift_check import check_uplifts

DRIFT_WH = 48.0
"""Telemetry says whole Wh and setpoints are whole W: half a Wh may be lost in each of 96 MTUs."""


def check_day(directory: Path) -> list[Check]:
    """The promises of a day and whether they held.

    Parameters
    ----------
    directory : where ``gridpact demo`` wrote community.json, schedule.json, trades.jsonl and postings.jsonl
    """
    community = json.loads((directory / "community.json").read_text("utf-8"))
    schedule = json.loads((directory / "schedule.json").read_text("utf-8"))
    trades = _lines(directory / "trades.jsonl")
    postings = _lines(directory / "postings.jsonl")
    return [
        _windows(community, schedule),
        _balance(schedule, trades),
        _money(postings),
        _bills(community, trades, postings),
        check_uplifts(schedule, postings),
        _imbalances(community, schedule, trades, postings),
        _envelope_energy(community, schedule),
        _envelope_power(community, schedule),
        _appliances(community, schedule),
        _batteries(community, schedule),
        _inputs(directory),
    ]


def _inputs(directory: Path) -> Check:
    """That each header carries the digest of what its window was decided on."""
    headers = _lines(directory / "headers.jsonl")
    snapshots = (directory / "inputs.jsonl").read_text("utf-8").splitlines()
    problems = [] if len(headers) == len(snapshots) else [f"{len(headers)} headers, {len(snapshots)} snapshots"]
    for header, snapshot in zip(headers, snapshots, strict=False):
        digest = "0x" + hashlib.sha256(snapshot.encode()).hexdigest()
        if header["inputs_digest"] != digest:
            problems.append(
                f"{header['window']}: its inputs hash to {digest}, its header says {header['inputs_digest']}"
            )
    return _check("every header carries the digest of its window's inputs", problems, f"{len(snapshots)} windows")


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _check(name: str, problems: list[str], detail: str) -> Check:
    shown = "; ".join(problems[:3]) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
    return {"name": name, "passed": not problems, "detail": shown or detail}


def _windows(community: dict[str, Any], schedule: dict[str, Any]) -> Check:
    grid = community["microgrid"]
    wanted = []
    for start in range(grid["start"], grid["end"], grid["window_minutes"] * 60):
        wanted.append(f"microgrids/{grid['id']}/windows/{datetime.fromtimestamp(start, UTC):%Y%m%dT%H%M%SZ}")
    got = [w["window"] for w in schedule["windows"]]
    problems = [f"{window} is there {got.count(window)} times" for window in wanted if got.count(window) != 1]
    problems += [f"{window} is no window of the day" for window in got if window not in wanted]
    problems += [
        f"{w['window']} is {w['state']} ({w['failure'] or 'no failure'})"
        for w in schedule["windows"]
        if w["state"] != "ANCHORED" or w["source"] != "CLEARING" or w["failure"]
    ]
    return _check(
        "every window was cleared, metered, settled and anchored",
        problems,
        f"{len(schedule['windows'])} windows",
    )


def _balance(schedule: dict[str, Any], trades: list[dict[str, Any]]) -> Check:
    net: dict[tuple[str, int], int] = defaultdict(int)
    for trade in trades:
        net[trade["buyer"], trade["mtu_start"]] += trade["energy_wh"]
        net[trade["seller"], trade["mtu_start"]] -= trade["energy_wh"]
    problems = []
    step = schedule["mtu_minutes"] * 60
    mtus = 0
    for k, at in _instants(schedule):
        mtus += 1
        for member, series in schedule["position_wh"].items():
            if net[member, at] != series[k]:
                problems.append(f"{member} at {at}: trades give {net[member, at]} Wh, its position is {series[k]} Wh")
        total = sum(series[k] for series in schedule["position_wh"].values())
        if -net["grid", at] != total:
            problems.append(f"MTU {at}: the grid delivers {-net['grid', at]} Wh, members take {total} Wh")
    strays = {at for _, at in net} - {at for _, at in _instants(schedule)}
    problems += [f"trade at {at}, which is no MTU of the day" for at in sorted(strays)]
    return _check(
        "energy balances in every MTU, in whole Wh",
        problems,
        f"{len(trades)} trades, {mtus} MTUs of {step} s",
    )


def _instants(schedule: dict[str, Any]) -> list[tuple[int, int]]:
    count = len(next(iter(schedule["position_wh"].values())))
    return [(k, schedule["start"] + k * schedule["mtu_minutes"] * 60) for k in range(count)]


def _money(postings: list[dict[str, Any]]) -> Check:
    sums: dict[str, int] = defaultdict(int)
    for posting in postings:
        sums[posting["window"]] += posting["amount_micro"]
    problems = [f"{window}: {total} micro" for window, total in sums.items() if total]
    return _check("postings sum to zero in every window", problems, f"{len(postings)} postings")


def _bills(community: dict[str, Any], trades: list[dict[str, Any]], postings: list[dict[str, Any]]) -> Check:
    """Recomputes what every trade costs, and the charge on those among neighbours."""
    paid: dict[tuple[str, str, str, str], int] = defaultdict(int)
    for posting in postings:
        paid[posting["window"], posting["kind"], posting["reference"], posting["account"]] += posting["amount_micro"]
    charge = community["microgrid"]["network_charge_micro_per_kwh"]
    problems = []
    # What a pair trades in a window is divided once: a trade is less than a micro off, all of them half a micro.
    off: dict[tuple[str, str, str, str, str], int] = defaultdict(int)
    for trade in trades:
        neighbours = "grid" not in {trade["buyer"], trade["seller"]}
        for kind, receiver, price in (
            ("TRADE", trade["seller"], trade["price_micro_per_kwh"]),
            ("NETWORK_CHARGE", "dso", charge if neighbours else 0),
        ):
            exact = trade["energy_wh"] * price
            for account, sign in ((receiver, 1), (trade["buyer"], -1)):
                got = paid.pop((trade["window"], kind, f"trade {trade['index']}", account), 0)
                off[trade["window"], kind, trade["seller"], trade["buyer"], account] += got * 1000 - sign * exact
                if abs(got * 1000 - sign * exact) >= 1000:
                    name = f"trade {trade['index']} of {trade['window']}"
                    problems.append(f"{name}: {account} got {got}, {kind} is {sign * exact}/1000")
    problems += [
        f"{kind} from {seller} to {buyer} in {window}: {account} got {amount}/1000 too much"
        for (window, kind, seller, buyer, account), amount in off.items()
        if abs(amount) > 500
    ]
    problems += [
        f"{reference} of {window}: {account} got {amount}, no trade says why"
        for (window, kind, reference, account), amount in paid.items()
        if kind not in {"IMBALANCE", "CORRECTION", "ROUNDING", "UPLIFT"} and amount
    ]
    return _check("every trade is paid at its price", problems, f"{len(trades)} trades")


def _imbalances(
    community: dict[str, Any],
    schedule: dict[str, Any],
    trades: list[dict[str, Any]],
    postings: list[dict[str, Any]],
) -> Check:
    """Recomputes what everybody owes for what was metered beyond or short of trades."""
    got: dict[tuple[str, str], int] = defaultdict(int)
    for posting in postings:
        if posting["kind"] == "IMBALANCE":
            got[posting["account"], posting["reference"]] += posting["amount_micro"]
    sold: dict[tuple[str, int], list[int]] = defaultdict(list)
    bought: dict[tuple[str, int], list[int]] = defaultdict(list)
    for trade in trades:
        sold[trade["seller"], trade["mtu_start"]].append(trade["price_micro_per_kwh"])
        bought[trade["buyer"], trade["mtu_start"]].append(trade["price_micro_per_kwh"])
    problems = []
    total = 0
    for k, at in _instants(schedule):
        tariff = next(t for t in community["microgrid"]["tariff"] if t["start"] <= at < t["end"])
        net = sum(series[k] - schedule["position_wh"][member][k] for member, series in schedule["metered_wh"].items())
        price = tariff["import_price_micro_per_kwh" if net > 0 else "export_price_micro_per_kwh"]
        amount = got.pop(("grid", f"net {at}"), 0)
        if abs(amount * 1000 - net * price) > 500:
            problems.append(f"the grid at {at}: got {amount} for {net} Wh of all, {net * price}/1000 is due")
    for member, series in schedule["metered_wh"].items():
        for k, at in _instants(schedule):
            short = series[k] - schedule["position_wh"][member][k]
            total += abs(short)
            tariff = next(t for t in community["microgrid"]["tariff"] if t["start"] <= at < t["end"])
            if short > 0:
                price = max([tariff["import_price_micro_per_kwh"], *sold[member, at]])
            else:
                price = min([tariff["export_price_micro_per_kwh"], *bought[member, at]])
            amount = got.pop((member, f"{member} {at}"), 0)
            if abs(amount * 1000 + short * price) > 500:
                problems.append(f"{member} at {at}: got {amount} for {short} Wh, {-short * price}/1000 is due")
    strays = [reference for account, reference in got if account in {"grid", *schedule["metered_wh"]}]
    problems += [f"imbalance of {reference}, which nobody metered" for reference in strays]
    return _check("all that was metered beyond or short of trades is paid", problems, f"{total / 1000:.1f} kWh")


def _bound(community: dict[str, Any], at: int) -> tuple[int, int]:
    target = f"microgrids/{community['microgrid']['id']}"
    lower, upper = -(10**12), 10**12
    for envelope in community["envelopes"]:
        for period in envelope["periods"]:
            if envelope["target"] == target and period["start"] <= at < period["end"]:
                lower = max(lower, period["lower_w"])
                upper = min(upper, period["upper_w"])
    return lower, upper


def _envelope_energy(community: dict[str, Any], schedule: dict[str, Any]) -> Check:
    problems = []
    highest = 0
    for k, at in _instants(schedule):
        lower, upper = _bound(community, at)
        total = sum(series[k] for series in schedule["position_wh"].values())
        highest = max(highest, total)
        if not lower * schedule["mtu_minutes"] <= total * 60 <= upper * schedule["mtu_minutes"]:
            problems.append(f"MTU {at}: scheduled {total} Wh, allowed {lower} W to {upper} W")
    detail = f"highest {highest * 60 // schedule['mtu_minutes'] / 1000:.1f} kW"
    return _check("scheduled energy keeps the DSO's envelope", problems, detail)


def _envelope_power(community: dict[str, Any], schedule: dict[str, Any]) -> Check:
    problems = []
    for k, at in _instants(schedule):
        lower, upper = _bound(community, at)
        total = sum(series[k] for series in schedule["forecast_load_w"].values())
        total += sum(series[k] for series in schedule["planned_w"].values())
        if not lower <= total <= upper:
            problems.append(f"MTU {at}: setpoints and forecasts sum to {total} W, allowed {lower} to {upper} W")
    return _check("setpoints and forecasts keep the DSO's envelope", problems, f"{len(_instants(schedule))} MTUs")


def _appliances(community: dict[str, Any], schedule: dict[str, Any]) -> Check:
    problems = []
    count = 0
    step = schedule["mtu_minutes"] * 60
    for member in community["members"]:
        for device in member["devices"]:
            if device["kind"] != "interruptible":
                continue
            count += 1
            ran = [at for k, at in _instants(schedule) if schedule["acted_w"][device["id"]][k] > 0]
            outside = [at for at in ran if not device["start"] <= at <= device["end"] - step]
            if outside:
                problems.append(f"{device['id']} ran at {outside[0]}, outside its window")
            if len(ran) * step != device["required_s"]:
                problems.append(f"{device['id']} ran {len(ran) * step} s, wanted {device['required_s']} s")
            problems += _broken_times(device, ran, step)
    return _check("every appliance ran its hours inside its window", problems, f"{count} appliances")


def _broken_times(device: dict[str, Any], ran: list[int], step: int) -> list[str]:
    """Runs and rests of an appliance that were shorter than its least, over the borders of all windows."""
    starts = [at for at in ran if at - step not in ran]
    ends = [at + step for at in ran if at + step not in ran]
    problems = [
        f"{device['id']} ran for {end - start} s at {start}, wanted {device['min_on_s']} s"
        for start, end in zip(starts, ends, strict=True)
        if end - start < device["min_on_s"]
    ]
    problems += [
        f"{device['id']} rested for {start - end} s at {end}, wanted {device['min_off_s']} s"
        for end, start in zip(ends, starts[1:], strict=False)
        if start - end < device["min_off_s"]
    ]
    return problems


def _batteries(community: dict[str, Any], schedule: dict[str, Any]) -> Check:
    problems = []
    count = 0
    for member in community["members"]:
        for device in member["devices"]:
            if device["kind"] != "battery":
                continue
            count += 1
            stored = float(device["stored_wh"])
            for k, at in _instants(schedule):
                energy = schedule["acted_w"][device["id"]][k] * schedule["mtu_minutes"] / 60
                if energy >= 0:
                    stored += energy * device["charge_efficiency_ppm"] / 1e6
                else:
                    stored += energy * 1e6 / device["discharge_efficiency_ppm"]
                if not -DRIFT_WH <= stored <= device["capacity_wh"] + DRIFT_WH:
                    problems.append(f"{device['id']} at {at}: {stored:.0f} of {device['capacity_wh']} Wh")
                    break
    return _check("every battery stayed between empty and full", problems, f"{count} batteries")
