"""Conflicts of limits, and that only a proof makes one."""

from collections.abc import Callable

import pytest

from optimization.clearing import Infeasible
from optimization.community import Community, Envelope
from optimization.devices import Battery, FixedLoad, Interruptible, Phase, Programme
from optimization.limits import conflict
from optimization.quantities import DeviceId
from optimization.reference.dispatch import dispatch
from tests.optimization.harsh_communities import harsh_community

MakeCommunity = Callable[..., Community]
MakeEnvelope = Callable[..., Envelope]


def load(*power_kw: float) -> FixedLoad:
    return FixedLoad(id=DeviceId("load"), power_kw=list(power_kw))  # type: ignore[arg-type]


def test_without_limits_nothing_conflicts(make_community: MakeCommunity, make_envelope: MakeEnvelope) -> None:
    open_ = make_envelope("a", upper_kw=[float("inf")])
    community = make_community({"a": [load(9.0)]}, import_price=[0.3], export_price=[0.1], envelopes=[open_])
    assert conflict(community) is None


def test_limits_that_can_be_kept_do_not_conflict(make_community: MakeCommunity, make_envelope: MakeEnvelope) -> None:
    community = make_community(
        {"a": [load(2.0)]}, import_price=[0.3], export_price=[0.1], envelopes=[make_envelope("a", upper_kw=[2.0])]
    )
    assert conflict(community) is None


def test_the_mtu_in_which_loads_break_a_limit_is_named(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    community = make_community(
        {"a": [load(1.0, 2.5)]},
        import_price=[0.3, 0.3],
        export_price=[0.1, 0.1],
        envelopes=[make_envelope("a", name="feeder", upper_kw=[2.0, 2.0])],
    )
    assert conflict(community) == "feeder MTU 1: at least 2.500 kW, allowed 2.000"


def test_a_conflict_that_only_the_whole_horizon_shows_is_proven(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    battery = Battery(
        id=DeviceId("battery"), max_charge_kw=1.0, max_discharge_kw=1.0, capacity_kwh=2.0, initial_kwh=0.0,
        final_kwh=0.0, charge_efficiency=1.0, discharge_efficiency=1.0,
    )  # fmt: skip
    for mtus, conflicting in ((2, False), (3, True)):
        community = make_community(
            {"a": [battery]},
            import_price=[0.3] * mtus,
            export_price=[0.1] * mtus,
            envelopes=[make_envelope("a", lower_kw=[1.0] * mtus)],
        )
        reason = conflict(community)
        assert (reason is not None) is conflicting
        assert reason is None or "over the whole horizon" in reason


def test_whole_numbers_alone_prove_no_conflict(make_community: MakeCommunity, make_envelope: MakeEnvelope) -> None:
    boiler = Interruptible(id=DeviceId("boiler"), power_kw=2.0, first_mtu=0, end_mtu=1, required_mtus=1)
    community = make_community(
        {"a": [boiler]},
        import_price=[0.3],
        export_price=[0.1],
        envelopes=[make_envelope("a", lower_kw=[0.5], upper_kw=[1.0])],
    )
    assert conflict(community) is None
    assert isinstance(dispatch(community), Infeasible)


def test_programmes_that_fit_nowhere_stop_no_proof(make_community: MakeCommunity, make_envelope: MakeEnvelope) -> None:
    phase = Phase(power_kw=[1.0])  # type: ignore[arg-type]
    washer = Programme(id=DeviceId("washer"), phases=(phase,), first_mtu=0, end_mtu=0)
    dryer = Programme(id=DeviceId("dryer"), phases=(phase,), first_mtu=0, end_mtu=0, follows=washer.id)
    community = make_community(
        {"a": [washer, dryer]},
        import_price=[0.3],
        export_price=[0.1],
        envelopes=[make_envelope("a", name="feeder", lower_kw=[0.5])],
    )
    assert conflict(community) == "feeder MTU 0: at most 0.000 kW, wanted 0.500"


@pytest.mark.slow
def test_every_proven_conflict_is_one_of_the_whole_numbers_too() -> None:
    proven = 0
    for seed in range(60):
        community = harsh_community(seed, most_mtus=6)
        reason = conflict(community)
        if reason is not None:
            proven += 1
            assert isinstance(dispatch(community), Infeasible), (seed, reason)
    assert proven
