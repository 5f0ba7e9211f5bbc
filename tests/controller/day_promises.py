"""What holds of every day, however it was planned."""

import numpy as np

from controller.flexibility import Generator, Thermostat
from tests.controller.replanned_day import Day
from tests.controller.village_night import MIDNIGHT_MTU, MTU_S, MTUS, START, at

ROUNDED_WH = MTUS
"""A Wh a setpoint; no appliance takes so little in a quarter of an hour."""
DRIFT_K = 1.2
"""What a temperature drifts in the hour between two plans, where 30 % more or less heat is drawn off than expected."""


def check_programmes(day: Day) -> None:
    ends = {}
    for id_ in ("ada/washer", "ada/dryer"):
        programme = day.devices[id_]
        done = [round(power) for power in day.powers[id_] if power > 1.0]
        assert done == list(programme.profile_w), id_  # once, whole, in order
        runs = [(first, length) for on, first, length in day.runs(id_) if on]
        lengths = [len(phase.power_w) for phase in programme.phases]
        joined = sum(lengths)
        assert [length for _, length in runs] in ([joined], lengths), id_  # a phase is not interrupted
        for (first, length), (second, _), phase in zip(runs, runs[1:], programme.phases[1:], strict=False):
            assert phase.min_pause_s <= (second - first - length) * MTU_S <= phase.max_pause_s
        assert programme.start <= at(runs[0][0])
        assert at(sum(runs[-1])) <= programme.end
        ends[id_] = runs[0][0], sum(runs[-1])
    delay_s = (ends["ada/dryer"][0] - ends["ada/washer"][1]) * MTU_S
    assert day.devices["ada/dryer"].min_delay_s <= delay_s <= day.devices["ada/dryer"].max_delay_s


def check_minimum_times(day: Day, id_: str, *, on_s: int, off_s: int) -> None:
    """Of all runs and rests but those that the day's ends cut."""
    for on, first, length in day.runs(id_)[:-1]:
        if first > 0 or on:
            assert length * MTU_S >= (on_s if on else off_s), (id_, on, first, length)


def check(day: Day) -> None:
    """Nothing twice, nothing interrupted, no minimum time and no limit broken, every task fulfilled."""
    checks = {
        "ada/dryer": check_programmes,
        "bob/pump": check_pump,
        "bob/car": check_car,
        "ada/battery": check_battery,
    }
    for id_, device in day.devices.items():
        if id_ in checks:
            checks[id_](day)
        elif isinstance(device, Thermostat):
            check_minimum_times(day, id_, on_s=device.min_on_s, off_s=device.min_off_s)
            reached_c = np.array(day.temperatures[id_])
            assert (reached_c >= device.lower_milli_c / 1000 - DRIFT_K).all(), id_
            assert (reached_c <= device.upper_milli_c / 1000 + DRIFT_K).all(), id_
        elif isinstance(device, Generator):
            check_minimum_times(day, id_, on_s=device.min_up_s, off_s=device.min_down_s)
    for plan in day.plans():
        assert max(plan["shortfall_wh"].values(), default=0) <= ROUNDED_WH


def check_pump(day: Day) -> None:
    pump = day.devices["bob/pump"]
    check_minimum_times(day, "bob/pump", on_s=pump.min_on_s, off_s=pump.min_off_s)
    assert sum(day.on("bob/pump")) * MTU_S >= pump.required_s
    runs = [(first, length) for on, first, length in day.runs("bob/pump") if on]
    assert pump.start <= at(runs[0][0])
    assert at(sum(runs[-1])) <= pump.end
    for today in (range(MIDNIGHT_MTU), range(MIDNIGHT_MTU, MTUS)):
        assert sum(first in today for first, _ in runs) <= pump.max_starts_per_day


def check_car(day: Day) -> None:
    car = day.devices["bob/car"]
    for mtu, power in enumerate(day.powers["bob/car"]):
        assert car.arrival <= at(mtu) < car.departure or power == 0
        assert power <= 0.5 or any(level.lower_w - 1 <= power <= level.upper_w + 1 for level in car.levels)
    departure = (car.departure - START) // MTU_S
    assert day.stored["bob/car", departure - 1] >= car.required_wh - ROUNDED_WH


def check_battery(day: Day) -> None:
    assert day.stored["ada/battery", MTUS - 1] >= day.devices["ada/battery"].final_wh - ROUNDED_WH
