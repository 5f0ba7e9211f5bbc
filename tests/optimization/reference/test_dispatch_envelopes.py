"""Envelopes that a person can check by hand, and how conflicts are named. An MTU is an hour."""

from collections.abc import Callable

import pytest

from optimization.community import Community, Envelope
from tests.optimization.reference.by_hand import appliance, battery, link, load, pv, refused, solved

MakeCommunity = Callable[..., Community]
MakeEnvelope = Callable[..., Envelope]


def test_an_envelope_moves_an_appliance_out_of_the_cheap_hours(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    community = make_community(
        {"ann": [appliance(), load("l", 1, 1, 1, 1)]},
        import_price=[0.1, 0.2, 0.3, 0.4],
        export_price=[0.0] * 4,
        envelopes=[make_envelope("ann", upper_kw=[2.9, 2.9, 3.0, 3.0])],
    )
    clearing = solved(community)
    assert clearing.device_kw["pump"].tolist() == [0, 0, 2, 2]
    assert solved(
        make_community({"ann": [appliance()]}, import_price=[0.1, 0.2, 0.3, 0.4], export_price=[0.0] * 4)
    ).device_kw["pump"].tolist() == [2, 2, 0, 0]


def test_an_envelope_counts_the_peers_it_names_and_no_other(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    peers = {"ann": [appliance(id="a", required_mtus=1)], "ben": [appliance(id="b", required_mtus=1)]}
    tariff = {"import_price": [0.1, 0.2, 0.3, 0.4], "export_price": [0.0] * 4}
    community = make_community(peers, envelopes=[make_envelope("ann", upper_kw=[0, 9, 9, 9])], **tariff)
    clearing = solved(community)
    assert clearing.device_kw["a"].tolist() == [0, 2, 0, 0]
    assert clearing.device_kw["b"].tolist() == [2, 0, 0, 0]


def test_an_export_limit_curtails_sun_that_nobody_takes(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    community = make_community(
        {"ann": [load("l", 1, 1)], "ben": [pv("pv", 5, 3)]},
        import_price=[0.3, 0.3],
        export_price=[0.1, 0.1],
        links=[link("ben", "ann")],
        envelopes=[make_envelope("ann", "ben", lower_kw=[-2, -2])],
    )
    clearing = solved(community)
    assert clearing.device_kw["pv"] == pytest.approx([-3.0, -3.0])
    assert clearing.objective == pytest.approx(-0.4)


def test_an_envelope_that_leaves_too_little_makes_a_shortfall_not_a_conflict(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    community = make_community(
        {"ann": [appliance(required_mtus=3)]},
        import_price=[0.1] * 4,
        export_price=[0.0] * 4,
        envelopes=[make_envelope("ann", upper_kw=[1, 2, 1, 1])],
    )
    clearing = solved(community)
    assert clearing.device_kw["pump"].tolist() == [0, 2, 0, 0]
    assert clearing.shortfall == {"pump": pytest.approx(2.0)}
    assert clearing.objective == pytest.approx(0.2 + 2 * 2 * community.shortfall_price)


def test_a_conflict_names_envelope_mtu_and_numbers(make_community: MakeCommunity, make_envelope: MakeEnvelope) -> None:
    community = make_community(
        {"ann": [load("l", 3, 5, 3), battery(max_discharge_kw=1.0)], "ben": [pv("pv", 1, 1, 1)]},
        import_price=[0.3] * 3,
        export_price=[0.1] * 3,
        envelopes=[make_envelope("ann", "ben", name="transformer", upper_kw=[2, 2.25, 2])],
    )
    assert refused(community) == "transformer MTU 1: at least 3.000 kW, allowed 2.250"


def test_a_consumption_that_nobody_can_raise_so_far_is_a_conflict(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    community = make_community(
        {"ann": [load("l", 1, 1), appliance(first_mtu=0, end_mtu=1, required_mtus=1)]},
        import_price=[0.3] * 2,
        export_price=[0.1] * 2,
        envelopes=[make_envelope("ann", lower_kw=[2, 2])],
    )
    assert refused(community) == "street MTU 1: at most 1.000 kW, wanted 2.000"


def test_of_many_conflicts_five_are_named_and_the_rest_counted(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    community = make_community(
        {"ann": [load("l", *[3] * 7)]},
        import_price=[0.3] * 7,
        export_price=[0.1] * 7,
        envelopes=[make_envelope("ann", upper_kw=[2] * 7)],
    )
    reason = refused(community)
    assert reason.count("at least 3.000 kW, allowed 2.000") == 5
    assert reason.endswith("; and 2 more")


def test_a_conflict_over_time_is_told_from_one_in_an_mtu(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    community = make_community(
        {"ann": [load("l", 3, 3), battery(initial_kwh=1.0, capacity_kwh=1.0)]},
        import_price=[0.3] * 2,
        export_price=[0.1] * 2,
        envelopes=[make_envelope("ann", upper_kw=[2, 2])],
    )
    assert "over the whole horizon" in refused(community)


def test_a_conflict_is_named_beside_an_envelope_over_nobody(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    community = make_community(
        {"ann": [load("l", 3)]},
        import_price=[0.3],
        export_price=[0.1],
        envelopes=[make_envelope("ann", upper_kw=[2]), make_envelope(name="empty", lower_kw=[0.5])],
    )
    assert refused(community) == (
        "street MTU 0: at least 3.000 kW, allowed 2.000; empty MTU 0: at most 0.000 kW, wanted 0.500"
    )
