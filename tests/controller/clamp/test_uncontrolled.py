"""What is assumed of the power that nobody can be told to change."""

from controller.clamp import Ability, Device, Level, Scope, Situation, Span
from controller.clamp.tree import Tree
from controller.clamp.uncontrolled import assume

TWO_KW = Ability(consumption=(Level(min_w=2_000, max_w=2_000),), production=(Level(min_w=0, max_w=500),))


def scope(
    name: str, parent: str | None = None, measured_w: int | None = None, worst: tuple[int, int] = (0, 0)
) -> Scope:
    return Scope(name=name, parent=parent, measured_w=measured_w, uncontrolled=Span(low_w=worst[0], high_w=worst[1]))


def device(id_: str, where: str, measured_w: int | None, *, controllable: bool = True, failsafe_w: int = 0) -> Device:
    return Device(
        id=id_, scope=where, ability=TWO_KW, measured_w=measured_w, controllable=controllable, failsafe_w=failsafe_w
    )


def assumed(*parts: Scope | Device) -> dict[str, tuple[int, int]]:
    scopes = tuple(part for part in parts if isinstance(part, Scope))
    devices = tuple(part for part in parts if isinstance(part, Device))
    tree = Tree.of(scopes)
    spans = assume(Situation(scopes=scopes, devices=devices), tree)
    return {name: (span.low_w, span.high_w) for name, span in zip(tree.names, spans, strict=True)}


def test_a_fresh_scope_takes_what_it_measures_less_what_its_controllable_devices_do() -> None:
    found = assumed(scope("m", None, 5_000), device("a", "m", 1_900), device("b", "m", -300))
    assert found == {"m": (3_400, 3_400)}


def test_an_uncontrollable_device_is_in_its_scope_s_measurement() -> None:
    found = assumed(scope("m", None, 5_000), device("a", "m", 1_900, controllable=False))
    assert found == {"m": (5_000, 5_000)}


def test_a_stale_controllable_device_makes_the_scope_the_sum_of_its_parts() -> None:
    parts = scope("m", None, 5_000), scope("h", "m", 700, (-10, 4_000)), scope("g", "m", 900), device("a", "h", None)
    assert assumed(*parts) == {"m": (890, 4_900), "h": (-10, 4_000), "g": (900, 900)}


def test_a_stale_scope_counts_at_its_worst_case_both_ways() -> None:
    assert assumed(scope("m"), scope("h", "m", None, (-6_000, 9_000))) == {"m": (-6_000, 9_000), "h": (-6_000, 9_000)}


def test_a_stale_uncontrollable_device_counts_at_the_ends_of_its_ability() -> None:
    assert assumed(scope("m"), device("a", "m", None, controllable=False)) == {"m": (-500, 2_000)}


def test_a_failsafe_beyond_its_ability_is_believed() -> None:
    found = assumed(scope("m"), device("a", "m", None, controllable=False, failsafe_w=2_600))
    assert found == {"m": (-500, 2_600)}


def test_a_fresh_uncontrollable_device_counts_as_measured_where_its_scope_is_stale() -> None:
    found = assumed(scope("m"), scope("h", "m", None, (0, 100)), device("a", "h", 1_234, controllable=False))
    assert found == {"m": (1_234, 1_334), "h": (1_234, 1_334)}


def test_a_fresh_outer_scope_does_not_need_its_inner_ones() -> None:
    found = assumed(scope("m", None, 2_000), scope("h", "m", None, (-1, 9_000)), device("a", "h", 500))
    assert found == {"m": (1_500, 1_500), "h": (-1, 9_000)}
