"""The way back from a curtailment."""

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.clamp import Ability, Cap, Device, Level, Planned, Situation, clamp, ramp
from controller.microgrid import SetpointKind
from tests.controller.clamp.situations import situations


def load(id_: str, value: int) -> Device:
    ability = Ability(consumption=(Level(min_w=0, max_w=10_000),), production=(Level(min_w=0, max_w=10_000),))
    return Device(id=id_, scope="m", ability=ability, planned=Planned(kind=SetpointKind.POWER, value=value))


def drawing(most_w: int | None) -> Cap:
    return Cap(max_consumption_w=most_w, max_production_w=None, binding=("m",))


def test_a_tighter_cap_acts_at_once() -> None:
    assert ramp({"a": drawing(900)}, {"a": drawing(10)}, [load("a", 1_000)], rise_w=5) == {"a": drawing(10)}
    assert ramp({"a": None}, {"a": drawing(10)}, [load("a", 1_000)], rise_w=5) == {"a": drawing(10)}
    assert ramp({}, {"a": drawing(10)}, [load("a", 1_000)], rise_w=5) == {"a": drawing(10)}


def test_a_cap_rises_step_by_step_and_goes_when_it_reaches_the_plan() -> None:
    devices = [load("a", 1_000)]
    caps = ramp({"a": drawing(0)}, {"a": None}, devices, rise_w=400)
    assert caps == {"a": drawing(400)}
    caps = ramp(caps, {"a": None}, devices, rise_w=400)
    assert caps == {"a": drawing(800)}
    assert ramp(caps, {"a": None}, devices, rise_w=400) == {"a": None}


def test_feed_in_returns_step_by_step_too() -> None:
    before = Cap(max_consumption_w=None, max_production_w=100, binding=("m",))
    after = Cap(max_consumption_w=None, max_production_w=350, binding=("m",))
    assert ramp({"a": before}, {"a": None}, [load("a", -1_000)], rise_w=250) == {"a": after}


def test_devices_come_back_one_after_the_other() -> None:
    devices = [load(name, 1_000) for name in "abcd"]
    caps: dict[str, Cap | None] = dict.fromkeys("abcd", drawing(0))
    free = dict.fromkeys("abcd", None)
    for step in range(1, 9):
        caps = ramp(caps, free, devices, rise_w=500)
        assert [cap for cap in caps.values() if cap].count(drawing(500)) == step % 2
        assert list(caps.values()).count(None) == step // 2


def test_a_device_that_is_not_known_is_capped_as_wanted() -> None:
    assert ramp({"a": drawing(0)}, {"a": None}, [], rise_w=1) == {"a": None}


@settings(max_examples=15, deadline=None)
@given(situations(), st.data(), st.integers(0, 20))
def test_caps_are_never_looser_than_wanted_nor_rise_more_than_agreed(
    situation: Situation, data: st.DataObject, rise_w: int
) -> None:
    wanted = clamp(situation).caps
    powers = st.none() | st.integers(0, 30)
    before = {
        id_: data.draw(st.none() | st.builds(Cap, max_consumption_w=powers, max_production_w=powers)) for id_ in wanted
    }
    caps = ramp(before, wanted, situation.devices, rise_w=rise_w)
    assert caps.keys() == wanted.keys()
    risen_up = risen_down = 0
    for device in situation.devices:
        if device.id not in wanted:
            continue
        old, new, goal = (most(caps_.get(device.id)) for caps_ in (before, caps, wanted))
        assert new[0] <= goal[0]
        assert new[1] <= goal[1]
        risen_up += max(0, min(new[0], device.consumption_w) - min(old[0], device.consumption_w))
        risen_down += max(0, min(new[1], device.production_w) - min(old[1], device.production_w))
    assert risen_up <= rise_w
    assert risen_down <= rise_w


@settings(max_examples=15, deadline=None)
@given(situations())
def test_the_way_back_ends_at_what_is_wanted(situation: Situation) -> None:
    wanted = clamp(situation).caps
    caps = dict.fromkeys(wanted, Cap(max_consumption_w=0, max_production_w=0))
    for _ in range(40):
        caps = ramp(caps, wanted, situation.devices, rise_w=10)
    for id_, cap in wanted.items():
        assert most(caps[id_]) == most(cap)


def most(cap: Cap | None) -> tuple[int, int]:
    if cap is None:
        return 10**9, 10**9
    return (
        10**9 if cap.max_consumption_w is None else cap.max_consumption_w,
        10**9 if cap.max_production_w is None else cap.max_production_w,
    )
