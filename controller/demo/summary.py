"""The day as the page shows it."""

import json
from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise

from controller.demo.conductor import Diary
from controller.demo.day import DayResult, DaySummary, DeviceEntry, LedgerEntry, PriceSeries, TradeTotal
from controller.demo.outcome import Outcome, baseline_w
from controller.demo.scenario import MTU_MINUTES, Participant, Scenario
from controller.flexibility import Plant, Relay, Storage
from controller.ledger import amount_micro
from controller.microgrid import GRID_ACCOUNT, Device, Trade

MTU_S = MTU_MINUTES * 60


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
        "ledger": _ledger(scenario, outcome),
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


def _ledger(scenario: Scenario, outcome: Outcome) -> list[LedgerEntry]:
    paid: dict[tuple[str, str], int] = defaultdict(int)
    for account, kind, amount in outcome.postings:
        paid[account, kind] -= amount
    return [
        {
            "peer": p.member.id,
            "trades_micro": paid[p.member.id, "TRADE"],
            "network_charges_micro": paid[p.member.id, "NETWORK_CHARGE"],
            "imbalances_micro": paid[p.member.id, "IMBALANCE"],
            "uplifts_micro": paid[p.member.id, "UPLIFT"],
        }
        for p in scenario.participants
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
    bill = -sum(amount for account, _, amount in outcome.postings if account in set(members))
    uplifts = [-entry["uplifts_micro"] for entry in _ledger(scenario, outcome) if entry["uplifts_micro"] < 0]
    imbalance = sum(abs(outcome.metered[m, at] - outcome.positions.get((m, at), 0)) for m in members for at in mtus)
    total_before = [sum(before[m][k] for m in members) for k in range(len(mtus))]
    return {
        "traded_wh": sum(trade.energy_wh for trade in neighbours),
        "neighbour_trades": len(neighbours),
        "bill_before_micro": bill_before,
        "bill_tariff_micro": bill_tariff,
        "bill_micro": bill,
        "saved_micro": bill_tariff - bill,
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
        "uplift_micro": sum(uplifts),
        "uplift_members": len(uplifts),
        "gas_per_window": round(outcome.anchoring_gas / len(outcome.windows)),
        "gas_per_trade": round(outcome.anchoring_gas / len(neighbours), 1) if neighbours else 0.0,
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
