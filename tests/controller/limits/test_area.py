"""What limits make together. Time is counted in hours from 0; values in kW-like whole numbers."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.limits.area import Area
from controller.limits.supervision import Control
from controller.limits.values import Band, Default, Envelope, Source, Standing
from controller.microgrid import Bounds

GRID = "microgrids/village"
INIT, CONTROLLED, FAILSAFE = Control.INIT, Control.CONTROLLED, Control.FAILSAFE
WIRES = Source(holder="wires")


def envelope(id_, *periods, primacy=0, source=WIRES, target=GRID, expires=None):
    return Envelope(
        microgrid="village",
        id=id_,
        source=source,
        target=target,
        periods=tuple(Bounds(start=a, end=b, lower_w=low, upper_w=high) for a, b, low, high in periods),
        primacy=primacy,
        expires=expires,
    )


def default(lower, upper, source=WIRES):
    return Default(microgrid="village", source=source, target=GRID, lower_w=lower, upper_w=upper)


def area(*envelopes, defaults=()):
    made = Area()
    for one in defaults:
        made.set_default(one)
    for one in envelopes:
        made.add(one)
    return made


def upper(made, instant, control=CONTROLLED):
    return made.effective(GRID, instant, {"wires": control, "market": control}).upper_w


def uppers(made, instants=range(6), control=CONTROLLED):
    return [upper(made, at, control) for at in instants]


class Hour(int):
    """Counts how often one is compared with anything."""

    compared = 0

    def __lt__(self, other):
        Hour.compared += 1
        return int(self) < other

    def __le__(self, other):
        Hour.compared += 1
        return int(self) <= other

    def __gt__(self, other):
        Hour.compared += 1
        return int(self) > other

    def __eq__(self, other):
        Hour.compared += 1
        return int(self) == other

    __hash__ = int.__hash__


class TestSupersede:
    def test_the_newer_of_equal_primacy_counts_where_both_speak(self):
        made = area(envelope("day", (0, 6, None, 90)), envelope("evening", (2, 4, None, 120)))
        assert uppers(made) == [90, 90, 120, 120, 90, 90]

    def test_the_lower_primacy_counts_whichever_came_first(self):
        made = area(envelope("urgent", (2, 4, None, 50), primacy=1), envelope("plan", (0, 6, None, 90), primacy=5))
        assert uppers(made) == [90, 90, 50, 50, 90, 90]

    def test_it_is_sticky_with_a_default_to_fall_to(self):
        made = area(
            envelope("day", (0, 6, None, 90)), envelope("evening", (2, 4, None, 120)), defaults=[default(None, 40)]
        )
        made.cancel("evening")
        assert uppers(made) == [90, 90, 40, 40, 90, 90]

    def test_without_a_default_the_superseded_holds_again_rather_than_nothing(self):
        made = area(envelope("day", (0, 6, None, 90)), envelope("evening", (2, 4, None, 120)))
        made.cancel("evening")
        assert uppers(made) == [90] * 6

    def test_it_acts_on_each_side_by_itself(self):
        made = area(envelope("day", (0, 6, -30, 90)), envelope("evening", (2, 4, None, 120)))
        assert made.effective(GRID, 3, {"wires": CONTROLLED}) == Band(
            lower_w=-30,
            upper_w=120,
            binding_lower="microgrids/village/envelopes/day",
            binding_upper="microgrids/village/envelopes/evening",
        )

    def test_what_was_cancelled_before_supersedes_nothing(self):
        made = area(envelope("evening", (2, 4, None, 120)))
        made.cancel("evening")
        made.add(envelope("day", (0, 6, None, 90), primacy=9))
        assert uppers(made) == [90] * 6

    def test_a_third_does_not_inherit_what_the_second_lost(self):
        made = area(
            envelope("one", (0, 6, None, 10), primacy=3),
            envelope("two", (0, 6, None, 20), primacy=2),
            envelope("three", (0, 6, None, 30), primacy=1),
            defaults=[default(None, 5)],
        )
        assert uppers(made, [0]) == [30]
        made.cancel("three")
        assert uppers(made, [0]) == [5]

    def test_sources_hold_at_once(self):
        market = Source(holder="wires", name="market")
        made = area(envelope("day", (0, 6, -9, 90)), envelope("trade", (2, 4, -99, 60), source=market))
        assert uppers(made) == [90, 90, 60, 60, 90, 90]
        assert made.effective(GRID, 3, {}).lower_w == -9

    def test_a_clock_that_was_years_ahead_makes_no_limit_be_forgotten(self):
        made = area(envelope("day", (0, 6, None, 90)))
        made.add(replace(envelope("wrong", (10**9, 10**9 + 6, None, 20)), created=10**9))
        assert upper(made, 10**9) == 20
        assert uppers(made) == [90] * 6
        made.add(replace(envelope("other", (2, 4, None, 50)), created=3))
        assert uppers(made) == [90, 90, 50, 50, 90, 90]

    def test_what_ended_before_is_not_looked_at_again(self):
        made, compared = Area(), []
        for n in range(400):
            Hour.compared = 0
            made.add(envelope(f"e{n}", (Hour(n), Hour(n + 1), None, n)))
            made.effective(GRID, n, {})
            compared.append(Hour.compared)
        # Bisecting takes a little more, a look at each one eight times as much.
        assert max(compared[300:]) < 2 * max(compared[:50])

    def test_a_copy_changes_nothing_of_what_it_was_made_of(self):
        made = area(envelope("day", (0, 6, None, 90)))
        for change in (lambda one: one.add(envelope("noon", (2, 4, None, 50))), lambda one: one.cancel("day")):
            change(made.copy())
            assert uppers(made) == [90] * 6
            assert made.changes(GRID, -1, 7) == [0, 6]
        copied = made.copy()
        made.add(envelope("noon", (2, 4, None, 50)))
        assert uppers(copied) == [90] * 6
        assert uppers(made) == [90, 90, 50, 50, 90, 90]

    def test_one_that_was_journaled_twice_is_cancelled_whole(self):
        made = area(*(envelope(id_, (0, 6, None, 90)) for id_ in ("day", "other", "day")))
        made.cancel("other")
        made.cancel("day")
        assert uppers(made) == [None] * 6

    def test_other_targets_are_left_alone(self):
        made = area(envelope("a", (0, 6, None, 90)), envelope("b", (0, 6, None, 20), target=f"{GRID}/members/ada"))
        assert upper(made, 1) == 90
        assert made.targets() == (GRID, f"{GRID}/members/ada")

    def test_standings(self):
        made = area(envelope("day", (0, 3, None, 90)), envelope("all", (0, 6, None, 80)), envelope("x", (7, 8, 0, 1)))
        made.cancel("x")
        assert [made.standing(id_, 1) for id_ in ("day", "all", "x")] == [
            Standing.SUPERSEDED,
            Standing.ACTIVE,
            Standing.CANCELLED,
        ]
        assert made.standing("all", 6) is Standing.EXPIRED
        assert made.effective_intervals("all") == ((0, 6),)


class TestDefaults:
    @pytest.mark.parametrize(
        ("control", "inside", "outside"), [(CONTROLLED, 90, 40), (INIT, 40, 40), (FAILSAFE, 40, 40)]
    )
    def test_a_looser_envelope_needs_control(self, control, inside, outside):
        made = area(envelope("day", (0, 3, None, 90)), defaults=[default(None, 40)])
        assert (upper(made, 1, control), upper(made, 4, control)) == (inside, outside)

    @pytest.mark.parametrize("control", Control)
    def test_a_tighter_envelope_holds_whoever_has_control(self, control):
        made = area(envelope("day", (0, 3, None, 20)), defaults=[default(None, 40)])
        assert upper(made, 1, control) == 20

    def test_an_absent_side_of_an_envelope_is_the_default_s(self):
        made = area(envelope("day", (0, 3, None, 20)), defaults=[default(-7, 40)])
        assert made.effective(GRID, 1, {"wires": CONTROLLED}).lower_w == -7

    @pytest.mark.parametrize("control", [INIT, FAILSAFE])
    def test_without_control_what_held_last_stands_in_for_a_missing_default(self, control):
        made = area(envelope("day", (0, 3, None, 20)))
        made.hold(made.holding("wires", {"wires": CONTROLLED}, 2))
        assert (upper(made, 4, control), upper(made, 4, CONTROLLED)) == (20, None)
        assert made.holds("wires")
        made.release("wires")
        assert upper(made, 4, control) is None
        assert not made.holds("wires")

    def test_of_a_side_with_a_default_nothing_is_held_beside_it(self):
        made = area(envelope("day", (0, 3, -9, 20)))
        made.hold(made.holding("wires", {"wires": CONTROLLED}, 2))
        made.set_default(default(None, 40))
        assert made.effective(GRID, 4, {"wires": FAILSAFE}) == Band(
            lower_w=-9, upper_w=40, binding_lower="held:wires", binding_upper="default:wires"
        )

    def test_expiry_ends_it_to_the_second(self):
        made = area(envelope("day", (0, 6, None, 20), expires=3), defaults=[default(None, 40)])
        assert uppers(made) == [20, 20, 20, 40, 40, 40]


class Twin:
    """The rules written as they are said, instant by instant."""

    def __init__(self):
        self.steps, self.default = [], None

    def upper(self, instant, control):
        alive, lost = [], set()
        for kind, what in self.steps:
            if kind == "cancel":
                alive = [one for one in alive if one.id != what]
            else:
                for other in alive:
                    if not all(any(p.start <= instant < p.end for p in one.periods) for one in (other, what)):
                        continue
                    lost.add(other.id if what.primacy <= other.primacy else what.id)
                alive.append(what)
        here = [one for one in alive if any(p.start <= instant < p.end for p in one.periods)]
        counting = [one for one in here if one.id not in lost]
        if not counting and self.default is None:
            counting = here
        values = [p.upper_w for one in counting for p in one.periods if p.start <= instant < p.end]
        if self.default is not None and (control is not CONTROLLED or not values):
            values.append(self.default)
        return min(values, default=None)


envelopes_drawn = st.builds(
    lambda start, length, value, primacy: ("add", (start, start + length, None, value), primacy),
    st.integers(0, 5),
    st.integers(1, 6),
    st.integers(0, 9),
    st.integers(0, 2),
)
steps_drawn = st.lists(st.one_of(envelopes_drawn, st.builds(lambda n: ("cancel", n, 0), st.integers(0, 9))), max_size=9)


@given(steps_drawn, st.none() | st.integers(0, 9), st.sampled_from(Control))
def test_it_is_what_the_rules_say(steps, default_w, control):
    made, twin = Area(), Twin()
    if default_w is not None:
        made.set_default(default(None, default_w))
        twin.default = default_w
    added = []
    for kind, what, primacy in steps:
        if kind == "add":
            one = envelope(f"e{len(added)}", what, primacy=primacy)
            made.add(one)
            twin.steps.append(("add", one))
            added.append(one.id)
        elif what < len(added):
            made.cancel(added[what])
            twin.steps.append(("cancel", added[what]))
        upper(made.copy(), 3, control)
        assert upper(made, 4, control) == twin.upper(4, control)
    for instant in [*range(13), 2.5, 0, 12, 5]:
        assert upper(made, instant, control) == twin.upper(instant, control)


@given(steps_drawn, st.integers(0, 9))
def test_with_a_default_nothing_ever_ends_in_no_limit(steps, default_w):
    made, added = area(defaults=[default(None, default_w)]), 0
    for kind, what, primacy in steps:
        if kind == "add":
            made.add(envelope(f"e{added}", what, primacy=primacy))
            added += 1
        elif what < added:
            made.cancel(f"e{what}")
    for control in Control:
        assert None not in uppers(made, range(20), control)
