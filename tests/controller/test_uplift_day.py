"""A day with forecasts that hold, in which a limit sends a member into dear hours: in the end nobody pays for that."""

import asyncio
import json
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller import problem
from controller.clock import VirtualClock
from controller.flexibility import Flexibility, Phase, Plant, Programme, Relay
from controller.microgrid import (
    Bounds,
    Device,
    Member,
    MeterReading,
    Microgrid,
    TariffPeriod,
)
from controller.sealing import seeded_salts
from controller.snapshot import Limit, Snapshot
from controller.solving import Solver
from controller.store import evidence, market, meters, registry
from controller.store.database import Database
from controller.uplifts import from_json
from controller.window import WindowEngine
from controller.wire import fields
from controller.wire.market import uplift_messages
from gridpact.v1 import participant_pb2
from optimization.clearing import Outcome
from optimization.community import Community
from optimization.devices import FixedLoad
from optimization.errors import SolverError
from optimization.members import alone_bounds, own_costs, standalone
from optimization.quantities import DeviceId, Floats
from optimization.regret import standing
from optimization.scheduling import ScheduleOptions, schedule
from optimization.uplift import Standing

pytestmark = pytest.mark.slow

MTU_S = 900
MTUS = 16
WINDOW_MTUS = 4
START = int(datetime(2026, 5, 4, 8, tzinfo=UTC).timestamp())
IMPORT_MICRO = [300_000] * 4 + [100_000] * 8 + [400_000] * 4
EXPORT_MICRO = 50_000
SUN_W = (0, 0, 0, 0, 400, 800, 1200, 1600, 2000, 2000, 2000, 1600, 1200, 800, 400, 0)
LIMIT_W = 4000
LOADS_W = {"ada": 200, "bob": 320, "eve": 120}
TRADERS = ("ada", "bob")


def at(mtu: int) -> int:
    return START + mtu * MTU_S


DEVICES: dict[str, Flexibility] = {
    "ada/pv": Plant(rated_w=2000),
    "ada/washer": Programme(phases=(Phase(power_w=(2000, 400)),), start=START, end=at(MTUS)),
    "bob/pump": Relay(rated_w=2000, start=at(4), end=at(12), required_s=8 * MTU_S),
    "eve/heater": Relay(rated_w=3000, start=START, end=at(MTUS), required_s=4 * MTU_S),
}
"""Pump and heater want the cheap hours, and the limit lets only one of them run."""

GRID = Microgrid(
    id="village",
    time_zone="UTC",
    mtu_minutes=15,
    window_minutes=15 * WINDOW_MTUS,
    lead_minutes=5,
    start=START,
    end=at(MTUS),
    network_charge_micro_per_kwh=5000,
    currency="EUR",
    tariff=tuple(
        TariffPeriod(
            start=at(k), end=at(k + 1), import_price_micro_per_kwh=price, export_price_micro_per_kwh=EXPORT_MICRO
        )
        for k, price in enumerate(IMPORT_MICRO)
    ),
)


class Planner:
    """A solver without a process of its own."""

    async def solve(self, community: Community) -> Outcome:
        return schedule(community, options=ScheduleOptions(gap=1e-5, rebuilds=50))

    async def standing(self, community: Community, device_kw: dict[DeviceId, Floats], mtus: int) -> Standing:
        return standing(community, device_kw, mtus)


@dataclass
class Failing(Planner):
    """Finds nothing in one window of the day."""

    window: int
    asked: int = field(default=0)

    async def solve(self, community: Community) -> Outcome:
        self.asked += 1
        if self.asked == self.window + 1:
            raise SolverError("HiGHS: got nothing")
        return await super().solve(community)


class Silent(Planner):
    """Cannot tell what members would pay alone."""

    async def standing(self, community: Community, device_kw: dict[DeviceId, Floats], mtus: int) -> Standing:
        del community, device_kw, mtus
        raise SolverError("worker process: got its end, wanted an answer")


class Plain:
    """Knows nothing of members."""

    async def solve(self, community: Community) -> Outcome:
        return await Planner().solve(community)


LIMIT = Limit(
    id="transformer",
    target=GRID.name,
    periods=(Bounds(start=START, end=at(MTUS), lower_w=-LIMIT_W, upper_w=LIMIT_W),),
    digest="",
)


@dataclass
class Day:
    """The village's day: everybody's forecasts hold, and devices do what they are told."""

    database: Database
    solver: Solver
    net_wh: dict[str, list[int]] = field(default_factory=lambda: {member: [0, 0] for member in LOADS_W})

    def __post_init__(self) -> None:
        self.clock = VirtualClock(START - 3600)
        self.engine = WindowEngine(
            database=self.database,
            clock=self.clock,
            solver=self.solver,
            salts=seeded_salts(b"village"),
            limits=lambda *_: (LIMIT,),
            on_frozen=lambda _: None,
            on_setpoints=lambda *_: None,
            on_adjusted=lambda *_: None,
        )
        self.database.run(registry.add_microgrid, GRID)
        for member in LOADS_W:
            self.database.run(registry.add_member, "village", Member(id=member, section="east"))
        for id_, flexibility in DEVICES.items():
            device = Device(id=id_, member=id_.split("/", maxsplit=1)[0], flexibility=flexibility)
            self.database.run(registry.put_device, "village", device)

    def live(self) -> "Day":
        first = GRID.windows()[0].name
        for member, load_w in LOADS_W.items():
            order = participant_pb2.Order(
                window=first,
                member=f"{GRID.name}/members/{member}",
                load_w=[load_w] * MTUS,
                production=[
                    participant_pb2.ProductionForecast(device=fields.device_name("village", id_), available_w=SUN_W)
                    for id_ in DEVICES
                    if id_ == f"{member}/pv"
                ],
                partners=[
                    participant_pb2.Partner(member=f"{GRID.name}/members/{other}", preference_micro_per_kwh=0)
                    for other in TRADERS
                    if member in TRADERS and other != member
                ],
            )
            payload = order.SerializeToString(deterministic=True)
            self.database.run(
                market.add_order, first, member, payload=payload, signature=b"", key_id="k", digest=member.encode()
            )
        self.step(START - 300)
        for mtu in range(MTUS + 1):
            if mtu % WINDOW_MTUS == 0:
                self.step(at(mtu))
            self.meter(mtu)
            self.step(at(mtu) + 600)
        return self

    def step(self, instant: int) -> None:
        self.clock.set(instant)
        asyncio.run(self.engine.advance())

    def meter(self, mtu: int) -> None:
        """Registers at the start of an MTU: everybody took what was scheduled; in a failed window, the load."""
        for member, registers in self.net_wh.items():
            if mtu:
                row = self.rows()[(mtu - 1) // WINDOW_MTUS]
                scheduled = self.database.run(market.positions, row.name)
                taken = scheduled.get((member, at(mtu - 1)), LOADS_W[member] // 4)
                registers[taken < 0] += abs(taken)
            reading = MeterReading(
                member=member, instant=at(mtu), import_wh=registers[0], export_wh=registers[1], quality="MEASURED"
            )
            self.database.run(
                meters.add_batch,
                "village",
                member,
                mtu + 1,
                payload=b"",
                signature=b"",
                key_id="k",
                readings=[reading],
            )

    def rows(self) -> list[market.WindowRow]:
        return self.database.run(market.windows, "village")

    def postings(self) -> list[Any]:
        return [posting for row in self.rows() for posting in self.database.run(evidence.postings, row.name)]

    def paid(self, *kinds: str) -> dict[str, float]:
        """Currency that each member paid in the end."""
        paid: dict[str, float] = defaultdict(float)
        for posting in self.postings():
            if not kinds or posting.kind in kinds:
                paid[posting.account] -= posting.amount_micro / 1e6
        return paid

    def headers(self) -> list[bytes]:
        return [header.hash for header in self.database.run(evidence.headers, "village")]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory):
    databases: list[Database] = []

    def make(solver: Solver) -> Day:
        folder: Path = tmp_path_factory.mktemp("village")
        databases.append(Database(f"sqlite:///{folder / 'day.sqlite'}"))
        return Day(databases[-1], solver).live()

    yield make
    for database in databases:
        database.close()


@pytest.fixture(scope="module")
def day(live) -> Day:
    return live(Planner())


def alone_and_own(day: Day) -> tuple[Floats, Floats]:
    """(N,) what each member's best plan alone would have cost at first, and what its devices cost themselves."""
    community = problem.build(Snapshot.from_json(day.rows()[0].snapshot or ""))
    alone = standalone(replace(community, planned_kw={}, change_price=0.0))
    ran: dict[DeviceId, Floats] = {
        device.id: device.power_kw if isinstance(device, FixedLoad) else np.zeros(MTUS)
        for _, device in community.devices()
    }
    for number, row in enumerate(day.rows()):
        plan = json.loads(row.plan or "")
        for id_, series in plan["power_w"].items():
            first = number * WINDOW_MTUS
            ran[DeviceId(id_)][first : first + WINDOW_MTUS] = np.array(series[:WINDOW_MTUS]) / 1000
    return alone_bounds(alone, rounds=160), own_costs(alone, ran)


def test_the_day_is_settled_without_imbalance(day: Day) -> None:
    assert [(row.state, row.source) for row in day.rows()] == [("SETTLED", "CLEARING")] * 4
    assert {posting.kind for posting in day.postings()} == {"TRADE", "NETWORK_CHARGE", "UPLIFT"}


def test_in_the_end_no_member_paid_more_than_its_own_best_plan_alone(day: Day) -> None:
    alone, own = alone_and_own(day)
    paid = day.paid()
    for member, best, costs in zip(sorted(LOADS_W), alone, own, strict=True):
        assert paid[member] + costs <= best + 1e-4, member


def test_without_uplifts_the_heater_that_the_limit_moved_would_have_cost_its_owner_more(day: Day) -> None:
    alone, own = alone_and_own(day)
    eve = sorted(LOADS_W).index("eve")
    without = day.paid("TRADE", "NETWORK_CHARGE")["eve"] + own[eve] - alone[eve]
    assert without > 0.1
    assert -day.paid("UPLIFT")["eve"] == pytest.approx(without, abs=1e-3)


def test_who_gains_from_neighbours_pays_for_it(day: Day) -> None:
    paid = day.paid("UPLIFT")
    assert paid["ada"] > 0.0
    assert paid["ada"] + paid["bob"] + paid["eve"] + paid["community"] == pytest.approx(0.0)


def test_every_windows_postings_sum_to_zero_and_are_what_the_clearing_said(day: Day) -> None:
    for row in day.rows():
        postings = day.database.run(evidence.postings, row.name)
        assert sum(posting.amount_micro for posting in postings) == 0
        posted = {p.account: p.amount_micro for p in postings if p.kind == "UPLIFT" and p.account != "community"}
        assert posted == {u.member: u.uplift_micro for u in from_json(row.uplifts) if u.uplift_micro}
        assert {p.reference for p in postings if p.kind == "UPLIFT"} <= {"uplift"}


def test_a_windows_uplifts_are_part_of_what_the_next_is_decided_on(day: Day) -> None:
    rows = day.rows()
    assert Snapshot.from_json(rows[0].snapshot or "").uplifts == {}
    for row, following in pairwise(rows):
        told = {u.member: (u.regret_micro, u.received_micro) for u in from_json(row.uplifts)}
        assert Snapshot.from_json(following.snapshot or "").uplifts == told


def test_the_message_of_a_clearing_says_how_every_member_fares(day: Day) -> None:
    messages = uplift_messages(day.rows()[2].uplifts)
    assert [message.member for message in messages] == sorted(LOADS_W)
    for message, uplift in zip(messages, from_json(day.rows()[2].uplifts), strict=True):
        assert message.alone_micro == uplift.alone_micro
        assert message.received_micro == uplift.received_micro
        assert message.regret_micro == uplift.regret_micro


def test_the_same_day_twice_gives_the_same_headers(day: Day, live) -> None:
    again = live(Planner())
    assert again.headers() == day.headers()
    assert [row.uplifts for row in again.rows()] == [row.uplifts for row in day.rows()]


def test_a_window_that_fails_has_no_uplifts_and_the_next_goes_on_from_those_before(live) -> None:
    rows = (failed := live(Failing(window=1))).rows()
    assert [row.uplifts is None for row in rows] == [False, True, False, False]
    assert rows[1].source in {"TAIL", "FAILSAFE"}
    assert not any(p.kind == "UPLIFT" for p in failed.database.run(evidence.postings, rows[1].name))
    told = {u.member: (u.regret_micro, u.received_micro) for u in from_json(rows[0].uplifts)}
    assert Snapshot.from_json(rows[2].snapshot or "").uplifts == told
    assert uplift_messages(rows[1].uplifts) == []


@pytest.mark.parametrize("solver", [Silent, Plain])
def test_a_clearing_acts_where_nobody_can_tell_its_uplifts(live, solver) -> None:
    without = live(solver())
    assert [(row.state, row.source, row.uplifts) for row in without.rows()] == [("SETTLED", "CLEARING", None)] * 4
    assert not any(posting.kind == "UPLIFT" for posting in without.postings())
