"""One way of scheduling one sampled community in a process of its own: ``python -m tests.benchmarks.scheduling_trial``.

It reads a ``SchedulingJob`` as JSON and prints a JSON object of what was found. The process ends itself by an alarm
when that takes longer than its limit.
"""

import json
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from time import perf_counter, process_time
from typing import Any, Literal, assert_never

import numpy as np

from controller.plan.sample import sample_community
from optimization.certificate import Certificate, certify, envelope_residuals, net_kw
from optimization.clearing import Clearing, Infeasible, Outcome
from optimization.community import Community, Link
from optimization.devices.batches import batches
from optimization.devices.oracle import priced
from optimization.errors import SolverError
from optimization.members import standalone
from optimization.quantities import DeviceId, Floats
from optimization.scheduling import ScheduleOptions, schedule
from optimization.states import shortfall_of, states_of
from optimization.trading import Network, trade
from tests.benchmarks.trial import peak_mb

Line = dict[str, Any]
Links = Literal["none", "neighbours", "all"]

WARMING_HOMES, WARMING_MTUS = 5, 24
"""Of the community that is scheduled first, untimed, to compile the kernels."""

WARMING = ScheduleOptions(rounds=5, sweeps=3, rebuilds=20)

MOST_ALONE = 300
"""Homes up to which what they would do by themselves is planned too."""

ALONE = ScheduleOptions(gap=0.01, splits=0, rebuilds=200)
"""How well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulingJob:
    """What a trial is to do.

    Attributes
    ----------
    solver : ``decomposition``, or ``monolith`` for the whole model in HiGHS
    homes, mtus, seed, links : as in ``Sampling``; the transformer binds
    tolls : factor on all preferences and network charges
    limit_s : deadline of the decomposition, None for none; limit of HiGHS' search, which needs one
    wanted_gap : relative gap at which a search may end
    timeout : seconds after which the process is ended
    """

    solver: Literal["decomposition", "monolith"]
    homes: int
    mtus: int
    seed: int
    links: Links
    tolls: float
    limit_s: float | None
    wanted_gap: float
    timeout: float


def community_of(job: SchedulingJob) -> Community:
    """The community of a job."""
    community = sample_community(job.homes, job.seed, job.mtus, links=job.links)
    return replace(community, links=tuple(_tolled(link, job.tolls) for link in community.links))


def _tolled(link: Link, tolls: float) -> Link:
    return replace(
        link,
        seller_preference=tolls * link.seller_preference,
        buyer_preference=tolls * link.buyer_preference,
        network_charge=tolls * link.network_charge,
    )


def run(job: SchedulingJob) -> Line:
    """What a job gave; ``status`` is ``scheduled``, ``infeasible``, or ``none`` where it found no schedule."""
    community = community_of(job)
    about: Line = {"devices": sum(1 for _ in community.devices()), "link_count": len(community.links)}
    match job.solver:
        case "decomposition":
            return {**about, **_decomposed(community, job)}
        case "monolith":
            return {**about, **_monolithic(community, job)}
        case _:
            assert_never(job.solver)


def _decomposed(community: Community, job: SchedulingJob) -> Line:
    schedule(sample_community(WARMING_HOMES, 1, WARMING_MTUS), options=WARMING)
    before_mb = peak_mb()
    begin, worked = perf_counter(), process_time()
    outcome = schedule(
        community,
        options=ScheduleOptions(gap=job.wanted_gap),
        spent=lambda: 0.0 if job.limit_s is None else (perf_counter() - begin) / job.limit_s,
    )
    line: Line = {"seconds": perf_counter() - begin, "cpu_seconds": process_time() - worked}
    line |= {"peak_mb": peak_mb(), "peak_before_mb": before_mb, **judged(community, outcome)}
    if line["status"] == "scheduled":
        line |= against_selfish(community, line["objective"], line["lower_bound"])
        if job.homes <= MOST_ALONE:
            line |= against_alone(community, line["objective"], line["lower_bound"])
    return line


def _monolithic(community: Community, job: SchedulingJob) -> Line:
    """HiGHS' incumbent, if any, priced at true costs by the certificate."""
    from optimization.reference.dispatch import dispatch

    before_mb = peak_mb()
    begin, worked = perf_counter(), process_time()
    try:
        found: Line = judged(community, dispatch(community, gap=job.wanted_gap, time_limit=job.limit_s))
    except SolverError as error:
        found = {"status": "none", "said": str(error)}
    line = {"seconds": perf_counter() - begin, "cpu_seconds": process_time() - worked}
    return {**line, "peak_mb": peak_mb(), "peak_before_mb": before_mb, **found}


def judged(community: Community, outcome: Outcome) -> Line:
    """What an outcome is worth by its certificate."""
    match outcome:
        case Clearing():
            certificate: Certificate = certify(community, outcome)
            return {
                "status": "scheduled" if certificate.feasible else "broken",
                "said": certificate.violated,
                "objective": certificate.objective,
                "lower_bound": certificate.lower_bound,
                "gap": certificate.gap,
                "residual_kw": certificate.primal_residual_kw,
                "short": len(outcome.shortfall),
            }
        case Infeasible():
            return {"status": "infeasible", "said": outcome.reason}
        case _:
            assert_never(outcome)


def against_selfish(community: Community, objective: float, lower_bound: float) -> Line:
    """What coordination earns, and the gap as a share of it; None where the selfish cost less than the bound.

    They can, as they keep to no envelope: ``selfish_over_kw`` says how far they exceed the worst one.
    """
    selfish = selfish_clearing(community)
    cost = certify(community, selfish).objective
    over = envelope_residuals(community, net_kw(community, selfish))
    worst = max(over, key=over.__getitem__, default="")
    earned = cost - lower_bound
    return {
        "selfish_cost": cost,
        "selfish_over_kw": over.get(worst, 0.0),
        "selfish_over": worst,
        "transformer_over_kw": over.get("envelope transformer", 0.0),
        "transformer_kw": next((float(e.upper_kw.max()) for e in community.envelopes if e.name == "transformer"), None),
        "gap_of_earned": (objective - lower_bound) / earned if earned > 0.0 else None,
    }


def against_alone(community: Community, objective: float, lower_bound: float) -> Line:
    """The same against homes that each plan well for themselves at the tariff, and then trade what that leaves.

    They keep to their own limits, and may exceed shared ones; ``alone_cost`` is None where they found no plan.
    """
    alone = schedule(standalone(community), options=ALONE)
    if not isinstance(alone, Clearing):
        return {"alone_cost": None, "gap_of_joint": None}
    clearing = traded(community, alone.device_kw)
    cost = certify(community, clearing).objective
    over = envelope_residuals(community, net_kw(community, clearing))
    earned = cost - lower_bound
    return {
        "alone_cost": cost,
        "alone_over_kw": over.get("envelope transformer", 0.0),
        "gap_of_joint": (objective - lower_bound) / earned if earned > 0.0 else None,
    }


def selfish_clearing(community: Community) -> Clearing:
    """What comes of it when each device follows the import price alone and neighbours trade what that leaves.

    Envelopes are not looked at.
    """
    power = np.zeros((sum(1 for _ in community.devices()), community.horizon.mtus))
    for blocks in batches(community):
        price = np.tile(community.tariff.import_price, (blocks.peer.size, 1))
        power[blocks.rows] = blocks.batch.respond(priced(price)).power_kw
    return traded(community, {device.id: power[row] for row, (_, device) in enumerate(community.devices())})


def traded(community: Community, device_kw: Mapping[DeviceId, Floats]) -> Clearing:
    """The clearing of given (T,) schedules with the cheapest trades of what they leave."""
    place = {peer.id: n for n, peer in enumerate(community.peers)}
    net = np.zeros((len(place), community.horizon.mtus))
    for peer, device in community.devices():
        net[place[peer.id]] += device_kw[device.id]
    states, trades = states_of(community, device_kw), trade(Network.of(community), net)
    return Clearing(
        device_kw=dict(device_kw),
        state_kwh=states.state_kwh,
        temperature_c=states.temperature_c,
        shortfall=shortfall_of(community, device_kw),
        trade_kwh=trades.trade_kwh,
        import_kwh=trades.import_kwh,
        export_kwh=trades.export_kwh,
        price=trades.price,
        objective=float("nan"),
        lower_bound=float("-inf"),
    )


if __name__ == "__main__":
    given = SchedulingJob(**json.load(sys.stdin))
    signal.setitimer(signal.ITIMER_REAL, given.timeout)
    print(json.dumps(run(given)), flush=True)
