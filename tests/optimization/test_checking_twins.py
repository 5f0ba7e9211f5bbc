"""The checks of whole-number devices against slow and obvious twins: every schedule is enumerated."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimization.checking.commitment import commitment
from optimization.checking.cycles import check_programmes
from optimization.checking.relays import check_interruptible
from optimization.checking.verdict import Claim, Terms
from optimization.devices import Generator, Interruptible, Phase, Programme, Progress
from optimization.fulfilment import impossible_tasks, most_mtus
from optimization.quantities import Floats, Horizon

NONE = np.empty(0)


def terms(mtus: int, day_starts: tuple[int, ...] = ()) -> Terms:
    horizon = Horizon(mtus=mtus, mtu_minutes=60, day_starts=day_starts)
    return Terms(horizon=horizon, shortfall_price=100.0, tolerance_kw=1e-5)


def claim(power_kw: Sequence[float] | Floats, shortfall: float = 0.0) -> Claim:
    return Claim(power_kw=np.array(power_kw, dtype=float), shortfall=shortfall, state_kwh=NONE, temperature_c=NONE)


# ------------------------------------------------------------------------------------------------- interruptibles


@st.composite
def pumps(draw: Any, mtus: int) -> Interruptible:
    first = draw(st.integers(0, mtus))
    return Interruptible(
        id="pump",
        power_kw=1.0,
        first_mtu=first,
        end_mtu=draw(st.integers(first, mtus)),
        required_mtus=draw(st.integers(0, mtus)),
        min_on_mtus=draw(st.integers(1, 3)),
        min_off_mtus=draw(st.integers(1, 3)),
        max_starts=draw(st.none() | st.integers(0, 2)),
        starts_today=draw(st.integers(0, 2)),
        running=draw(st.booleans()),
        elapsed_mtus=draw(st.none() | st.integers(0, 4)),
    )


def allowed_schedules(device: Interruptible, horizon: Horizon) -> Iterator[tuple[bool, ...]]:
    """Every schedule that a walk through the MTUs, by the rules as they are written, can make."""

    def walk(t: int, on: bool, so_long: int, bound: bool, starts: int, done: tuple[bool, ...]) -> Any:
        if t == horizon.mtus:
            # A run that was begun inside the window has had its minimum by the window's end.
            if not (on and bound and so_long < device.min_on_mtus):
                yield done
            return
        if t and horizon.day[t] != horizon.day[t - 1]:
            starts = 0
        inside = device.first_mtu <= t < device.end_mtu
        if on:
            owes = so_long < device.min_on_mtus
            if inside or (owes and not bound):
                yield from walk(t + 1, True, so_long + 1, bound, starts, (*done, True))
            if not owes:
                yield from walk(t + 1, False, 1, True, starts, (*done, False))
            return
        yield from walk(t + 1, False, so_long + 1, bound, starts, (*done, False))
        may_start = device.max_starts is None or starts < device.max_starts
        if inside and so_long >= device.min_off_mtus and may_start:
            yield from walk(t + 1, True, 1, True, starts + 1, (*done, True))

    elapsed = 99 if device.elapsed_mtus is None else device.elapsed_mtus
    yield from walk(0, device.running, elapsed, False, device.starts_today, ())


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_the_check_of_an_appliance_accepts_what_a_walk_by_the_rules_can_make_and_nothing_else(data: Any) -> None:
    mtus = data.draw(st.integers(1, 7))
    day_starts = (data.draw(st.integers(1, mtus - 1)),) if mtus > 1 and data.draw(st.booleans()) else ()
    device, shared = data.draw(pumps(mtus)), terms(mtus, day_starts)
    allowed = set(allowed_schedules(device, shared.horizon))
    for on in itertools.product([False, True], repeat=mtus):
        short = max(0, device.required_mtus - sum(on))
        verdict = check_interruptible(device, claim([float(mark) for mark in on], short), shared)
        right = on in allowed and sum(on) <= device.max_on_mtus
        assert (verdict.residual_kw == 0.0) == right, on


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_the_most_that_an_appliance_can_run_is_the_most_of_all_its_schedules(data: Any) -> None:
    mtus = data.draw(st.integers(1, 9))
    day_starts = (data.draw(st.integers(1, mtus - 1)),) if mtus > 1 and data.draw(st.booleans()) else ()
    device, horizon = data.draw(pumps(mtus)), terms(mtus, day_starts).horizon
    most = max(sum(on) for on in allowed_schedules(device, horizon))
    assert most_mtus(device, horizon) == most
    fits = any(device.required_mtus <= sum(on) <= device.max_on_mtus for on in allowed_schedules(device, horizon))
    assert fits == (most >= device.required_mtus)


# ------------------------------------------------------------------------------------------------------ commitment


def wrong_and_cost(device: Generator, up: Sequence[bool], up_cost: float) -> tuple[int, float]:
    """MTUs missing to minimum times, and currency, of one commitment, run by run."""
    history = [(device.running, 99 if device.elapsed_mtus is None else device.elapsed_mtus)]
    for state, run in itertools.groupby(up):
        length = len(list(run))
        if state == history[-1][0]:
            history[-1] = (state, history[-1][1] + length)
        else:
            history.append((state, length))
    least = {True: device.min_up_mtus, False: device.min_down_mtus}
    wrong = sum(max(0, least[state] - length) for state, length in history[:-1])
    starts = sum(1 for state, _ in history[1:] if state)
    return wrong, up_cost * sum(up) + device.start_cost * starts


@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_a_commitment_is_the_cheapest_of_all_that_explain_the_power(data: Any) -> None:
    mtus = data.draw(st.integers(1, 8))
    device = Generator(
        id="generator",
        min_kw=0.0,
        max_kw=1.0,
        start_cost=data.draw(st.sampled_from([0.0, 1.0, 3.0])),
        min_up_mtus=data.draw(st.integers(1, 4)),
        min_down_mtus=data.draw(st.integers(1, 4)),
        running=data.draw(st.booleans()),
        elapsed_mtus=data.draw(st.none() | st.integers(0, 5)),
    )
    kinds = data.draw(st.lists(st.sampled_from([(True,), (False,), (True, False)]), min_size=mtus, max_size=mtus))
    up_cost = data.draw(st.sampled_from([0.0, 1.0]))
    found = commitment(
        device,
        may_be_up=np.array([True in kind for kind in kinds]),
        may_be_down=np.array([False in kind for kind in kinds]),
        up_cost=up_cost,
        min_up=device.min_up_mtus,
        min_down=device.min_down_mtus,
    )
    best = min(wrong_and_cost(device, up, up_cost) for up in itertools.product(*kinds))
    assert (found.mtus_wrong, found.cost) == pytest.approx(best)


# ------------------------------------------------------------------------------------------------------ programmes


@st.composite
def programmes(draw: Any, mtus: int, name: str, follows: str | None = None) -> Programme:
    phases = tuple(
        Phase(
            power_kw=draw(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=1, max_size=2)),
            min_pause_mtus=(least := draw(st.integers(0, 2))),
            max_pause_mtus=draw(st.integers(least, 3)),
        )
        for _ in range(draw(st.integers(1, 2)))
    )
    first = draw(st.integers(0, mtus))
    progress = None
    if draw(st.integers(0, 3)) == 0:
        phase = draw(st.integers(0, len(phases) - 1))
        elapsed = draw(st.integers(1, phases[phase].mtus))
        paused = draw(st.integers(0, 4)) if elapsed == phases[phase].mtus else 0
        progress = Progress(phase=phase, elapsed_mtus=elapsed, paused_mtus=paused)
    least = draw(st.integers(0, 2))
    return Programme(
        id=name,
        phases=phases,
        first_mtu=first,
        end_mtu=draw(st.integers(first, mtus)),
        follows=follows,
        min_delay_mtus=least,
        max_delay_mtus=draw(st.integers(least, 4)),
        progress=progress,
    )


def placements(device: Programme, ended: int | None, mtus: int) -> Iterator[tuple[tuple[float, ...], int]]:
    """Each allowed (power, end) of a programme that runs, after one that ended; written phase by phase."""
    far = mtus + 40
    progress, phases = device.progress, device.phases
    if progress is None:
        opening = 0
        starts = [t for t in range(device.first_mtu, mtus) if ended is None or _in_time(device, ended, t)]
        pieces = [(t, phases[0].power_kw.tolist()) for t in starts]
    else:
        opening = progress.phase
        rest = phases[opening].power_kw[progress.elapsed_mtus :].tolist()
        # What has ended already, ended in the past: a phase of no MTUs then.
        pieces = [(0 if rest else -progress.paused_mtus, rest)]
    placed = [({t + k: kw for k, kw in enumerate(rest)}, t + len(rest)) for t, rest in pieces]
    for n in range(opening + 1, len(phases)):
        following = []
        for drawn, end in placed:
            least, most = end + phases[n].min_pause_mtus, end + phases[n].max_pause_mtus
            for t in range(max(0, least), max(0, least, most) + 1):
                profile = phases[n].power_kw.tolist()
                following.append((drawn | {t + k: kw for k, kw in enumerate(profile)}, t + len(profile)))
        placed = following
    for drawn, end in placed:
        if progress is not None or end <= device.end_mtu:
            yield tuple(drawn.get(t, 0.0) for t in range(mtus)), min(end, far)


def _in_time(device: Programme, ended: int, begin: int) -> bool:
    return ended + device.min_delay_mtus <= begin <= ended + device.max_delay_mtus


Powers = tuple[float, ...]


def chained(washer: Programme, dryer: Programme, mtus: int) -> list[tuple[Powers, Powers, bool, bool]]:
    """Every allowed pair of powers, with whether each ran."""
    nothing = (0.0,) * mtus
    pairs = []
    ran = [(power, end) for power, end in placements(washer, None, mtus)]
    for power, end in ran:
        pairs += [(power, other, True, True) for other, _ in placements(dryer, end, mtus)]
        if dryer.progress is None:
            pairs.append((power, nothing, True, False))
    if washer.progress is None:
        if dryer.progress is None:
            pairs.append((nothing, nothing, False, False))
        else:
            pairs += [(nothing, other, False, True) for other, _ in placements(dryer, None, mtus)]
    return pairs


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_a_chain_is_as_far_from_its_rules_as_from_the_nearest_of_all_its_placements(data: Any) -> None:
    mtus = data.draw(st.integers(1, 7))
    washer = data.draw(programmes(mtus, "washer"))
    dryer = data.draw(programmes(mtus, "dryer", "washer"))
    pairs = chained(washer, dryer, mtus)
    assert pairs
    *powers, washer_ran, dryer_ran = data.draw(st.sampled_from(pairs))
    claims = {
        "washer": claim(powers[0], 0.0 if washer_ran else washer.energy_kwh(1.0)),
        "dryer": claim(powers[1], 0.0 if dryer_ran else dryer.energy_kwh(1.0)),
    }
    verdicts = check_programmes([dryer, washer], claims, terms(mtus))
    assert max(verdict.residual_kw for verdict in verdicts.values()) == 0.0

    name = data.draw(st.sampled_from(["washer", "dryer"]))
    moved = np.roll(claims[name].power_kw, data.draw(st.integers(0, 3)))
    moved[data.draw(st.integers(0, mtus - 1))] += data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    claims[name] = claim(moved, claims[name].shortfall)
    verdicts = check_programmes([washer, dryer], claims, terms(mtus))

    def distance(pair: tuple[Powers, Powers, bool, bool]) -> float:
        wrong = 0.0
        for device, power, ran in zip((washer, dryer), pair[:2], pair[2:], strict=True):
            owed = 0.0 if ran else device.energy_kwh(1.0)
            wrong = max(wrong, abs(owed - claims[str(device.id)].shortfall))
            wrong = max(wrong, float(np.abs(claims[str(device.id)].power_kw - np.array(power)).max()))
        return wrong

    assert max(v.residual_kw for v in verdicts.values()) == pytest.approx(min(map(distance, pairs)))


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_a_programme_is_called_impossible_just_where_no_placement_exists(make_community: Any, data: Any) -> None:
    mtus = data.draw(st.integers(1, 7))
    washer = data.draw(programmes(mtus, "washer"))
    dryer = data.draw(programmes(mtus, "dryer", "washer"))
    community = make_community({"ann": [dryer, washer]}, import_price=[0.1] * mtus, export_price=[0.0] * mtus)
    named = {task.device for task in impossible_tasks(community)}
    pairs = chained(washer, dryer, mtus)
    assert ("washer" in named) == (not any(washer_ran for *_, washer_ran, _ in pairs))
    assert ("dryer" in named) == (not any(dryer_ran for *_, dryer_ran in pairs))
