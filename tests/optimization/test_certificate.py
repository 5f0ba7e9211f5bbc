import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimization.certificate import (
    FEASIBILITY_TOLERANCE_KW,
    Certificate,
    certify,
    envelope_residuals,
    net_kw,
    relative_gap,
)
from optimization.clearing import Clearing
from optimization.community import Battery, Community, Curtailable, Envelope, FixedLoad, Interruptible, Link
from optimization.reference.dispatch import dispatch

MTUS = 4
NAN, INFINITY = float("nan"), float("inf")
ANN, BEN, CID = 0, 1, 2

PEERS = {
    "ann": [
        FixedLoad(id="load", power_kw=np.array([0.5, 1.0, 1.0, 0.5])),
        Interruptible(id="washer", power_kw=2.0, first_mtu=1, end_mtu=4, required_mtus=2, start_cost=0.004),
    ],
    "ben": [
        Curtailable(id="pv", available_kw=np.array([1.0, 4.0, 4.0, 0.0])),
        Battery(
            id="battery",
            max_charge_kw=2.0,
            max_discharge_kw=2.0,
            capacity_kwh=1.5,
            initial_kwh=0.5,
            final_kwh=0.75,
            charge_efficiency=0.8,
            discharge_efficiency=0.5,
        ),
    ],
    "cid": [],
}


@pytest.fixture(scope="module")
def street(make_community: Callable[..., Community], make_envelope: Callable[..., Envelope]) -> Community:
    """Every kind of device, half-hour MTUs, and an envelope on both sides."""
    names = ("ann", "ben", "cid")
    return make_community(
        PEERS,
        import_price=[0.3, 0.3, 0.25, 0.3],
        export_price=[0.1] * MTUS,
        links=[Link(seller="ben", buyer="ann", seller_preference=0.01, network_charge=0.02)],
        envelopes=[make_envelope(*names, lower_kw=[-3.0] * MTUS, upper_kw=[3.0] * MTUS)],
        mtu_minutes=30,
    )


@pytest.fixture(scope="module")
def clearing(street: Community) -> Clearing:
    """What the reference dispatch says."""
    outcome = dispatch(street, gap=0.0)
    assert isinstance(outcome, Clearing)
    return outcome


def run_by_hand(
    community: Community, clearing: Clearing, *, state_kwh: Any = None, shortfall: Any = None, **device_kw: Any
) -> Clearing:
    """The clearing with other device powers, its balance made right again with the grid."""
    devices = dict(clearing.device_kw) | {name: np.array(power) for name, power in device_kw.items()}
    changed = dataclasses.replace(
        clearing,
        device_kw=devices,
        state_kwh=clearing.state_kwh if state_kwh is None else {"battery": np.array(state_kwh)},
        shortfall=clearing.shortfall if shortfall is None else shortfall,
        trade_kwh=np.zeros_like(clearing.trade_kwh),
    )
    energy = community.horizon.hours * net_kw(community, changed)
    return dataclasses.replace(changed, import_kwh=np.maximum(energy, 0.0), export_kwh=np.maximum(-energy, 0.0))


def spoiled(clearing: Clearing, field: str, row: int, mtu: int, change: float) -> Clearing:
    """The clearing with one number of one table changed."""
    table = np.array(getattr(clearing, field))
    table[row, mtu] += change
    return dataclasses.replace(clearing, **{field: table})


# A schedule worked out by hand, with room on all sides. Stored: 0.5 + 0.5 h * 0.8 * 1 kW = 0.9, then
# 0.9 - 0.5 h * 0.1 kW / 0.5 = 0.8 twice over, then 0.8.
BY_HAND = {
    "washer": [0.0, 2.0, 2.0, 0.0],
    "pv": [-1.0, -1.0, -1.0, 0.0],
    "battery": [1.0, -0.1, 0.0, 0.0],
    "state_kwh": [0.9, 0.8, 0.8, 0.8],
    "shortfall": {},
}


def test_a_correct_clearing_is_feasible_and_costs_what_the_solver_says(street: Community, clearing: Clearing) -> None:
    certificate = certify(street, clearing)
    assert certificate.feasible
    assert certificate.primal_residual_kw < 1e-6
    assert certificate.violated == ""
    assert certificate.objective == pytest.approx(clearing.objective, abs=1e-9)
    assert certificate.lower_bound == clearing.lower_bound
    assert certificate.gap == pytest.approx(0.0, abs=1e-6)


def test_a_schedule_worked_out_by_hand_is_feasible_and_costs_what_it_costs_by_hand(
    street: Community, clearing: Clearing
) -> None:
    certificate = certify(street, run_by_hand(street, clearing, **BY_HAND))
    assert certificate.violated == ""
    assert certificate.primal_residual_kw < 1e-12
    energy = 0.5 * (0.5 * 0.3 + 3.0 * 0.3 + 3.0 * 0.25 + 0.5 * 0.3)
    exported = 0.5 * (0.0 + 1.1 + 1.0 + 0.0) * 0.1
    cycling = 0.5 * 0.1 * 0.001
    starting = 0.004
    waiting = 1e-5 * (0.5 * (0.6 + 0.7 + 0.7 + 0.7) + 0.5**2 * 2.0 * (1 + 2))
    assert certificate.objective == pytest.approx(energy - exported + cycling + starting + waiting, abs=1e-12)


@pytest.mark.parametrize(
    ("running", "power_kw", "starts"),
    [
        (False, [2.0, 2.0, 0.0, 0.0], 1),
        (True, [2.0, 2.0, 0.0, 0.0], 0),
        (False, [2.0, 0.0, 2.0, 0.0], 2),
        (True, [0.0, 2.0, 0.0, 2.0], 2),
    ],
)
def test_each_start_costs_and_going_on_does_not(
    make_community: Callable[..., Community], running: bool, power_kw: list[float], starts: int
) -> None:
    washer = Interruptible(
        id="washer",
        power_kw=2.0,
        first_mtu=0,
        end_mtu=4,
        required_mtus=2,
        running=running,
        waiting_cost=0.0,
        start_cost=0.01,
    )
    community = make_community({"ann": [washer]}, import_price=[0.3] * MTUS, export_price=[0.1] * MTUS)
    clearing = dispatch(community)
    assert isinstance(clearing, Clearing)
    certificate = certify(community, run_by_hand(community, clearing, washer=power_kw))
    assert certificate.feasible
    assert certificate.objective == pytest.approx(4 * 0.3 + starts * 0.01)


def test_the_cost_of_links_is_in_the_recomputed_objective(street: Community, clearing: Clearing) -> None:
    plain = run_by_hand(street, clearing, **BY_HAND)
    shifted = dataclasses.replace(
        spoiled(spoiled(plain, "import_kwh", ANN, 1, -0.25), "export_kwh", BEN, 1, -0.25),
        trade_kwh=np.array([[0.0, 0.25, 0.0, 0.0]]),
    )
    certificate = certify(street, shifted)
    assert certificate.feasible
    assert certificate.objective - certify(street, plain).objective == pytest.approx(0.25 * (0.03 + 0.1 - 0.3))


@pytest.mark.parametrize(
    ("changes", "kwh_short"),
    [
        ({"washer": [0.0, 2.0, 0.0, 0.0], "shortfall": {"washer": 1.0}}, 1.0),
        ({"battery": [0.0] * 4, "state_kwh": [0.5] * 4, "shortfall": {"battery": 0.25}}, 0.25),
    ],
)
def test_a_declared_shortfall_is_feasible_and_dear(
    street: Community, clearing: Clearing, changes: dict[str, Any], kwh_short: float
) -> None:
    certificate = certify(street, run_by_hand(street, clearing, **(BY_HAND | changes)))
    assert certificate.violated == ""
    assert certificate.objective == pytest.approx(kwh_short * street.shortfall_price, rel=0.05)


BROKEN_DEVICES = [
    pytest.param({"load": [0.5, 1.0, 1.0, 0.4]}, "device load", 0.1, id="a load that is not its forecast"),
    pytest.param({"load": [0.5, 1.0, NAN, 0.5]}, "device load", INFINITY, id="a load of NaN"),
    pytest.param({"pv": [-1.1, -1.0, -1.0, 0.0]}, "device pv", 0.1, id="more sun than there is"),
    pytest.param({"pv": [0.1, -1.0, -1.0, 0.0]}, "device pv", 0.1, id="a plant that consumes"),
    pytest.param({"pv": [NAN] * 4}, "device pv", INFINITY, id="a plant of NaN"),
    pytest.param({"washer": [2.0, 2.0, 0.0, 0.0]}, "device washer", 2.0, id="on before its window"),
    pytest.param({"washer": [0.0, 1.0, 2.0, 1.0]}, "device washer", 1.0, id="half on"),
    pytest.param({"washer": [0.0, 2.1, 2.0, 0.0]}, "device washer", 0.1, id="above its rating"),
    pytest.param({"washer": [0.0, -2.0, 2.0, 2.0]}, "device washer", 2.0, id="running backwards"),
    pytest.param({"washer": [0.0, 2.0, 0.0, 0.0]}, "device washer", 2.0, id="an hour too few"),
    pytest.param({"washer": [0.0, 2.0, 2.0, 2.0]}, "device washer", 2.0, id="an hour too many"),
    pytest.param({"washer": [0.0, 2.0, 2.0, NAN]}, "device washer", INFINITY, id="an appliance of NaN"),
    pytest.param({"shortfall": {"washer": 1.0}}, "device washer", 2.0, id="short without need"),
    pytest.param({"shortfall": {"washer": NAN}}, "device washer", INFINITY, id="a shortfall of NaN"),
    pytest.param(
        {"washer": [0.0, 2.0, 2.0, 2.0], "shortfall": {"washer": -1.0}},
        "device washer",
        INFINITY,
        id="a negative shortfall of an appliance",
    ),
    pytest.param({"shortfall": {"battery": -0.05}}, "device battery", INFINITY, id="a negative shortfall of a battery"),
    pytest.param({"shortfall": {"battery": NAN}}, "device battery", INFINITY, id="a battery short of NaN"),
    pytest.param(
        {"battery": [2.1, -0.5, 0, 0], "state_kwh": [1.34, 0.84, 0.84, 0.84]}, "device battery", 0.1, id="charging hard"
    ),
    pytest.param(
        {"battery": [2.0, 0.2, -2.1, 2.0], "state_kwh": [1.3, 1.38, -0.72, 0.08]},
        "device battery",
        1.44,
        id="below empty",
    ),
    pytest.param(
        {"battery": [2.0, 1.0, -0.8, 0.0], "state_kwh": [1.3, 1.7, 0.9, 0.9]}, "device battery", 0.4, id="overfull"
    ),
    pytest.param(
        {"battery": [0.5, 0.0, 0.0, 0.0], "state_kwh": [0.7] * 4}, "device battery", 0.1, id="too little at the end"
    ),
    pytest.param({"state_kwh": [0.9, 0.9, 0.8, 0.8]}, "device battery", 0.2, id="a state that its power does not make"),
    pytest.param({"state_kwh": [0.9, NAN, 0.8, 0.8]}, "device battery", INFINITY, id="a state of NaN"),
    pytest.param({"battery": [1.0, NAN, 0.0, 0.0]}, "device battery", INFINITY, id="a battery of NaN"),
]


@pytest.mark.parametrize(("changes", "violated", "residual_kw"), BROKEN_DEVICES)
def test_a_device_that_breaks_its_rule_is_named_with_the_size(
    street: Community, clearing: Clearing, changes: dict[str, Any], violated: str, residual_kw: float
) -> None:
    certificate = certify(street, run_by_hand(street, clearing, **(BY_HAND | changes)))
    assert not certificate.feasible
    assert certificate.violated == violated
    assert certificate.primal_residual_kw == pytest.approx(residual_kw)


def test_discharging_beyond_the_rating_is_named(make_community: Callable[..., Community]) -> None:
    store = Battery(
        id="battery",
        max_charge_kw=1.0,
        max_discharge_kw=1.0,
        capacity_kwh=9.0,
        initial_kwh=9.0,
        final_kwh=0.0,
        discharge_efficiency=0.5,
    )
    community = make_community({"ann": [store]}, import_price=[0.3], export_price=[0.1])
    clearing = dispatch(community)
    assert isinstance(clearing, Clearing)
    for discharge_kw, violated in ((1.0, ""), (1.2, "device battery")):
        certificate = certify(
            community, run_by_hand(community, clearing, battery=[-discharge_kw], state_kwh=[9.0 - 2 * discharge_kw])
        )
        assert certificate.violated == violated
        assert certificate.primal_residual_kw == pytest.approx(discharge_kw - 1.0)


def test_an_appliance_without_power_cannot_draw_any(make_community: Callable[..., Community]) -> None:
    idle = Interruptible(id="idle", power_kw=0.0, first_mtu=0, end_mtu=1, required_mtus=0)
    community = make_community({"ann": [idle]}, import_price=[0.3], export_price=[0.1])
    clearing = dispatch(community)
    assert isinstance(clearing, Clearing)
    assert certify(community, clearing).feasible
    assert certify(community, run_by_hand(community, clearing, idle=[5.0])).violated == "device idle"


@pytest.mark.parametrize(("side", "mtu"), [("upper_kw", 1), ("lower_kw", 2)])
@pytest.mark.parametrize("excess_kw", [0.0, 0.25])
def test_an_envelope_is_checked_on_both_sides(
    street: Community, clearing: Clearing, side: str, mtu: int, excess_kw: float
) -> None:
    by_hand = run_by_hand(street, clearing, **BY_HAND)
    total = net_kw(street, by_hand).sum(axis=0)
    bound = np.array(getattr(street.envelopes[0], side))
    bound[mtu] = total[mtu] - excess_kw if side == "upper_kw" else total[mtu] + excess_kw
    tight = dataclasses.replace(street.envelopes[0], **{side: bound})
    certificate = certify(dataclasses.replace(street, envelopes=(tight,)), by_hand)
    assert certificate.primal_residual_kw == pytest.approx(excess_kw, abs=1e-12)
    assert certificate.violated == ("envelope street" if excess_kw else "")


def test_of_two_envelopes_with_one_name_neither_hides_the_other(
    street: Community, clearing: Clearing, make_envelope: Callable[..., Envelope]
) -> None:
    tight, wide = make_envelope("ann", upper_kw=[1.0] * MTUS), make_envelope("ann", upper_kw=[9.0] * MTUS)
    for envelopes in ((tight, wide), (wide, tight)):
        certificate = certify(
            dataclasses.replace(street, envelopes=envelopes), run_by_hand(street, clearing, **BY_HAND)
        )
        assert certificate.violated == "envelope street"
        assert certificate.primal_residual_kw == pytest.approx(2.0)


def test_an_envelope_sums_only_the_peers_it_names(street: Community, make_envelope: Callable[..., Envelope]) -> None:
    net = np.array([[2.0] * MTUS, [-3.0] * MTUS, [5.0] * MTUS])
    two = make_envelope("ann", "ben", name="two", lower_kw=[-0.5] * MTUS)
    nobody = make_envelope(name="nobody", upper_kw=[0.0] * MTUS)
    residuals = envelope_residuals(dataclasses.replace(street, envelopes=(two, nobody)), net)
    assert residuals == {"envelope two": 0.5, "envelope nobody": 0.0}


def test_the_net_of_a_peer_is_the_sum_of_its_devices(street: Community, clearing: Clearing) -> None:
    net = net_kw(street, run_by_hand(street, clearing, **BY_HAND))
    assert net == pytest.approx(np.array([[0.5, 3.0, 3.0, 0.5], [0.0, -1.1, -1.0, 0.0], [0.0] * MTUS]))


@pytest.mark.parametrize(
    ("field", "row", "change", "violated"),
    [
        ("import_kwh", ANN, 0.1, "balance of ann"),
        ("export_kwh", BEN, 0.1, "balance of ben"),
        ("export_kwh", CID, 0.1, "balance of cid"),
        ("trade_kwh", 0, 0.1, "balance of ann"),
        ("import_kwh", CID, NAN, "balance of cid"),
        ("export_kwh", BEN, INFINITY, "balance of ben"),
        ("trade_kwh", 0, NAN, "balance of ann"),
        ("price", BEN, NAN, "prices"),
        ("price", ANN, INFINITY, "prices"),
    ],
)
@pytest.mark.parametrize("mtu", range(MTUS))
def test_one_wrong_number_is_found_and_named(
    street: Community, clearing: Clearing, field: str, row: int, change: float, violated: str, mtu: int
) -> None:
    certificate = certify(street, spoiled(run_by_hand(street, clearing, **BY_HAND), field, row, mtu, change))
    assert not certificate.feasible
    assert certificate.violated == violated
    wanted = abs(change) / street.horizon.hours if np.isfinite(change) else INFINITY
    assert certificate.primal_residual_kw == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("changes", "violated"),
    [
        ([("trade_kwh", 0, -0.1), ("import_kwh", ANN, 0.1), ("export_kwh", BEN, 0.1)], "sign of trades"),
        ([("import_kwh", CID, -0.1), ("export_kwh", CID, -0.1)], "sign of imports"),
        ([("export_kwh", ANN, -0.1), ("import_kwh", ANN, -0.1)], "sign of exports"),
    ],
)
def test_a_negative_energy_is_named_though_all_balances(
    street: Community, clearing: Clearing, changes: list[tuple[str, int, float]], violated: str
) -> None:
    wrong = run_by_hand(street, clearing, **BY_HAND)
    for field, row, change in changes:
        wrong = spoiled(wrong, field, row, 1, change)
    certificate = certify(street, wrong)
    assert certificate.violated == violated
    assert certificate.primal_residual_kw == pytest.approx(0.1 / street.horizon.hours)


@pytest.mark.parametrize(
    ("field", "value", "violated"),
    [
        ("trade_kwh", np.zeros((2, MTUS)), "shape of trades"),
        ("trade_kwh", np.zeros((0, MTUS)), "shape of trades"),
        ("import_kwh", np.zeros((3, 1)), "shape of imports"),
        ("import_kwh", np.zeros(MTUS), "shape of imports"),
        ("export_kwh", np.zeros((3, MTUS + 1)), "shape of exports"),
        ("export_kwh", np.zeros((2, MTUS)), "shape of exports"),
        ("price", np.zeros((3, MTUS - 1)), "shape of prices"),
        ("device_kw", {}, "shape of device load"),
        ("state_kwh", {}, "shape of state of battery"),
        ("state_kwh", {"battery": np.zeros(MTUS + 1)}, "shape of state of battery"),
    ],
)
def test_a_wrong_shape_is_named_and_never_broadcast(
    street: Community, clearing: Clearing, field: str, value: Any, violated: str
) -> None:
    certificate = certify(street, dataclasses.replace(clearing, **{field: value}))
    assert not certificate.feasible
    assert certificate.violated == violated
    assert certificate.gap == INFINITY


@pytest.mark.parametrize("device", ["load", "washer", "pv", "battery"])
@pytest.mark.parametrize("shape", [(MTUS - 1,), (MTUS + 1,), (1,), (MTUS, 1), ()])
def test_a_device_of_the_wrong_shape_is_named(
    street: Community, clearing: Clearing, device: str, shape: tuple[int, ...]
) -> None:
    devices = dict(clearing.device_kw) | {device: np.zeros(shape)}
    certificate = certify(street, dataclasses.replace(clearing, device_kw=devices))
    assert certificate.violated == f"shape of device {device}"
    assert certificate.primal_residual_kw == INFINITY


@pytest.mark.parametrize(
    ("lower_bound", "gap"),
    [(0.9, 0.1), (1.0, 0.0), (1.1, INFINITY), (-1.0, 2.0), (-INFINITY, INFINITY), (NAN, INFINITY)],
)
def test_the_gap_is_the_relative_distance_to_the_bound(
    make_community: Callable[..., Community], lower_bound: float, gap: float
) -> None:
    load = FixedLoad(id="load", power_kw=np.array([1.0]))
    community = make_community({"ann": [load]}, import_price=[1.0], export_price=[0.0])
    clearing = dispatch(community)
    assert isinstance(clearing, Clearing)
    certificate = certify(community, dataclasses.replace(clearing, lower_bound=lower_bound))
    assert certificate.gap == pytest.approx(gap)
    assert certificate.feasible


@pytest.mark.parametrize(
    ("objective", "lower_bound", "gap"),
    [
        (0.0, 0.0, 0.0),
        (0.0, -1e-12, 1e-9),
        (0.0, -1e-9, 1e-6),
        (1e-12, 0.0, 1e-9),
        (0.0, -1.0, 1000.0),
        (-2.0, -2.5, 0.25),
        (0.002, 0.001, 0.5),
        (0.0, 1e-9, 0.0),
        (0.0, 1e-3, INFINITY),
        (NAN, 0.0, INFINITY),
    ],
)
def test_what_rounding_leaves_of_nothing_is_no_gap(objective: float, lower_bound: float, gap: float) -> None:
    assert relative_gap(objective, lower_bound) == pytest.approx(gap, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize(
    ("objective", "lower_bound", "distance"), [(3.0, 1.0, 2.0), (1.0, 3.0, 0.0), (-1.0, -2.0, 1.0)]
)
def test_the_distance_to_the_bound_is_stated_in_currency(objective: float, lower_bound: float, distance: float) -> None:
    certificate = Certificate(
        primal_residual_kw=0.0,
        violated="",
        objective=objective,
        lower_bound=lower_bound,
        gap=relative_gap(objective, lower_bound),
    )
    assert certificate.distance == distance


@pytest.mark.parametrize(("residual", "feasible"), [(0.0, True), (1e-5, True), (1.1e-5, False), (INFINITY, False)])
def test_feasible_means_within_a_hundredth_of_a_watt(residual: float, feasible: bool) -> None:
    assert FEASIBILITY_TOLERANCE_KW == 1e-5
    certificate = Certificate(primal_residual_kw=residual, violated="", objective=0.0, lower_bound=0.0, gap=0.0)
    assert certificate.feasible is feasible


def assert_any_spoiled_number_is_found(community: Community, data: Any) -> None:
    clearing = dispatch(community)
    if not isinstance(clearing, Clearing):
        return
    assert certify(community, clearing).primal_residual_kw < 1e-6
    tables = [name for name in ("trade_kwh", "import_kwh", "export_kwh") if getattr(clearing, name).size]
    field = data.draw(st.sampled_from(tables))
    rows, mtus = getattr(clearing, field).shape
    row, mtu = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, mtus - 1))
    change = data.draw(st.sampled_from([-1.0, -1e-4, 1e-4, 1.0, NAN, INFINITY]))
    certificate = certify(community, spoiled(clearing, field, row, mtu, change))
    assert not certificate.feasible
    assert certificate.violated.split()[0] in ("balance", "sign")


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_spoiled_energy_is_found(communities: Any, data: Any) -> None:
    assert_any_spoiled_number_is_found(data.draw(communities(appliances=True)), data)


@pytest.mark.campaign
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_spoiled_energy_is_found_in_larger_communities(communities: Any, data: Any) -> None:
    assert_any_spoiled_number_is_found(data.draw(communities(appliances=True, max_peers=5, max_mtus=6)), data)
