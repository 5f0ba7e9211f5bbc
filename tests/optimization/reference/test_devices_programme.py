"""Programmes by hand, and against every way to begin their phases. An MTU is an hour."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimization.clearing import Clearing
from optimization.community import Community, Programme
from optimization.devices import Phase, Progress

Single = Callable[..., Community]
Best = Callable[[Community], Clearing]


def phase(*power_kw: float, pause: tuple[int, int] = (0, 0)) -> Phase:
    return Phase(power_kw=np.array(power_kw, dtype=float), min_pause_mtus=pause[0], max_pause_mtus=pause[1])


def washer(*phases: Phase, end: int, **changes: Any) -> Programme:
    fields = {"id": "washer", "phases": phases, "first_mtu": 0, "end_mtu": end, "waiting_cost": 0.0}
    return Programme(**(fields | changes))


def test_a_programme_begins_where_its_whole_profile_costs_least(single: Single, best: Best) -> None:
    clearing = best(single(washer(phase(1, 3), end=4), price=[5.0, 2.0, 3.0, 1.0]))
    assert clearing.device_kw["washer"].tolist() == [0, 0, 1, 3]
    assert clearing.objective == pytest.approx(6.0)


def test_a_programme_begins_and_ends_in_its_window(single: Single, best: Best) -> None:
    clearing = best(single(washer(phase(1, 3), first_mtu=1, end=3), price=[1.0, 2.0, 3.0, 0.0]))
    assert clearing.device_kw["washer"].tolist() == [0, 1, 3, 0]


def test_waiting_lets_a_programme_begin_early(single: Single, best: Best) -> None:
    clearing = best(single(washer(phase(2), end=3, waiting_cost=1e-5), price=[1.0] * 3, mtu_minutes=30))
    assert clearing.device_kw["washer"].tolist() == [2, 0, 0]
    dearer_now = best(single(washer(phase(2), end=3, waiting_cost=1e-5), price=[1.1, 1.0, 1.0], mtu_minutes=30))
    assert dearer_now.objective == pytest.approx(1.0 + 0.25 * 1e-5 * 2)


@pytest.mark.parametrize(
    ("pause", "power"), [((0, 3), [1, 0, 0, 2]), ((0, 1), [0, 1, 0, 2]), ((0, 0), [0, 0, 1, 2]), ((2, 2), [1, 0, 0, 2])]
)
def test_pauses_are_as_long_as_they_may_be(
    single: Single, best: Best, pause: tuple[int, int], power: list[float]
) -> None:
    clearing = best(single(washer(phase(1), phase(2, pause=pause), end=4), price=[1.0, 1.5, 2.0, 0.5]))
    assert clearing.device_kw["washer"].tolist() == power


def test_a_programme_longer_than_its_window_is_left_out_as_a_shortfall(single: Single, best: Best) -> None:
    community = single(washer(phase(1), phase(2, pause=(2, 3)), end=3), price=[1.0] * 3, mtu_minutes=30)
    clearing = best(community)
    assert clearing.shortfall == {"washer": pytest.approx(1.5)}
    assert clearing.device_kw["washer"].tolist() == [0, 0, 0]
    assert clearing.objective == pytest.approx(1.5 * community.shortfall_price)


def test_the_dryer_begins_its_delay_after_the_washer_has_ended(single: Single, best: Best) -> None:
    dryer = washer(phase(3), end=5, id="dryer", follows="washer", min_delay_mtus=1, max_delay_mtus=2)
    # The follower stands first: the order of devices does not matter.
    clearing = best(single(dryer, washer(phase(1, 1), end=5), price=[1.0, 1.0, 1.5, 9.0, 2.0]))
    assert clearing.device_kw["washer"].tolist() == [1, 1, 0, 0, 0]
    assert clearing.device_kw["dryer"].tolist() == [0, 0, 0, 0, 3]


def test_the_dryer_does_not_run_without_the_washer(single: Single, best: Best) -> None:
    dryer = washer(phase(3), end=5, id="dryer", follows="washer")
    clearing = best(single(washer(phase(1, 1), end=1), dryer, price=[1.0] * 5))
    assert clearing.shortfall == {"washer": pytest.approx(2.0), "dryer": pytest.approx(3.0)}


def test_a_begun_phase_goes_on_whatever_the_window_says(single: Single, best: Best) -> None:
    device = washer(phase(1, 2, 3, 4), end=0, progress=Progress(phase=0, elapsed_mtus=2))
    clearing = best(single(device, price=[9.0, 9.0, 9.0]))
    assert clearing.device_kw["washer"].tolist() == [3, 4, 0]
    assert clearing.shortfall == {}
    cut = best(single(device, price=[9.0]))
    assert cut.device_kw["washer"].tolist() == [3]


@pytest.mark.parametrize(
    ("paused", "pause", "power"),
    [
        pytest.param(1, (2, 4), [0, 2, 0, 0], id="from the first MTU that is late enough"),
        pytest.param(1, (0, 9), [0, 0, 0, 0], id="beyond the horizon where that may be"),
        pytest.param(3, (0, 2), [2, 0, 0, 0], id="at once where the pause has lasted too long"),
        pytest.param(0, (1, 3), [0, 2, 0, 0], id="from the end of its phase on"),
    ],
)
def test_a_pause_that_was_begun_goes_on(
    single: Single, best: Best, paused: int, pause: tuple[int, int], power: list[float]
) -> None:
    device = washer(
        phase(7, 7), phase(2, pause=pause), end=0, progress=Progress(phase=0, elapsed_mtus=2, paused_mtus=paused)
    )
    clearing = best(single(device, price=[2.0, 1.0, 3.0, 4.0]))
    assert clearing.device_kw["washer"].tolist() == power


def test_what_follows_a_running_phase_keeps_its_pause(single: Single, best: Best) -> None:
    device = washer(phase(1, 1), phase(2, pause=(0, 1)), phase(3), end=0, progress=Progress(phase=0, elapsed_mtus=1))
    clearing = best(single(device, price=[1.0, 3.0, 2.0, 9.0]))
    assert clearing.device_kw["washer"].tolist() == [1, 2, 3, 0]
    nearer = best(single(device, price=[1.0, 9.0, 2.0]))
    assert nearer.device_kw["washer"].tolist() == [1, 0, 2]


@pytest.mark.parametrize(("paused", "power"), [(0, [0, 0, 3, 0]), (1, [0, 3, 0, 0]), (2, [3, 0, 0, 0]), (3, None)])
def test_a_dryer_counts_from_the_end_of_a_washer_that_is_done(
    single: Single, best: Best, paused: int, power: list[float] | None
) -> None:
    done = washer(phase(1), end=0, progress=Progress(phase=0, elapsed_mtus=1, paused_mtus=paused))
    dryer = washer(phase(3), end=4, id="dryer", follows="washer", max_delay_mtus=2)
    clearing = best(single(done, dryer, price=[4.0, 3.0, 2.0, 1.0]))
    assert clearing.device_kw["washer"].tolist() == [0, 0, 0, 0]
    assert clearing.device_kw["dryer"].tolist() == (power or [0, 0, 0, 0])
    assert clearing.shortfall == ({} if power else {"dryer": pytest.approx(3.0)})


# --- every way to begin ------------------------------------------------------------------------------------------


def ways(device: Programme, mtus: int) -> Iterator[tuple[int, ...] | None]:
    """The MTUs in which the phases begin that are not over; None for leaving it out."""
    progress, phases = device.progress, device.phases
    if progress is None:
        yield None
        for begins in product(range(device.first_mtu, device.end_mtu), repeat=len(phases)):
            ends = [begun + one.mtus for begun, one in zip(begins, phases, strict=True)]
            pauses = [begun - end for begun, end in zip(begins[1:], ends, strict=False)]
            if ends[-1] <= device.end_mtu and all(
                one.min_pause_mtus <= pause <= one.max_pause_mtus for one, pause in zip(phases[1:], pauses, strict=True)
            ):
                yield begins
        return
    now, later = phases[progress.phase], phases[progress.phase + 1 :]
    begun = -progress.elapsed_mtus - progress.paused_mtus
    far = mtus + sum(one.mtus + one.max_pause_mtus for one in phases)
    for begins in product(range(far), repeat=len(later)):
        fits, end = True, begun + now.mtus
        for k, (start, one) in enumerate(zip(begins, later, strict=True)):
            pause, overdue = start - end, k == 0 and end <= 0 and -end > one.max_pause_mtus
            fits &= start == 0 if overdue else one.min_pause_mtus <= pause <= one.max_pause_mtus
            end = start + one.mtus
        if fits:
            yield (begun, *begins)


def profile(device: Programme, begins: Sequence[int] | None, mtus: int) -> np.ndarray:
    power = np.zeros(mtus)
    if begins is not None:
        for start, one in zip(begins, device.phases[-len(begins) :], strict=True):
            for k, kw in enumerate(one.power_kw):
                if 0 <= start + k < mtus:
                    power[start + k] += kw
    return power


def own_cost(device: Programme, begins: Sequence[int] | None, community: Community) -> float:
    hours, mtus = community.horizon.hours, community.horizon.mtus
    power = profile(device, begins, mtus)
    missing = device.energy_kwh(hours) * community.shortfall_price if begins is None else 0.0
    waiting = hours**2 * device.waiting_cost * (np.arange(mtus) @ power)
    return float(missing + waiting + hours * (community.tariff.import_price @ power))


def chain_cost(first: Programme, second: Programme | None, community: Community) -> float:
    mtus, cheapest = community.horizon.mtus, np.inf
    for begins in ways(first, mtus):
        cost = own_cost(first, begins, community)
        if second is None:
            cheapest = min(cheapest, cost)
            continue
        for after in ways(second, mtus):
            if after is not None and second.progress is None:
                if begins is None:
                    continue
                delay = after[0] - begins[-1] - first.phases[-1].mtus
                if not second.min_delay_mtus <= delay <= second.max_delay_mtus:
                    continue
            cheapest = min(cheapest, cost + own_cost(second, after, community))
    return float(cheapest)


@st.composite
def programmes(draw: Any, name: str) -> Programme:
    powers = st.lists(st.integers(0, 3), min_size=1, max_size=2)
    bounds = st.tuples(st.integers(0, 2), st.integers(0, 2)).map(sorted)
    phases = [phase(*draw(powers), pause=draw(bounds)) for _ in range(draw(st.integers(1, 2)))]
    first = draw(st.integers(0, 5))
    made = washer(
        *phases,
        id=name,
        first_mtu=first,
        end=draw(st.integers(first, 6)),
        waiting_cost=draw(st.sampled_from([0.0, 1e-3])),
    )
    if draw(st.booleans()):
        return made
    k = draw(st.integers(0, len(phases) - 1))
    elapsed = draw(st.integers(1, phases[k].mtus))
    paused = draw(st.integers(0, 3)) if elapsed == phases[k].mtus else 0
    return dataclasses.replace(made, progress=Progress(phase=k, elapsed_mtus=elapsed, paused_mtus=paused))


PRICES = st.lists(st.integers(-10, 30).map(lambda k: k / 100), min_size=6, max_size=6)
QUIET = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@settings(QUIET, max_examples=15)
@given(device=programmes("washer"), price=PRICES)
def test_a_programme_does_the_best_of_all_ways(
    device: Programme, price: list[float], single: Single, best: Best
) -> None:
    community = single(device, price=price)
    assert best(community).objective == pytest.approx(chain_cost(device, None, community), abs=1e-6)


@settings(QUIET, max_examples=15)
@given(data=st.data(), first=programmes("washer"), second=programmes("dryer"), price=PRICES)
def test_a_chain_does_the_best_of_all_ways(
    data: Any, first: Programme, second: Programme, price: list[float], single: Single, best: Best
) -> None:
    least = data.draw(st.integers(0, 2))
    second = dataclasses.replace(
        second, follows="washer", min_delay_mtus=least, max_delay_mtus=least + data.draw(st.integers(0, 2))
    )
    community = single(first, second, price=price, mtu_minutes=data.draw(st.sampled_from([30, 60])))
    assert best(community).objective == pytest.approx(chain_cost(first, second, community), abs=1e-6)
