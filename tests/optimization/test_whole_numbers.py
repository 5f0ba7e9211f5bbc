"""Conflicts that only whole numbers make: proven, named, and told from schedules that were overlooked."""

from collections.abc import Callable

import numpy as np
import pytest

from optimization import whole_numbers
from optimization.certificate import certify
from optimization.clearing import Clearing, Infeasible
from optimization.community import Community, Envelope
from optimization.devices import Battery, FixedLoad, Interruptible
from optimization.limits import conflict
from optimization.quantities import DeviceId
from optimization.scheduling import schedule, unlimited
from optimization.whole_numbers import name_conflict, settle

MakeCommunity = Callable[..., Community]
MakeEnvelope = Callable[..., Envelope]
Conflict = Callable[..., str]

MTUS = 6
NONE = float("inf")


def pump(name: str, power_kw: float, required_mtus: int = 2) -> Interruptible:
    return Interruptible(id=DeviceId(name), power_kw=power_kw, first_mtu=0, end_mtu=MTUS, required_mtus=required_mtus)


def at(mtu: int, value: float, otherwise: float) -> list[float]:
    return [value if t == mtu else otherwise for t in range(MTUS)]


@pytest.fixture
def street(make_community: MakeCommunity) -> Callable[..., Community]:
    """A community of some peers under some limits."""

    def street(peers: dict[str, list[object]], *envelopes: Envelope) -> Community:
        return make_community(peers, import_price=[0.3] * MTUS, export_price=[0.1] * MTUS, envelopes=list(envelopes))

    return street


def told(community: Community) -> str:
    assert conflict(community) is None, "the relaxation knows it already"
    outcome = settle(community, unlimited)
    assert isinstance(outcome, Infeasible)
    return outcome.reason


def test_the_one_mtu_of_the_one_limit_is_named(street: Callable[..., Community], make_envelope: MakeEnvelope) -> None:
    meter = make_envelope("a", name="meter", lower_kw=at(3, 0.5, -NONE), upper_kw=at(3, 1.0, 9.0))
    wide = make_envelope("a", "b", name="feeder", upper_kw=[20.0] * MTUS)
    reason = told(street({"a": [pump("x", 2.0), pump("y", 3.0)], "b": [pump("z", 1.0)]}, wide, meter))
    assert reason.startswith("meter MTU 3: 0.500 to 1.000 kW allowed: no schedule keeps this, as devices")
    assert "feeder" not in reason
    assert reason.endswith("as devices are on or off and cannot run in part")


def test_limits_that_conflict_only_together_are_both_named(
    street: Callable[..., Community], make_envelope: MakeEnvelope
) -> None:
    least = make_envelope("a", "b", name="feeder", lower_kw=at(2, 2.5, -NONE))
    most = make_envelope("a", name="meter", upper_kw=at(2, 1.5, 9.0))
    reason = told(street({"a": [pump("x", 2.0)], "b": [pump("y", 2.0)]}, least, most))
    assert reason.startswith(
        "feeder MTU 2: at least 2.500 kW wanted; meter MTU 2: at most 1.500 kW allowed: no schedule"
    )
    assert "keeps these together" in reason


def test_many_mtus_are_counted(street: Callable[..., Community], make_envelope: MakeEnvelope) -> None:
    # A pump that owes two MTUs runs for two at most, and is wanted in six: any three of them are one too many.
    meter = make_envelope("a", name="meter", lower_kw=[0.4] * MTUS)
    reason = told(street({"a": [pump("x", 1.5)]}, meter))
    assert reason.count("meter MTU") == 3


def test_without_trials_the_conflict_is_named_as_it_is(
    street: Callable[..., Community], make_envelope: MakeEnvelope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_numbers, "TRIALS", 0)
    meter = make_envelope("a", name="meter", lower_kw=[0.5] * MTUS, upper_kw=[1.0] * MTUS)
    reason = told(street({"a": [pump("x", 2.0)]}, meter))
    assert reason.count("meter MTU") == 5
    assert "; and 1 more" in reason


def test_a_schedule_that_was_overlooked_is_the_answer(
    street: Callable[..., Community], make_envelope: MakeEnvelope
) -> None:
    battery = Battery(
        id=DeviceId("battery"), max_charge_kw=2.0, max_discharge_kw=2.0, capacity_kwh=4.0, initial_kwh=2.0,
        final_kwh=0.0,
    )  # fmt: skip
    community = street(
        {"a": [pump("x", 2.0), battery, FixedLoad(id=DeviceId("load"), power_kw=np.zeros(MTUS))]},
        make_envelope("a", lower_kw=at(3, 0.5, -NONE), upper_kw=at(3, 1.0, 9.0)),
    )
    outcome = settle(community, unlimited)
    assert isinstance(outcome, Clearing)
    assert certify(community, outcome).feasible


def test_a_conflict_that_only_the_horizon_shows_gets_its_mtus_named(
    street: Callable[..., Community], make_envelope: MakeEnvelope
) -> None:
    # What is stored lasts for two MTUs, and three are wanted of it.
    battery = Battery(
        id=DeviceId("battery"), max_charge_kw=0.0, max_discharge_kw=1.0, capacity_kwh=2.0, initial_kwh=2.0,
        final_kwh=0.0, charge_efficiency=1.0, discharge_efficiency=1.0,
    )  # fmt: skip
    upper = [-1.0 if t in {1, 3, 4} else 9.0 for t in range(MTUS)]
    community = street({"a": [battery]}, make_envelope("a", name="meter", upper_kw=upper))
    reason = conflict(community)
    assert reason is not None
    told = name_conflict(community, reason, unlimited)
    assert [f"meter MTU {t}: at most -1.000 kW allowed" in told for t in range(MTUS)] == [
        t in {1, 3, 4} for t in range(MTUS)
    ]
    assert told.endswith("no schedule keeps these together")
    assert name_conflict(community, "meter MTU 3: too much", unlimited) == "meter MTU 3: too much"
    outcome = schedule(community)
    assert isinstance(outcome, Infeasible)
    assert outcome.reason == told


@pytest.mark.parametrize(("spent", "most", "asked"), [(0.0, 6, True), (0.0, 5, False), (1.0, 6, False)])
def test_it_is_asked_of_small_communities_and_late_only_of_the_smallest(
    street: Callable[..., Community],
    make_envelope: MakeEnvelope,
    monkeypatch: pytest.MonkeyPatch,
    spent: float,
    most: int,
    asked: bool,
) -> None:
    monkeypatch.setattr(whole_numbers, "MOST_SIZE", most)
    monkeypatch.setattr(whole_numbers, "ALWAYS_SIZE", 5)
    community = street({"a": [pump("x", 2.0)]}, make_envelope("a", lower_kw=[0.5] * MTUS, upper_kw=[1.0] * MTUS))
    assert (settle(community, lambda: spent) is not None) is asked
