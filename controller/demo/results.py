"""What a day leaves behind beside its page: the evidence, and machine-readable files."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from contracts.batch_evidence import SignedBatch
from contracts.chain import Genesis
from contracts.chain_evidence import ChainEvidence, ChainTransaction, Purpose
from contracts.evidence import export_directory
from contracts.registry import Deployment
from controller.closing import inputs_of
from controller.demo.conductor import Diary
from controller.demo.outcome import Outcome
from controller.demo.scenario import MTU_MINUTES, Scenario
from controller.flexibility import Flexibility, Generator, Plant, Programme, Relay, Storage, Thermostat, Vehicle
from controller.microgrid import Device
from controller.sealed import records_of
from controller.store import batches, evidence, market, outbox

MTU_S = MTU_MINUTES * 60


WITHOUT_END = {"planning_minutes", "ahead_minutes", "timing", "terms"}
"""What a microgrid that lives for one day has no use for, or leaves as it is by default."""


def export_evidence(
    connection: Connection, directory: Path, scenario: Scenario, genesis: Genesis, deployment: Deployment
) -> None:
    """The files that ``gridpact verify`` checks."""
    microgrid = scenario.microgrid.id
    headers = evidence.headers(connection, microgrid)
    records = [records_of(connection, header.window, header.run) for header in headers]
    transactions = [ChainTransaction(purpose=Purpose.DEPLOY, number=None, raw=deployment.raw_transaction)]
    transactions += [
        ChainTransaction(
            purpose=Purpose.ANCHOR if sent.kind == batches.BATCH else Purpose.ROTATE,
            number=sent.number,
            raw=sent.attempt.raw,
        )
        for sent in outbox.included(connection, microgrid)
    ]
    export_directory(
        directory,
        headers=headers,
        batches=[
            SignedBatch(batch=kept.batch, signatures=kept.signatures)
            for kept in batches.batches(connection, microgrid, after=-1, count=len(headers))
        ],
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


def write_inputs(connection: Connection, path: Path, scenario: Scenario) -> None:
    """One line a window: all that it was decided on, whose SHA-256 its header carries."""
    rows = market.windows(connection, scenario.microgrid.id)
    path.write_text("".join(f"{inputs_of(connection, row)}\n" for row in rows), encoding="utf-8")


def community_json(scenario: Scenario, outcome: Outcome) -> dict[str, Any]:
    """Who took part, with what, under which limits and prices."""
    grid = scenario.microgrid
    return {
        "format": "gridpact.community.v1",
        "grid": scenario.grid.name,
        "day": scenario.grid.day.isoformat(),
        "seed": scenario.seed,
        "microgrid": {name: value for name, value in asdict(grid).items() if name not in WITHOUT_END},
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
                "uplifts": json.loads(row.uplifts) if row.uplifts else None,
            }
            for row in outcome.windows
        ],
    }


def _kind(device: Device) -> str:
    """The name of a device's model in the mathematics."""
    names: dict[type[Flexibility], str] = {
        Relay: "interruptible",
        Storage: "battery",
        Plant: "curtailable",
        Programme: "programme",
        Vehicle: "electric_vehicle",
        Thermostat: "thermostatic",
        Generator: "generator",
    }
    return names[type(device.flexibility)]
