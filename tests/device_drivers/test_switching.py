"""When a device may be switched again, across restarts, reboots and clocks that are set."""

import pytest

from device_drivers.errors import InvalidValueError
from device_drivers.guard import GuardRules
from device_drivers.memory import MemoryFile, boot_id
from device_drivers.setpoint import Bounds, RelayState
from device_drivers.switching import Memory, Switching

ON, OFF = RelayState(closed=True), RelayState(closed=False)
FREE = Bounds(lower_w=None, upper_w=None)
NOON_S = 12 * 3600.0


def switching(memory=None, *, boot="b", now=0.0, midnight_s=NOON_S, **rules):
    return Switching(GuardRules(bounds=FREE, **rules), memory, boot_id=boot, now=now, midnight_s=midnight_s)


def fresh(**fields):
    default = {"boot_id": "b", "on": False, "since": -1e6, "starts": (), "day_starts": 0, "day_ends_at": NOON_S}
    return Memory(**default | fields)


def until(one, now, midnight_s=NOON_S):
    hold = one.hold(now, midnight_s=midnight_s, stays=ON, off=OFF)
    return None if hold is None else (hold.target, hold.until)


def test_least_times_count_from_each_switching():
    one = switching(fresh(), min_on_s=100, min_off_s=50)
    assert until(one, 0) is None
    assert one.switch(True, 10, midnight_s=NOON_S)
    assert not one.switch(True, 20, midnight_s=NOON_S)
    assert [until(one, now) for now in (109.9, 110)] == [(ON, 110), None]
    one.switch(False, 120, midnight_s=NOON_S)
    assert [until(one, now) for now in (169.9, 170)] == [(OFF, 170), None]


def test_starts_of_any_hour_are_counted():
    one = switching(fresh(), starts_per_hour=2)
    for start in (0, 1000):
        one.switch(True, start, midnight_s=NOON_S)
        one.switch(False, start + 1, midnight_s=NOON_S)
    assert [until(one, now) for now in (1001, 3599, 3600)] == [(OFF, 3600), (OFF, 3600), None]


def test_starts_of_a_day_end_at_midnight_and_no_set_clock_brings_it_near():
    one = switching(fresh(day_ends_at=NOON_S), starts_per_day=1)
    one.switch(True, 0, midnight_s=NOON_S)
    one.switch(False, 1, midnight_s=NOON_S)
    assert until(one, 2, midnight_s=5) == (OFF, NOON_S)
    assert until(one, NOON_S, midnight_s=1) is None
    one.switch(True, NOON_S, midnight_s=1)
    one.switch(False, NOON_S + 1, midnight_s=1)
    # The clock said that midnight was a second away: the next day still begins no earlier than 23 h on.
    assert until(one, NOON_S + 2, midnight_s=1) == (OFF, NOON_S + 23 * 3600)


def test_what_is_not_remembered_was_just_switched_and_has_no_start_left():
    one = switching(min_off_s=50, starts_per_hour=2, starts_per_day=3)
    assert until(one, 0) == (OFF, NOON_S)
    assert until(switching(min_off_s=50, starts_per_hour=2), 0) == (OFF, 3600)
    found_on = switching(min_on_s=50)
    found_on.switch(True, 1, midnight_s=NOON_S)
    assert until(found_on, 1) == (ON, 51)


def test_a_new_driver_goes_on_where_the_last_one_was_and_a_reboot_counts_as_just_switched():
    one = switching(fresh(), min_off_s=50, starts_per_hour=1)
    one.switch(True, 10, midnight_s=NOON_S)
    one.switch(False, 20, midnight_s=NOON_S)
    memory = one.memory()
    assert until(switching(memory, now=30, min_off_s=50, starts_per_hour=1), 30) == (OFF, 3610)
    rebooted = switching(memory, boot="other", now=5, min_off_s=50, starts_per_hour=1)
    assert until(rebooted, 5) == (OFF, 3605)


def test_without_rules_nothing_is_held():
    assert until(switching(), 0) is None


@pytest.mark.parametrize(
    "wrong",
    [{"min_on_s": -1}, {"min_off_s": 1e9}, {"starts_per_hour": 0}, {"ramp_w_per_s": 0}, {"min_on_s": float("nan")}],
)
def test_rules_that_cannot_be_are_refused_by_name(wrong):
    with pytest.raises(InvalidValueError, match=next(iter(wrong))):
        GuardRules(bounds=FREE, **wrong)


def test_a_memory_survives_on_disk(tmp_path):
    file = MemoryFile(tmp_path / "state", "microgrids/m/members/a/devices/../../x")
    assert file.load() is None
    memory = fresh(starts=(1.5, 2.25), day_starts=2, on=None)
    file.save(memory)
    file.save(memory)
    assert MemoryFile(tmp_path / "state", "microgrids/m/members/a/devices/../../x").load() == memory
    assert [path.parent for path in tmp_path.rglob("*.json")] == [tmp_path / "state"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:-5],
        lambda text: text.replace('"on": false', '"on": true'),
        lambda text: text.replace('"version": 1', '"version": 2'),
        lambda text: "[]",
        lambda text: "\x00" * 100,
    ],
)
def test_a_memory_that_is_damaged_is_none(tmp_path, damage, caplog):
    file = MemoryFile(tmp_path, "x")
    file.save(fresh())
    path = next(tmp_path.glob("*.json"))
    path.write_text(damage(path.read_text()))
    assert file.load() is None
    assert "counting as just switched" in caplog.text


def test_the_machine_tells_its_starts_apart():
    assert boot_id() == boot_id() != ""
