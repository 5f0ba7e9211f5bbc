"""What a demonstration day leaves behind: machine-readable files, the evidence, and the page."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from contracts.anchoring import AnchorState
from contracts.chain import Genesis
from contracts.chain_evidence import ChainEvidence, ChainTransaction, Purpose
from contracts.evidence import export_directory
from contracts.header import WindowHeader
from contracts.registry import Deployment
from controller.demo.conductor import Diary
from controller.demo.day import DayResult, DaySummary, DeviceEntry, PriceSeries, TradeTotal
from controller.demo.scenario import MTU_MINUTES, Participant, Scenario
from controller.microgrid import GRID_ACCOUNT, Device, Plant, Relay, Storage, Trade
from controller.services.proofs import records_of
from controller.settlement import amount_micro
from controller.store import books, evidence
from controller.store.books import WindowRow

MTU_S = MTU_MINUTES * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Everything of a day, read back from the store in one go.

    Attributes
    ----------
    windows : in order of time
    headers : in the order of their chain
    trades : by window
    positions : Wh by member and MTU
    powers : planned W by device and MTU of the windows' own plans
    metered : Wh taken (import minus export) by member and MTU
    postings : (window, account, amount) in order
    envelopes : as they count, in order of their ids
    anchors : with the raw transactions and gas used
    """

    windows: list[WindowRow]
    headers: list[WindowHeader]
    trades: dict[str, list[Trade]]
    positions: dict[tuple[str, int], int]
    powers: dict[tuple[str, int], int]
    metered: dict[tuple[str, int], int]
    postings: list[tuple[str, str, int]]
    envelopes: list[dict[str, Any]]
    anchors: list[Any]


def read_outcome(connection: Connection, scenario: Scenario) -> Outcome:
    """The day as the store has it."""
    grid = scenario.microgrid
    windows = books.windows(connection, grid.id)
    positions: dict[tuple[str, int], int] = {}
    powers: dict[tuple[str, int], int] = {}
    postings: list[tuple[str, str, int]] = []
    for row in windows:
        positions |= books.positions(connection, row.name)
        powers |= _window_powers(row)
        postings += [(row.name, p.account, p.amount_micro) for p in evidence.postings(connection, row.name)]
    readings = books.meter_readings(connection, grid.id, grid.start, grid.end)
    registers = {(r.member, r.instant): r.import_wh - r.export_wh for r in readings}
    return Outcome(
        windows=windows,
        headers=evidence.headers(connection, grid.id),
        trades={row.name: [trade for trade, _ in books.trades(connection, row.name)] for row in windows},
        positions=positions,
        powers=powers,
        metered={
            (member, at): registers[member, at + MTU_S] - value
            for (member, at), value in sorted(registers.items())
            if (member, at + MTU_S) in registers
        },
        postings=postings,
        envelopes=[
            {"id": e.id, "target": e.target, "reason": e.reason, "periods": [asdict(p) for p in e.periods]}
            for e in books.envelopes(connection, grid.id)
        ],
        anchors=evidence.anchors(connection),
    )


def _window_powers(row: WindowRow) -> dict[tuple[str, int], int]:
    """W by device and MTU that the window's own clearing planned."""
    if not row.plan:
        return {}
    plan = json.loads(row.plan)
    return {
        (device, at): series[(at - plan["start"]) // MTU_S]
        for device, series in plan["power_w"].items()
        for at in range(row.start, row.end, MTU_S)
    }


def export_evidence(
    connection: Connection, directory: Path, scenario: Scenario, genesis: Genesis, deployment: Deployment
) -> None:
    """The files that ``gridpact verify`` checks."""
    rows = books.windows(connection, scenario.microgrid.id)
    records = [records_of(connection, row.name) for row in rows]
    transactions = [ChainTransaction(purpose=Purpose.DEPLOY, window=None, raw=deployment.raw_transaction)]
    transactions += [
        ChainTransaction(purpose=Purpose.ANCHOR, window=row.window, raw=row.raw_transaction)
        for row in evidence.anchors(connection)
        if row.state == AnchorState.INCLUDED.name
    ]
    export_directory(
        directory,
        headers=evidence.headers(connection, scenario.microgrid.id),
        trades=[leaf for record in records for leaf in record.trades],
        readings=[leaf for record in records for leaf in record.readings],
        postings=[leaf for record in records for leaf in record.postings],
        chain=ChainEvidence(
            genesis=genesis,
            contract=deployment.registry.address,
            code_hash=deployment.registry.code_hash,
            transactions=tuple(transactions),
        ),
    )


def community_json(scenario: Scenario, outcome: Outcome) -> dict[str, Any]:
    """Who took part, with what, under which limits and prices."""
    grid = scenario.microgrid
    return {
        "format": "gridpact.community.v1",
        "grid": scenario.grid.name,
        "day": scenario.grid.day.isoformat(),
        "seed": scenario.seed,
        "microgrid": asdict(grid),
        "members": [
            {
                **asdict(p.member),
                "profile": p.profile,
                "devices": [
                    {
                        "id": device.id,
                        "name": p.names[device.id],
                        "kind": _kind(device),
                        **asdict(device.flexibility),
                    }
                    for device in p.devices
                ],
                "partners": dict(sorted(p.partners.items())),
            }
            for p in scenario.participants
        ],
        "envelopes": outcome.envelopes,
    }


def schedule_json(scenario: Scenario, outcome: Outcome, diary: Diary) -> dict[str, Any]:
    """What was forecast, scheduled, done and metered, one value an MTU."""
    mtus = scenario.microgrid.mtus(scenario.microgrid.start, scenario.microgrid.end)
    members = [p.member.id for p in scenario.participants]
    devices = [device.id for p in scenario.participants for device in p.devices]
    return {
        "format": "gridpact.schedule.v1",
        "start": scenario.microgrid.start,
        "mtu_minutes": MTU_MINUTES,
        "forecast_load_w": {p.member.id: list(p.load_w) for p in scenario.participants},
        "position_wh": {m: [outcome.positions.get((m, at), 0) for at in mtus] for m in members},
        "metered_wh": {m: [outcome.metered[m, at] for at in mtus] for m in members},
        "planned_w": {d: [outcome.powers.get((d, at), 0) for at in mtus] for d in devices},
        "acted_w": {d: [diary.acted_w[d, at] for at in mtus] for d in devices},
        "windows": [
            {
                "window": row.name,
                "state": row.state,
                "source": row.source,
                "failure": row.failure,
                "certificate": json.loads(row.certificate) if row.certificate else None,
                "inputs_digest": (row.inputs_digest or b"").hex(),
            }
            for row in outcome.windows
        ],
    }


def day_json(scenario: Scenario, outcome: Outcome, diary: Diary) -> DayResult:
    """The day as the page shows it, without its checks."""
    grid = scenario.microgrid
    mtus = grid.mtus(grid.start, grid.end)
    devices = [(p, device) for p in scenario.participants for device in p.devices]
    bounds = [_bounds(outcome, grid.name, at) for at in mtus]
    net_wh = [sum(outcome.positions.get((p.member.id, at), 0) for p in scenario.participants) for at in mtus]
    scheduled = [wh * 60 // MTU_MINUTES for wh in net_wh]
    metered = [sum(outcome.metered[p.member.id, at] for p in scenario.participants) * 60 // MTU_MINUTES for at in mtus]
    before = baseline_w(scenario)
    return {
        "format": "gridpact.day.v1",
        "grid": scenario.grid.name,
        "day": scenario.grid.day.isoformat(),
        "time_zone": grid.time_zone,
        "mtu_minutes": MTU_MINUTES,
        "start": grid.start,
        "mtus": len(mtus),
        "peers": [
            {"id": p.member.id, "section": p.member.section, "profile": p.profile} for p in scenario.participants
        ],
        "devices": [_device_entry(grid.start, p, device) for p, device in devices],
        "load": {
            "before_w": [sum(series[k] for series in before.values()) for k in range(len(mtus))],
            "without_limit_w": [diary.planned_before_w.get(at) for at in mtus],
            "scheduled_w": scheduled,
            "metered_w": metered,
            "upper_w": [upper for _, upper in bounds],
            "lower_w": [lower for lower, _ in bounds],
        },
        "schedule": {d.id: [outcome.powers.get((d.id, at), 0) for at in mtus] for _, d in devices},
        "acted": {d.id: [diary.acted_w[d.id, at] for at in mtus] for _, d in devices},
        "prices": _prices(scenario, outcome),
        "trades": _trade_totals(outcome),
        "windows": [
            {
                "window": row.name,
                "state": row.state,
                "gap": json.loads(row.certificate)["gap"] if row.certificate else 0.0,
                "trades": len(outcome.trades[row.name]),
            }
            for row in outcome.windows
        ],
        "summary": _summary(scenario, outcome, diary, before=before, net_wh=net_wh, metered=metered),
        "checks": [],
    }


def baseline_w(scenario: Scenario) -> dict[str, list[int]]:
    """Net W of each member without Gridpact: appliances run at once, batteries rest, nothing is curtailed."""
    start = scenario.microgrid.start
    net = {}
    for p in scenario.participants:
        series = list(p.actual_load_w)
        for device in p.devices:
            match device.flexibility:
                case Relay() as relay:
                    first = (relay.start - start) // MTU_S
                    for k in range(first, first + relay.required_s // MTU_S):
                        series[k] += relay.rated_w
                case Plant():
                    for k, power in enumerate(p.actual_available_w[device.id]):
                        series[k] -= power
                case Storage():
                    pass
        net[p.member.id] = series
    return net


def _kind(device: Device) -> str:
    match device.flexibility:
        case Relay():
            return "interruptible"
        case Storage():
            return "battery"
        case Plant():
            return "curtailable"


def _device_entry(start: int, participant: Participant, device: Device) -> DeviceEntry:
    entry: DeviceEntry = {
        "id": device.id,
        "peer": participant.member.id,
        "kind": "curtailable",
        "name": participant.names[device.id],
        "power_w": 0,
        "first_mtu": None,
        "end_mtu": None,
        "required_mtus": None,
    }
    match device.flexibility:
        case Relay() as relay:
            entry["kind"] = "interruptible"
            entry["power_w"] = relay.rated_w
            entry["first_mtu"] = (relay.start - start) // MTU_S
            entry["end_mtu"] = (relay.end - start) // MTU_S
            entry["required_mtus"] = relay.required_s // MTU_S
        case Storage() as storage:
            entry["kind"] = "battery"
            entry["power_w"] = max(storage.max_charge_w, storage.max_discharge_w)
        case Plant(rated_w=rated_w):
            entry["power_w"] = rated_w
    return entry


def _bounds(outcome: Outcome, target: str, at: int) -> tuple[int, int]:
    """The intersection of the connection point's envelopes in an MTU, in W."""
    periods = [
        period
        for envelope in outcome.envelopes
        if envelope["target"] == target
        for period in envelope["periods"]
        if period["start"] <= at < period["end"]
    ]
    return max(p["lower_w"] for p in periods), min(p["upper_w"] for p in periods)


def _neighbour(trade: Trade) -> bool:
    return GRID_ACCOUNT not in (trade.seller, trade.buyer)


def _prices(scenario: Scenario, outcome: Outcome) -> PriceSeries:
    grid = scenario.microgrid
    by_mtu: dict[int, list[Trade]] = defaultdict(list)
    for trades in outcome.trades.values():
        for trade in trades:
            if _neighbour(trade):
                by_mtu[trade.mtu_start].append(trade)
    series: PriceSeries = {
        "import_micro_per_kwh": [],
        "export_micro_per_kwh": [],
        "trade_mean_micro_per_kwh": [],
        "trade_min_micro_per_kwh": [],
        "trade_max_micro_per_kwh": [],
    }
    for at in grid.mtus(grid.start, grid.end):
        tariff = grid.prices(at)
        series["import_micro_per_kwh"].append(tariff.import_price_micro_per_kwh)
        series["export_micro_per_kwh"].append(tariff.export_price_micro_per_kwh)
        trades = by_mtu.get(at, [])
        prices = [trade.price_micro_per_kwh for trade in trades]
        energy = sum(trade.energy_wh for trade in trades)
        weighted = sum(trade.energy_wh * trade.price_micro_per_kwh for trade in trades)
        series["trade_mean_micro_per_kwh"].append(round(weighted / energy) if energy else None)
        series["trade_min_micro_per_kwh"].append(min(prices, default=None))
        series["trade_max_micro_per_kwh"].append(max(prices, default=None))
    return series


def _trade_totals(outcome: Outcome) -> list[TradeTotal]:
    totals: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for trades in outcome.trades.values():
        for trade in trades:
            if _neighbour(trade):
                total = totals[trade.seller, trade.buyer]
                total[0] += trade.energy_wh
                total[1] += amount_micro(trade.energy_wh, trade.price_micro_per_kwh)
    return [
        {"seller": seller, "buyer": buyer, "energy_wh": energy, "amount_micro": amount}
        for (seller, buyer), (energy, amount) in sorted(totals.items())
    ]


def _summary(
    scenario: Scenario,
    outcome: Outcome,
    diary: Diary,
    *,
    before: Mapping[str, list[int]],
    net_wh: list[int],
    metered: list[int],
) -> DaySummary:
    grid = scenario.microgrid
    mtus = grid.mtus(grid.start, grid.end)
    members = [p.member.id for p in scenario.participants]
    neighbours = [trade for trades in outcome.trades.values() for trade in trades if _neighbour(trade)]
    bill_before = sum(
        _at_tariff(scenario, at, before[m][k] * MTU_MINUTES // 60) for m in members for k, at in enumerate(mtus)
    )
    bill_tariff = sum(_at_tariff(scenario, at, outcome.metered[m, at]) for m in members for at in mtus)
    bill = -sum(amount for _, account, amount in outcome.postings if account in set(members))
    imbalance = sum(abs(outcome.metered[m, at] - outcome.positions.get((m, at), 0)) for m in members for at in mtus)
    gas = [row.gas_used for row in outcome.anchors if row.gas_used is not None]
    total_before = [sum(before[m][k] for m in members) for k in range(len(mtus))]
    return {
        "traded_wh": sum(trade.energy_wh for trade in neighbours),
        "neighbour_trades": len(neighbours),
        "bill_before_micro": bill_before,
        "bill_tariff_micro": bill_tariff,
        "bill_micro": bill,
        "saved_micro": bill_before - bill,
        "peak_before_w": max(total_before),
        "peak_scheduled_w": max(net_wh) * 60 // MTU_MINUTES,
        "peak_metered_w": max(metered),
        "envelope_binding_mtus": sum(
            wh == _bounds(outcome, grid.name, at)[1] * MTU_MINUTES // 60
            for wh, at in zip(net_wh, mtus, strict=True)
            if diary.evening[0] <= at < diary.evening[1]
        ),
        "evening_limit_w": diary.evening_limit_w,
        "peak_without_limit_w": max(diary.planned_before_w.values(), default=0),
        "switchings": _switchings(scenario, diary),
        "devices_driven": sum(len(p.devices) for p in scenario.participants),
        "imbalance_wh": imbalance,
        "gas_per_window": round(sum(gas) / len(gas)) if gas else 0,
        "gas_per_trade": round(sum(gas) / len(neighbours), 1) if neighbours else 0.0,
        "root": "0x" + outcome.headers[-1].hash.hex(),
        "currency": grid.currency,
    }


def _at_tariff(scenario: Scenario, at: int, energy_wh: int) -> int:
    """Micro-currency that an energy costs at the tariff alone; negative where it earns."""
    tariff = scenario.microgrid.prices(at)
    if energy_wh >= 0:
        return amount_micro(energy_wh, tariff.import_price_micro_per_kwh)
    return -amount_micro(-energy_wh, tariff.export_price_micro_per_kwh)


def _switchings(scenario: Scenario, diary: Diary) -> int:
    """How often a relay was closed or opened."""
    grid = scenario.microgrid
    mtus = grid.mtus(grid.start, grid.end)
    count = 0
    for p in scenario.participants:
        for device in p.devices:
            if isinstance(device.flexibility, Relay):
                closed = [False, *(diary.acted_w[device.id, at] > 0 for at in mtus), False]
                count += sum(one != other for one, other in pairwise(closed))
    return count
