"""The relaxation bounds every schedule from below and is tight where nothing is whole. An MTU is an hour."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimization.certificate import certify
from optimization.clearing import Clearing, Infeasible
from optimization.community import (
    Battery,
    Community,
    Curtailable,
    ElectricVehicle,
    FixedLoad,
    Generator,
    Interruptible,
    Link,
    Programme,
    Thermostatic,
)
from optimization.devices import Phase, PowerRange, Progress
from optimization.reference.dispatch import dispatch
from optimization.reference.relaxation import Relaxation, relax

Single = Callable[..., Community]


def bound(community: Community) -> float:
    relaxation = relax(community)
    assert isinstance(relaxation, Relaxation)
    return relaxation.lower_bound


def washer(power_kw: float, mtus: int, **changes: Any) -> Programme:
    phases = (Phase(power_kw=np.full(mtus, power_kw)),)
    return Programme(
        **({"id": "washer", "phases": phases, "first_mtu": 0, "end_mtu": 3, "waiting_cost": 0.0} | changes)
    )


def test_half_a_run_is_allowed(make_community: Callable[..., Community], make_envelope: Callable[..., Any]) -> None:
    pump = Interruptible(
        id="pump", power_kw=2.0, first_mtu=0, end_mtu=2, required_mtus=1, waiting_cost=0.0, start_cost=0.0
    )
    community = make_community(
        {"ann": [pump]},
        import_price=[0.1, 0.3],
        export_price=[0.0, 0.0],
        envelopes=[make_envelope("ann", upper_kw=[1.0, 9.0])],
    )
    assert bound(community) == pytest.approx(0.1 + 0.3)
    outcome = dispatch(community, gap=0.0)
    assert isinstance(outcome, Clearing)
    assert outcome.objective == pytest.approx(0.6)


def test_prices_are_the_tariffs_where_the_grid_is_used_and_a_link_apart_between_neighbours(
    make_community: Callable[..., Community],
) -> None:
    community = make_community(
        {
            "ann": [FixedLoad(id="load", power_kw=np.array([3.0]))],
            "ben": [Curtailable(id="pv", available_kw=np.array([2.0]))],
        },
        import_price=[0.3],
        export_price=[0.1],
        links=[Link(seller="ben", buyer="ann", network_charge=0.02)],
        mtu_minutes=15,
    )
    relaxation = relax(community)
    assert isinstance(relaxation, Relaxation)
    assert relaxation.price == pytest.approx(np.array([[0.3], [0.28]]))
    assert relaxation.lower_bound == pytest.approx(0.25 * (0.3 + 2 * 0.02))


def test_a_generators_quadratic_cost_is_what_it_is(single: Single) -> None:
    device = Generator(id="generator", min_kw=0.0, max_kw=4.0, quadratic_cost=0.1, linear_cost=0.1)
    assert bound(single(device, price=[0.33])) == pytest.approx(-(0.23**2) / 0.2, abs=1e-7)


def test_envelopes_that_nothing_can_keep_are_a_conflict(
    make_community: Callable[..., Community], make_envelope: Callable[..., Any]
) -> None:
    community = make_community(
        {"ann": [FixedLoad(id="load", power_kw=np.array([3.0]))]},
        import_price=[0.3],
        export_price=[0.1],
        envelopes=[make_envelope("ann", upper_kw=[2.0])],
    )
    outcome = relax(community)
    assert isinstance(outcome, Infeasible)
    assert outcome.reason == "street MTU 0: at least 3.000 kW, allowed 2.000"


def test_a_lone_programme_is_cheapest_whole(single: Single) -> None:
    assert bound(single(washer(1.0, 2), price=[0.3, 0.1, 0.1])) == pytest.approx(0.2)


def test_a_begun_programme_costs_what_is_left_of_it(single: Single) -> None:
    begun = washer(1.0, 3, end_mtu=0, progress=Progress(phase=0, elapsed_mtus=1))
    assert bound(single(begun, price=[0.3, 0.1, 0.1])) == pytest.approx(0.4)


def everything(draw: Any, mtus: int) -> list[Any]:
    """Two homes' worth of devices, each of its own making."""

    def whole(lowest: int, highest: int) -> float:
        return float(draw(st.integers(lowest, highest)))

    def either(*values: Any) -> Any:
        return draw(st.sampled_from(values))

    first = draw(st.integers(0, mtus - 2))
    state = {"running": draw(st.booleans()), "elapsed_mtus": either(None, 0, 1, 2)}
    cycle = (
        Phase(power_kw=np.array([1.0, 2.0])),
        Phase(power_kw=np.array([1.5]), min_pause_mtus=either(0, 1), max_pause_mtus=2),
    )
    progress = either(None, None, Progress(phase=0, elapsed_mtus=1), Progress(phase=0, elapsed_mtus=2, paused_mtus=3))
    return [
        FixedLoad(id="load", power_kw=np.array([whole(0, 3) for _ in range(mtus)])),
        Curtailable(
            id="pv", available_kw=np.array([whole(0, 4) for _ in range(mtus)]), curtailment_cost=either(0.0, 0.05)
        ),
        Generator(
            id="generator",
            min_kw=1.0,
            max_kw=3.0,
            quadratic_cost=either(0.0, 0.02),
            linear_cost=0.15,
            start_cost=0.05,
            min_up_mtus=either(1, 3),
            min_down_mtus=2,
            **state,
        ),
        Battery(
            id="battery",
            max_charge_kw=2.0,
            max_discharge_kw=2.0,
            capacity_kwh=4.0,
            initial_kwh=whole(0, 4),
            final_kwh=whole(0, 4),
            min_kwh=1.0,
            self_discharge=either(0.0, 0.05),
            final_value=either(0.0, 0.1),
        ),
        ElectricVehicle(
            id="vehicle",
            arrival_mtu=first,
            departure_mtu=mtus - either(0, 1),
            capacity_kwh=10.0,
            initial_kwh=whole(0, 6),
            required_kwh=whole(3, 9),
            levels=(PowerRange(lower_kw=1.4, upper_kw=2.0), PowerRange(lower_kw=4.2, upper_kw=6.0)),
            max_discharge_kw=either(0.0, 2.0),
        ),
        Programme(id="washer", phases=cycle, first_mtu=0, end_mtu=mtus, progress=progress),
        Programme(
            id="dryer",
            phases=(Phase(power_kw=np.array([2.0])),),
            first_mtu=first,
            end_mtu=mtus,
            follows="washer",
            max_delay_mtus=either(1, 3),
        ),
        Interruptible(
            id="pump",
            power_kw=1.0,
            first_mtu=first,
            end_mtu=mtus,
            required_mtus=draw(st.integers(0, mtus)),
            min_on_mtus=either(1, 2),
            min_off_mtus=either(1, 2),
            max_starts=either(None, 1),
            **state,
        ),
        Thermostatic(
            id="heater",
            rated_kw=2.0,
            heat_capacity_kwh_per_k=1.0,
            loss_kw_per_k=0.1,
            performance=np.full(mtus, 2.5),
            ambient_c=np.full(mtus, 10.0),
            draw_kw=np.full(mtus, 0.5),
            lower_c=np.full(mtus, 19.0),
            upper_c=np.full(mtus, 23.0),
            initial_c=whole(17, 24),
            modulating=draw(st.booleans()),
            min_on_mtus=either(1, 2),
            **state,
        ),
    ]  # fmt: skip


@st.composite
def homes(draw: Any, make: Callable[..., Community], envelope: Callable[..., Any], mtus: int = 6) -> Community:
    devices = everything(draw, mtus)
    home = {device.id: draw(st.booleans()) or device.id in {"washer", "dryer"} for device in devices}
    export = [draw(st.integers(-5, 10)) / 100 for _ in range(mtus)]
    return make(
        {
            "ann": [device for device in devices if home[device.id]],
            "ben": [device for device in devices if not home[device.id]],
        },
        import_price=[price + draw(st.integers(0, 25)) / 100 for price in export],
        export_price=export,
        links=[Link(seller="ann", buyer="ben", network_charge=0.01), Link(seller="ben", buyer="ann")],
        envelopes=[envelope("ann", "ben", lower_kw=[-6.0] * mtus, upper_kw=[draw(st.integers(6, 20))] * mtus)],
        mtu_minutes=draw(st.sampled_from([30, 60])),
    )


def assert_bounded(community: Community) -> None:
    outcome, relaxation = dispatch(community, gap=0.001), relax(community)
    if isinstance(outcome, Infeasible):
        return
    certificate = certify(community, outcome)
    assert certificate.feasible, certificate.violated
    slack = 1e-6 * max(1.0, abs(outcome.objective))
    assert certificate.objective == pytest.approx(outcome.objective, abs=slack)
    assert outcome.lower_bound <= outcome.objective + slack
    assert isinstance(relaxation, Relaxation)
    assert relaxation.lower_bound <= outcome.objective + slack
    assert np.isfinite(relaxation.price).all()


QUIET = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@settings(QUIET, max_examples=3)
@given(data=st.data())
def test_no_schedule_costs_less_than_the_relaxation(data: Any, make_community: Any, make_envelope: Any) -> None:
    assert_bounded(data.draw(homes(make_community, make_envelope)))


@pytest.mark.campaign
@settings(QUIET, max_examples=30)
@given(data=st.data())
def test_no_schedule_costs_less_than_the_relaxation_over_half_a_day(
    data: Any, make_community: Any, make_envelope: Any
) -> None:
    assert_bounded(data.draw(homes(make_community, make_envelope, 12)))


@settings(QUIET, max_examples=5)
@given(data=st.data())
def test_without_appliances_nothing_is_lost(data: Any, communities: Any) -> None:
    community = data.draw(communities(max_mtus=3))
    outcome, relaxation = dispatch(community, gap=0.0), relax(community)
    assert isinstance(outcome, Infeasible) == isinstance(relaxation, Infeasible)
    if isinstance(outcome, Clearing) and isinstance(relaxation, Relaxation):
        assert relaxation.lower_bound == pytest.approx(outcome.objective, abs=1e-6, rel=1e-6)
