"""What holds of the clamp in every situation; ``pytest -m campaign`` tries 3,000, scaled by GRIDPACT_CAMPAIGN."""

import os
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.clamp import Cap, Curtailment, Device, Margin, Policy, Situation, Span, capped, clamp
from tests.controller.clamp.situations import MARGINS, situations

SCALE = float(os.environ.get("GRIDPACT_CAMPAIGN", "1"))
POLICIES = st.sampled_from(Policy)


def around(situation: Situation, name: str) -> list[str]:
    """The scope and all around it."""
    parents = {scope.name: scope.parent for scope in situation.scopes}
    path = [name]
    while (outer := parents[path[-1]]) is not None:
        path.append(outer)
    return path


def inside(situation: Situation, scope: str) -> list[Device]:
    return [d for d in situation.devices if d.controllable and scope in around(situation, d.scope)]


def told(device: Device, cap: Cap | None) -> Device:
    """The device with what it is told under its cap; a device in its failsafe goes as far as it may."""
    if cap is None:
        return device
    if device.planned is None:
        power = max(-(_most(cap.max_production_w)), min(_most(cap.max_consumption_w), device.failsafe_w))
        return replace(device, failsafe_w=power)
    return replace(device, planned=capped(device.planned, cap, device.ability))


def _most(power_w: int | None) -> int:
    return 10**9 if power_w is None else power_w


def highest(situation: Situation, found: Curtailment, scope: str) -> int:
    """The most that the scope can come to when everyone obeys, and delivers what is planned and measured."""
    total = found.scopes[scope].uncontrolled.high_w
    for device in inside(situation, scope):
        obeying = told(device, found.caps[device.id])
        helps = min(obeying.production_w, max(0, -(device.measured_w or 0)))
        total += obeying.consumption_w if obeying.consumption_w else -helps
    return total


def lowest(situation: Situation, found: Curtailment, scope: str) -> int:
    total = found.scopes[scope].uncontrolled.low_w
    for device in inside(situation, scope):
        obeying = told(device, found.caps[device.id])
        helps = min(obeying.consumption_w, max(0, device.measured_w or 0))
        total += -obeying.production_w if obeying.production_w else helps
    return total


def both_ways(device: Device) -> bool:
    """A relay that switches a load and a plant together: no setpoint that we give, but a value that can be made."""
    return bool(device.consumption_w and device.production_w)


@settings(max_examples=15, deadline=None)
@given(situations(), POLICIES, MARGINS)
def test_every_band_is_kept_that_can_be_with_all_controllable_devices_off(
    situation: Situation, policy: Policy, margin: Margin
) -> None:
    situation = replace(situation, devices=tuple(d for d in situation.devices if not both_ways(d)))
    found = clamp(situation, policy=policy, margin=margin)
    for scope in situation.scopes:
        if scope.name not in found.scopes:
            continue
        span = found.scopes[scope.name].uncontrolled
        if scope.upper_w is not None and span.high_w <= scope.upper_w - margin.of(span.high_w):
            assert highest(situation, found, scope.name) <= scope.upper_w - margin.of(span.high_w)
            assert found.scopes[scope.name].excess_upper_w == 0
        if scope.lower_w is not None and span.low_w >= scope.lower_w + margin.of(span.low_w):
            assert lowest(situation, found, scope.name) >= scope.lower_w + margin.of(span.low_w)
            assert found.scopes[scope.name].excess_lower_w == 0


@settings(max_examples=15, deadline=None)
@given(situations(), POLICIES, MARGINS)
def test_what_cannot_be_kept_has_everyone_off_and_the_rest_told(
    situation: Situation, policy: Policy, margin: Margin
) -> None:
    situation = replace(situation, devices=tuple(d for d in situation.devices if not both_ways(d)))
    found = clamp(situation, policy=policy, margin=margin)
    for scope in situation.scopes:
        if scope.name not in found.scopes:
            continue
        outcome = found.scopes[scope.name]
        if scope.upper_w is not None:
            assert outcome.excess_upper_w == max(0, highest(situation, found, scope.name) - scope.upper_w)
            assert not outcome.excess_upper_w or outcome.consumption_w == 0
        if scope.lower_w is not None:
            assert outcome.excess_lower_w == max(0, scope.lower_w - lowest(situation, found, scope.name))
            assert not outcome.excess_lower_w or outcome.production_w == 0


@settings(max_examples=15, deadline=None)
@given(situations(), POLICIES)
def test_a_cap_names_limits_that_bind_and_never_exceeds_the_plan(situation: Situation, policy: Policy) -> None:
    found = clamp(situation, policy=policy)
    binding = {name for name, outcome in found.scopes.items() if outcome.binds_upper or outcome.binds_lower}
    assert found.caps.keys() == {device.id for device in situation.devices if device.controllable}
    for device in situation.devices:
        path = around(situation, device.scope)
        cap = found.caps.get(device.id)
        if cap is None:
            assert not device.controllable or not binding & set(path)
            continue
        assert cap.binding == tuple(name for name in path if name in binding)
        upper = any(found.scopes[name].binds_upper for name in cap.binding)
        lower = any(found.scopes[name].binds_lower for name in cap.binding)
        assert (cap.max_consumption_w is not None) is upper
        assert (cap.max_production_w is not None) is lower
        assert not upper or 0 <= (cap.max_consumption_w or 0) <= device.consumption_w
        assert not lower or 0 <= (cap.max_production_w or 0) <= device.production_w


@settings(max_examples=15, deadline=None)
@given(situations(), POLICIES)
def test_a_cap_is_a_power_that_the_device_can_run_at(situation: Situation, policy: Policy) -> None:
    found = clamp(situation, policy=policy)
    for device in situation.devices:
        cap = found.caps.get(device.id)
        if cap is None or both_ways(device) or device.planned is None:
            continue
        obeying = told(device, cap)
        if cap.max_consumption_w is not None:
            assert obeying.consumption_w == cap.max_consumption_w
        if cap.max_production_w is not None:
            assert obeying.production_w == cap.max_production_w


@settings(max_examples=15, deadline=None)
@given(situations(), POLICIES)
def test_without_limits_nothing_is_capped(situation: Situation, policy: Policy) -> None:
    free = tuple(replace(scope, lower_w=None, upper_w=None) for scope in situation.scopes)
    found = clamp(replace(situation, scopes=free), policy=policy)
    assert set(found.caps.values()) <= {None}
    assert not found.scopes


@settings(max_examples=15, deadline=None)
@given(situations(), POLICIES, st.randoms(use_true_random=False))
def test_the_order_in_which_things_are_given_changes_nothing(
    situation: Situation, policy: Policy, random: Random
) -> None:
    scopes, devices = list(situation.scopes), list(situation.devices)
    random.shuffle(scopes)
    random.shuffle(devices)
    shuffled = Situation(scopes=tuple(scopes), devices=tuple(devices))
    assert clamp(shuffled, policy=policy, salt="w") == clamp(situation, policy=policy, salt="w")


@settings(max_examples=15, deadline=None)
@given(situations(), POLICIES, st.integers(0, 5), st.integers(1, 50))
def test_a_tighter_upper_limit_never_lets_its_scope_draw_more(
    situation: Situation, policy: Policy, number: int, less: int
) -> None:
    # Upper limits alone: where lower ones bind, too, who feeds in changes what room there is.
    scopes = [replace(scope, lower_w=None) for scope in situation.scopes]
    one = scopes[number % len(scopes)]
    loose_w = 40 if one.upper_w is None else one.upper_w
    loose, tight = (
        clamp(
            Situation(
                scopes=tuple(replace(s, upper_w=limit) if s.name == one.name else s for s in scopes),
                devices=situation.devices,
            ),
            policy=policy,
        ).scopes[one.name]
        for limit in (loose_w, loose_w - less)
    )
    assert tight.consumption_w <= loose.consumption_w


@settings(max_examples=15, deadline=None)
@given(situations(), POLICIES, st.integers(0, 6))
def test_losing_a_measurement_inside_a_worst_case_never_lets_anyone_draw_more(
    situation: Situation, policy: Policy, number: int
) -> None:
    # One scope, whose worst case is wide enough for whatever is measured.
    top = replace(
        situation.scopes[0],
        lower_w=None,
        upper_w=60,
        uncontrolled=Span(low_w=-1_000, high_w=1_000),
    )
    devices = tuple(replace(device, scope=top.name) for device in situation.devices)
    fresh = clamp(Situation(scopes=(top,), devices=devices), policy=policy)
    blind = tuple(replace(d, measured_w=None) if n == number else d for n, d in enumerate(devices))
    for stale in (
        Situation(scopes=(replace(top, measured_w=None),), devices=devices),
        Situation(scopes=(top,), devices=blind),
    ):
        changed = clamp(stale, policy=policy)
        assert changed.scopes[top.name].consumption_w <= fresh.scopes[top.name].consumption_w


@pytest.mark.campaign
@settings(max_examples=max(100, round(3_000 * SCALE)), deadline=None)
@given(situations(), POLICIES, MARGINS, st.integers(0, 6), st.integers(1, 50), st.randoms(use_true_random=False))
def test_all_of_it_holds_in_many_situations(
    situation: Situation, policy: Policy, margin: Margin, number: int, less: int, random: Random
) -> None:
    test_every_band_is_kept_that_can_be_with_all_controllable_devices_off.hypothesis.inner_test(
        situation, policy, margin
    )  # type: ignore[attr-defined]
    test_what_cannot_be_kept_has_everyone_off_and_the_rest_told.hypothesis.inner_test(situation, policy, margin)  # type: ignore[attr-defined]
    test_a_cap_names_limits_that_bind_and_never_exceeds_the_plan.hypothesis.inner_test(situation, policy)  # type: ignore[attr-defined]
    test_a_cap_is_a_power_that_the_device_can_run_at.hypothesis.inner_test(situation, policy)  # type: ignore[attr-defined]
    test_without_limits_nothing_is_capped.hypothesis.inner_test(situation, policy)  # type: ignore[attr-defined]
    test_the_order_in_which_things_are_given_changes_nothing.hypothesis.inner_test(situation, policy, random)  # type: ignore[attr-defined]
    test_a_tighter_upper_limit_never_lets_its_scope_draw_more.hypothesis.inner_test(situation, policy, number, less)  # type: ignore[attr-defined]
    test_losing_a_measurement_inside_a_worst_case_never_lets_anyone_draw_more.hypothesis.inner_test(
        situation, policy, number
    )  # type: ignore[attr-defined]
