"""From a clearing back to integers: what a window decides, and the plan behind it.

The way there is ``problem``; nowhere else do the two worlds meet.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from controller.microgrid import GRID_ACCOUNT, DeviceSetpoint, SetpointKind, Trade
from controller.problem import bounds_w, members_under
from controller.relaxing import Relaxation, relaxations
from controller.setpoints import discomforts_milli_k_h, shortfalls_wh, told
from controller.snapshot import Snapshot
from controller.uplifts import Uplift
from optimization.certificate import FEASIBILITY_TOLERANCE_KW, Certificate, certify, net_kw
from optimization.clearing import Clearing
from optimization.community import Battery, Community, DeviceId
from optimization.errors import SolverError
from optimization.rounding import (
    UNBOUNDED_WH,
    EnergyBounds,
    Integers,
    round_energy,
    round_trades,
)

MICRO = 1_000_000
KILO = 1000.0
DECLARED_GAP = 0.01
"""Within this of the proven bound a plan is optimal."""
LEAST_INTEGER = -(2**63)
ROUNDED_W = 1e-3
"""Below this a watt's fraction is a solver's tolerance."""


class Quality(Enum):
    """What a plan or a clearing is worth; see the API's PlanQuality."""

    OPTIMAL = "OPTIMAL"
    FEASIBLE = "FEASIBLE"
    RELAXED = "RELAXED"
    INFEASIBLE = "INFEASIBLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is meant to happen from the window's start to the horizon's end.

    Attributes
    ----------
    start : Unix seconds of the first MTU
    net_w : the connection point's net power in each MTU
    power_w : each controllable device's power in each MTU, consumption positive
    setpoints : what each device is told in each MTU: kind and values
    shortfall_wh : what tasks fall short by, by device
    discomfort_milli_k_h : how far and long temperatures leave their bands, by device
    """

    start: int
    net_w: tuple[int, ...]
    power_w: Mapping[str, tuple[int, ...]]
    setpoints: Mapping[str, tuple[SetpointKind, tuple[int, ...]]]
    shortfall_wh: Mapping[str, int]
    discomfort_milli_k_h: Mapping[str, int]

    def to_json(self) -> str:
        """The plan as canonical JSON."""
        values: dict[str, Any] = asdict(self)
        values["setpoints"] = {device: [kind.value, series] for device, (kind, series) in self.setpoints.items()}
        return json.dumps(values, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a clearing decides about its window.

    Attributes
    ----------
    certificate : what is known about its quality
    trades : in order of MTU, seller, buyer; those with the grid included
    positions : Wh each member takes, by member and MTU
    setpoints : of the window's MTUs
    plan : of the whole rest of the horizon
    carry : remainders of rounding for the next window
    uplifts : of all members, or none where none were computed
    relaxations : limits that nobody could keep in the window's MTUs
    witness : what the solver answered, packed as by ``witness``; empty where nobody computes it again
    """

    certificate: Certificate
    trades: tuple[Trade, ...]
    positions: Mapping[tuple[str, int], int]
    setpoints: tuple[DeviceSetpoint, ...]
    plan: Plan
    carry: Mapping[str, int]
    uplifts: tuple[Uplift, ...] = ()
    relaxations: tuple[Relaxation, ...] = ()
    witness: bytes = b""


def quality(decision: Decision) -> Quality:
    """What a decision is worth."""
    short = any(decision.plan.shortfall_wh.values()) or any(decision.plan.discomfort_milli_k_h.values())
    if short or decision.relaxations:
        return Quality.RELAXED
    return Quality.OPTIMAL if decision.certificate.gap <= DECLARED_GAP else Quality.FEASIBLE


def decide(snapshot: Snapshot, community: Community, clearing: Clearing) -> Decision:
    """The integers that follow from a clearing.

    Raises
    ------
    SolverError
        If the clearing breaks a rule of its problem: what was not found feasible, recomputed, never acts.
    """
    certificate = certify(community, clearing)
    if not certificate.feasible:
        raise SolverError(
            f"recomputed feasibility: {certificate.violated} off by {certificate.primal_residual_kw:.3g} kW, "
            f"wanted {FEASIBILITY_TOLERANCE_KW:g}"
        )
    plan, net_w = _plan(snapshot, community, clearing)
    positions, carry = _positions(snapshot, net_w)
    trades, link_carry = _trades(snapshot, community, clearing, positions)
    mtus = snapshot.window_mtus()
    return Decision(
        certificate=certificate,
        trades=trades,
        positions=positions,
        setpoints=tuple(
            DeviceSetpoint(device=device, mtu_start=mtu, kind=kind, value=values[k])
            for device, (kind, values) in sorted(plan.setpoints.items())
            for k, mtu in enumerate(mtus)
        ),
        plan=plan,
        carry=carry | link_carry,
        relaxations=relaxations(snapshot, end=snapshot.window.end),
    )


def stated(certificate: Certificate) -> dict[str, float]:
    """A certificate as the API states it, in W and micro-currency; a bound that is not known is the least integer."""
    bound = certificate.lower_bound
    return {
        "primal_residual_w": certificate.primal_residual_kw * KILO,
        "objective_micro": round(certificate.objective * MICRO),
        "lower_bound_micro": round(bound * MICRO) if np.isfinite(bound) else LEAST_INTEGER,
        "gap": certificate.gap,
    }


def _plan(snapshot: Snapshot, community: Community, clearing: Clearing) -> tuple[Plan, Integers]:
    """The plan in W, and the (N, T) net power of each peer that it means."""
    own = {device.id: device for device in snapshot.devices}
    up = _round_up(snapshot, community, clearing)
    power_w: dict[str, tuple[int, ...]] = {}
    setpoints: dict[str, tuple[SetpointKind, tuple[int, ...]]] = {}
    net_w = np.zeros((len(community.peers), community.horizon.mtus), dtype=np.int64)
    for n, peer in enumerate(community.peers):
        for device in peer.devices:
            power = clearing.device_kw[device.id]
            if device.id not in own:
                net_w[n] += np.round(power * KILO).astype(np.int64) + np.array(snapshot.bought_w(peer.id))
                continue
            watts, kind, values = told(device, own[device.id].flexibility, power, up=up[n])
            net_w[n] += watts
            power_w[device.id] = tuple(int(w) for w in watts)
            setpoints[device.id] = (kind, tuple(int(v) for v in values))
    for n, device_id, extra in _left_over(snapshot, community, clearing, power_w, up):
        net_w[n] += extra
        power_w[device_id] = tuple(int(w) for w in power_w[device_id] + extra)
        setpoints[device_id] = (SetpointKind.POWER, power_w[device_id])
    plan = Plan(
        start=snapshot.window.start,
        net_w=tuple(int(w) for w in net_w.sum(axis=0)),
        power_w=power_w,
        setpoints=setpoints,
        shortfall_wh=shortfalls_wh(snapshot, community, clearing),
        discomfort_milli_k_h=discomforts_milli_k_h(snapshot, community, clearing),
    )
    return plan, net_w


def _left_over(
    snapshot: Snapshot,
    community: Community,
    clearing: Clearing,
    power_w: Mapping[str, tuple[int, ...]],
    up: npt.NDArray[np.bool_],
) -> Iterator[tuple[int, str, Integers]]:
    """The (T,) W that batteries take beyond what was rounded down, so that together they use what they were given.

    Among batteries under the same limits only: what one leaves of a section's limit is not for another's.
    """
    grid = snapshot.microgrid.name
    limited = {target: members_under(snapshot, target) for target in sorted(bounds_w(snapshot)) if target != grid}
    groups: dict[tuple[str, ...], list[tuple[int, str]]] = defaultdict(list)
    for n, peer in enumerate(community.peers):
        for device in peer.devices:
            if isinstance(device, Battery):
                under = tuple(target for target, members in limited.items() if peer.id in members)
                groups[under].append((n, device.id))
    for batteries in groups.values():
        exact = np.array([clearing.device_kw[DeviceId(id_)] for _, id_ in batteries]) * KILO
        down = ~np.array([up[n] for n, _ in batteries])
        rest = np.where(down, exact - np.array([power_w[id_] for _, id_ in batteries]), 0.0)
        whole = np.floor(rest.sum(axis=0) + ROUNDED_W)
        # The largest remainders first, equal ones in the order of the devices.
        rank = np.argsort(np.argsort(-rest, axis=0, kind="stable"), axis=0, kind="stable")
        extra = ((rank < whole) & (rest > ROUNDED_W)).astype(np.int64)
        for (n, id_), row in zip(batteries, extra, strict=True):
            if row.any():
                yield n, id_, row


def _round_up(snapshot: Snapshot, community: Community, clearing: Clearing) -> npt.NDArray[np.bool_]:
    """(N, T) whether a peer's setpoints are rounded up: where the limit nearest to it is one on feeding in."""
    index = {peer.id: n for n, peer in enumerate(community.peers)}
    net_w = net_kw(community, clearing) * KILO + np.array([snapshot.bought_w(peer.id) for peer in community.peers])
    up = np.zeros(net_w.shape, dtype=bool)
    nearest = np.full(net_w.shape, np.inf)
    for target, (lower, upper) in sorted(bounds_w(snapshot).items()):
        rows = [index[peer] for peer in sorted(members_under(snapshot, target))]
        total = net_w[rows].sum(axis=0)
        for slack, side in ((upper - total, False), (total - lower, True)):
            nearer = slack < nearest[rows]
            up[rows] = np.where(nearer, side, up[rows])
            nearest[rows] = np.where(nearer, slack, nearest[rows])
    return up


def _positions(snapshot: Snapshot, net_w: Integers) -> tuple[dict[tuple[str, int], int], dict[str, int]]:
    """Whole Wh of each member and MTU of the window, and the remainders."""
    ids = [member.id for member in snapshot.members]
    sections = sorted({member.section for member in snapshot.members})
    minutes = snapshot.microgrid.mtu_minutes
    carry = np.array([snapshot.carry.get(f"peer {member}", 0) for member in ids], dtype=np.int64)
    limits = bounds_w(snapshot)
    relaxed = {(target, period.start) for target, periods in snapshot.relaxed.items() for period in periods}
    positions: dict[tuple[str, int], int] = {}
    for k, mtu in enumerate(snapshot.window_mtus()):

        def within(target: str, k: int = k, mtu: int = mtu) -> tuple[int, int]:
            lower, upper = limits.get(target, (None, None))
            # What was relaxed to the watt is rounded outwards, so that what nobody controls has room.
            out = 59 if (target, mtu) in relaxed else 0
            low = -UNBOUNDED_WH if lower is None or np.isinf(lower[k]) else -((-int(lower[k]) * minutes + out) // 60)
            high = UNBOUNDED_WH if upper is None or np.isinf(upper[k]) else (int(upper[k]) * minutes + out) // 60
            # A band without a whole Wh in it is kept by the powers; whole Wh come as near as they can.
            return min(low, high), max(low, high)

        grid = snapshot.microgrid.name
        bounds = EnergyBounds(
            section=np.array([sections.index(member.section) for member in snapshot.members]),
            total_wh=within(grid),
            section_wh=np.array([within(f"{grid}/sections/{section}") for section in sections]),
            peer_wh=np.array([within(f"{grid}/members/{member}") for member in ids]),
        )
        energy, carry = round_energy(net_w[:, k], minutes=minutes, carry=carry, bounds=bounds, ties=ids)
        positions |= {(member, mtu): int(wh) for member, wh in zip(ids, energy, strict=True)}
    return positions, {f"peer {member}": int(rest) for member, rest in zip(ids, carry, strict=True)}


def _trades(
    snapshot: Snapshot, community: Community, clearing: Clearing, positions: Mapping[tuple[str, int], int]
) -> tuple[tuple[Trade, ...], dict[str, int]]:
    """The window's trades among neighbours, and with the grid what is left of each position."""
    index = {peer.id: n for n, peer in enumerate(community.peers)}
    names = [f"link {link.seller} {link.buyer}" for link in community.links]
    carry = np.array([snapshot.carry.get(name, 0) for name in names], dtype=np.int64)
    trades: list[Trade] = []
    bought: dict[tuple[str, int], int] = defaultdict(int)
    for member, series in snapshot.bought_wh.items():
        for mtu, earlier in zip(snapshot.window_mtus(), series, strict=False):
            bought[member, mtu] = earlier
    for k, mtu in enumerate(snapshot.window_mtus()):
        energy, carry = round_trades(clearing.trade_kwh[:, k], carry)
        tariff = snapshot.microgrid.prices(mtu)
        for link, wh in zip(community.links, energy, strict=True):
            if wh == 0:
                continue
            value = clearing.price[index[link.seller], k] + link.seller_preference
            charge = snapshot.microgrid.network_charge_micro_per_kwh
            highest = max(tariff.import_price_micro_per_kwh - charge, tariff.export_price_micro_per_kwh)
            price = min(max(round(value * MICRO), tariff.export_price_micro_per_kwh), highest)
            trades.append(
                Trade(
                    seller=link.seller,
                    buyer=link.buyer,
                    mtu_start=mtu,
                    energy_wh=int(wh),
                    price_micro_per_kwh=price,
                )
            )
            bought[link.buyer, mtu] += int(wh)
            bought[link.seller, mtu] -= int(wh)
    trades += _grid_trades(snapshot, positions, bought)
    trades.sort(key=lambda t: (t.mtu_start, t.seller, t.buyer, t.price_micro_per_kwh))
    return tuple(trades), {name: int(rest) for name, rest in zip(names, carry, strict=True)}


def _grid_trades(
    snapshot: Snapshot, positions: Mapping[tuple[str, int], int], bought: Mapping[tuple[str, int], int]
) -> list[Trade]:
    """What each member takes beyond its trades with neighbours, bought from or sold to the grid at the tariff.

    An adjustment trades the difference to what was traded with the grid before, and takes that back at its price: a
    need that turns out smaller is paid for as little as if it had been known.
    """
    microgrid = snapshot.microgrid
    places = {mtu: k for k, mtu in enumerate(snapshot.window_mtus())}
    trades = []
    for (member, mtu), net in positions.items():
        rest = net - bought.get((member, mtu), 0)
        before = snapshot.grid_wh[member][places[mtu]] if member in snapshot.grid_wh else 0
        tariff = microgrid.prices(mtu)
        for energy, price in (
            (max(rest, 0) - max(before, 0), tariff.import_price_micro_per_kwh),
            (min(rest, 0) - min(before, 0), tariff.export_price_micro_per_kwh),
        ):
            if energy == 0:
                continue
            seller, buyer = (GRID_ACCOUNT, member) if energy > 0 else (member, GRID_ACCOUNT)
            trades.append(
                Trade(
                    seller=seller,
                    buyer=buyer,
                    mtu_start=mtu,
                    energy_wh=abs(energy),
                    price_micro_per_kwh=price,
                )
            )
    return trades
