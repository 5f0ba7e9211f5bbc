"""A day that is planned anew for each window, from what really happened, with forecasts that are wrong by 30 %."""

import os
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from controller.store import market
from controller.store.database import Database
from optimization.community import Community, Tariff
from optimization.errors import SolverError
from optimization.reference.dispatch import dispatch
from optimization.scheduling import ScheduleOptions, schedule
from tests.controller.day_promises import check, check_pump
from tests.controller.replanned_day import Day, bare, full, silent
from tests.controller.village_night import DEVICES
from tests.scale import seeds

SCALE = float(os.environ.get("GRIDPACT_CAMPAIGN", "1"))
APPLIANCES = ("ada/washer", "ada/dryer", "bob/pump", "bob/boiler")


def by_reference(community: Community):
    return dispatch(community, gap=0.01, time_limit=20.0)


def by_decomposition(community: Community):
    return schedule(community, options=ScheduleOptions(gap=0.01, rounds=15, sweeps=5, rebuilds=20))


@dataclass
class Restless:
    """A solver that sees other prices in each window, and keeps to no plan: whatever a state leaves open, it uses."""

    seed: int
    random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def __call__(self, community: Community):
        prices = self.random.uniform(0.0, 0.5, community.horizon.mtus)
        prices[:4] += self.random.choice([-0.5, 0.0, 0.5])
        tariff = Tariff(import_price=prices, export_price=prices - 0.05)
        restless = dispatch(replace(community, tariff=tariff, planned_kw={}), gap=0.05)
        return replace(restless, lower_bound=-np.inf)  # of other prices


@pytest.fixture
def live(tmp_path):
    """Lives through days, each on a database of its own."""
    databases: list[Database] = []

    def make(answer=by_reference, **options) -> Day:
        databases.append(Database(f"sqlite:///{tmp_path / str(len(databases))}.sqlite"))
        return Day(databases[-1], answer, **options).live()

    yield make
    for database in databases:
        database.close()


def few(*ids: str) -> dict[str, object]:
    return {id_: DEVICES[id_] for id_ in ids}


@pytest.mark.slow
class TestAppliances:
    @pytest.mark.parametrize("tell", [full, bare, silent])
    @pytest.mark.parametrize("answer", [by_reference, by_decomposition])
    def test_whatever_telemetry_says_nothing_is_done_twice_or_broken(self, live, answer, tell):
        check(live(answer, devices=few(*APPLIANCES), tell=tell, seed=1))

    @pytest.mark.parametrize("seed", seeds(range(1), campaign=range(1, 3)))
    def test_not_even_a_solver_that_changes_its_mind_breaks_anything(self, live, seed):
        day = live(Restless(seed), devices=few(*APPLIANCES, "eve/generator"), window_minutes=30, seed=seed)
        check(day)

    def test_windows_may_be_shorter_than_every_run(self, live):
        check(live(by_reference, devices=few(*APPLIANCES), window_minutes=15, seed=3))

    def test_a_window_that_fails_in_the_middle_of_a_cycle_lets_it_go_on(self, live):
        asked = 0

        def answer(community):
            nonlocal asked
            asked += 1
            if asked in {3, 4}:
                raise SolverError("none today")
            return by_reference(community)

        day = live(answer, devices=few(*APPLIANCES), seed=1)
        assert [row.source for row in day.database.run(market.windows, "village")][2:4] == ["TAIL", "TAIL"]
        check(day)

    def test_what_a_stuck_relay_missed_is_made_up_for(self, live):
        """The first time the pump is told to run, it does not for an hour."""
        day = live(by_reference, devices=few("bob/pump"), seed=1, stuck=("bob/pump", 4))
        assert day.missed_mtus == 4
        check_pump(day)

    def test_a_plan_that_is_not_worth_changing_is_kept(self, live):
        """With the same forecasts at each gate, what was planned first is what is done."""
        day = live(by_reference, devices=few("ada/washer", "ada/dryer", "bob/pump"), wrong=0.0)
        first = day.plans()[0]["power_w"]
        done = {id_: [round(power) for power in powers] for id_, powers in day.powers.items()}
        assert done == first


@pytest.mark.slow
def test_a_day_of_all_devices_planned_anew_each_hour_keeps_every_promise(live):
    check(live(by_reference, seed=1))


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(max(2, round(100 * SCALE))))
def test_no_day_of_a_solver_that_changes_its_mind_breaks_anything(live, seed):
    """Whatever telemetry says; but for the heat pump, whose room no such solver keeps warm."""
    devices = {id_: device for id_, device in DEVICES.items() if id_ != "eve/heatpump"}
    check(live(Restless(seed), devices=devices, window_minutes=30, tell=(full, bare, silent)[seed % 3], seed=seed))
