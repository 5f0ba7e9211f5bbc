"""A day as the store has it, and as it would have been without Gridpact."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection

from contracts.header import WindowHeader
from controller.demo.scenario import MTU_MINUTES, Scenario
from controller.flexibility import Plant, Relay, Storage
from controller.microgrid import Trade
from controller.store import evidence, market, meters, outbox, registry
from controller.store.market import WindowRow

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
    postings : (account, kind, amount) in order of the windows
    envelopes : as they count, in order of their ids
    anchoring_gas : of all batches together
    """

    windows: list[WindowRow]
    headers: list[WindowHeader]
    trades: dict[str, list[Trade]]
    positions: dict[tuple[str, int], int]
    powers: dict[tuple[str, int], int]
    metered: dict[tuple[str, int], int]
    postings: list[tuple[str, str, int]]
    envelopes: list[dict[str, Any]]
    anchoring_gas: int


def read_outcome(connection: Connection, scenario: Scenario) -> Outcome:
    """The day as the store has it."""
    grid = scenario.microgrid
    windows = market.windows(connection, grid.id)
    positions: dict[tuple[str, int], int] = {}
    powers: dict[tuple[str, int], int] = {}
    postings: list[tuple[str, str, int]] = []
    for row in windows:
        positions |= market.positions(connection, row.name)
        powers |= _window_powers(row)
        postings += [(p.account, p.kind, p.amount_micro) for p in evidence.postings(connection, row.name)]
    readings = meters.meter_readings(connection, grid.id, grid.start, grid.end)
    registers = {(r.member, r.instant): r.import_wh - r.export_wh for r in readings}
    return Outcome(
        windows=windows,
        headers=evidence.headers(connection, grid.id),
        trades={row.name: [trade for trade, _ in market.trades(connection, row.name)] for row in windows},
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
            for e in registry.envelopes(connection, grid.id)
        ],
        anchoring_gas=sum(sent.gas_used for sent in outbox.included(connection, grid.id)),
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
