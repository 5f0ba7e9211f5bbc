"""Devices that are registered anew in the middle of a day: what is finished stays so, and a second task is done too."""

from dataclasses import dataclass, field, replace

import pytest

from controller.counting import counted
from controller.flexibility import Phase, Programme
from controller.microgrid import Device, DeviceState
from controller.snapshot import Snapshot
from controller.store import registry
from controller.store.database import Database
from device_drivers.simulated.cycle import SimulatedCycle
from optimization.community import Community
from optimization.reference.dispatch import dispatch
from tests.controller.flexibility_cases import relay
from tests.controller.replanned_day import Day, bare, full, silent
from tests.controller.village_night import MTU_S, at

WASHER = Programme(
    phases=(Phase(power_w=(2000, 400)), Phase(power_w=(300,), max_pause_s=MTU_S)), start=at(0), end=at(9)
)
SECOND = replace(WASHER, phases=(Phase(power_w=(1500, 600)),), start=at(13), end=at(28))
PUMP = relay(at(0), at(9), rated_w=800, required_s=3 * MTU_S, max_starts_per_day=None)


def by_reference(community: Community):
    return dispatch(community, gap=0.01, time_limit=20.0)


@dataclass
class Reregistering(Day):
    """A day on which devices are registered anew at an instant, after whatever they did until then."""

    anew: dict[str, object] = field(default_factory=dict)
    at_mtu: int = 12

    def simulate(self, device: Device):
        if device.id == "ada/washer":
            profile = device.flexibility.profile_w
            again = self.anew.get("ada/washer", device.flexibility)
            return SimulatedCycle(profile + again.profile_w, MTU_S, self.physical)
        return super().simulate(device)

    def act(self, instant: int) -> None:
        super().act(instant)
        if instant == at(self.at_mtu):
            for id_, flexibility in self.anew.items():
                self.known[id_] = replace(self.known[id_], flexibility=flexibility)
                self.database.run(registry.put_device, "village", self.known[id_])


@pytest.fixture
def live(tmp_path):
    """Lives through a day."""
    databases: list[Database] = []

    def make(**options) -> Reregistering:
        databases.append(Database(f"sqlite:///{tmp_path / str(len(databases))}.sqlite"))
        return Reregistering(databases[-1], by_reference, **options).live()

    yield make
    for database in databases:
        database.close()


@pytest.mark.slow
@pytest.mark.parametrize("tell", [full, bare, silent])
def test_a_second_load_is_washed_and_the_first_not_again(live, tell):
    day = live(devices={"ada/washer": WASHER}, anew={"ada/washer": SECOND}, tell=tell)
    drawn = [(mtu, round(power)) for mtu, power in enumerate(day.powers["ada/washer"]) if power > 1.0]
    assert [power for _, power in drawn] == [2000, 400, 300, 1500, 600]
    assert drawn[2][0] < 9
    assert drawn[3][0] >= 13
    assert drawn[4][0] == drawn[3][0] + 1 < 28
    assert all(max(plan["shortfall_wh"].values(), default=0) <= 1 for plan in day.plans())


@pytest.mark.slow
@pytest.mark.parametrize("tell", [full, bare, silent])
def test_a_device_registered_anew_with_the_same_task_does_not_begin_again(live, tell):
    longer = replace(WASHER, end=at(28))
    day = live(devices={"ada/washer": WASHER}, anew={"ada/washer": longer}, tell=tell)
    assert [round(power) for power in day.powers["ada/washer"] if power > 1.0] == [2000, 400, 300]


@pytest.mark.slow
@pytest.mark.parametrize("tell", [full, silent])
def test_a_pump_owes_a_second_task_in_full(live, tell):
    again = replace(PUMP, start=at(13), end=at(28), required_s=5 * MTU_S)
    on = live(devices={"bob/pump": PUMP}, anew={"bob/pump": again}, tell=tell).on("bob/pump")
    assert (sum(on[:12]), sum(on[13:])) == (3, 5)


@pytest.fixture
def earlier(site):
    """What the village's first window was decided on, with bob's boiler as a programme that has run for two MTUs."""
    site.advance(site.start - 300)
    snapshot = Snapshot.from_json(site.row(0).snapshot)
    devices = tuple(
        replace(device, flexibility=task(snapshot, 0)) if device.id == "bob/boiler" else device
        for device in snapshot.devices
    )
    return replace(snapshot, devices=devices, states={"bob/boiler": state(snapshot, 2)})


def task(snapshot: Snapshot, first: int, *, mtus: int = 3) -> Programme:
    start = snapshot.window.start + first * MTU_S
    return Programme(phases=(Phase(power_w=(1000,) * mtus),), start=start, end=start + 40 * MTU_S)


def state(snapshot: Snapshot, closed_mtus: int, **values) -> DeviceState:
    known = {"closed": False, "held_s": MTU_S, "instant": snapshot.window.start + 4 * MTU_S}
    return DeviceState(device="bob/boiler", power_w=0, closed_s=closed_mtus * MTU_S, stored_wh=None, **known | values)


@pytest.mark.parametrize(
    ("first", "closed", "values", "before"),
    [
        (3, 3, {}, 3),  # finished an MTU ago, when the new time begins
        (4, 3, {}, 3),
        (2, 3, {}, 0),  # the new time began before that: another wording of the same task
        (0, 3, {}, 0),
        (4, 2, {}, 0),  # interrupted
        (4, 3, {"closed": True}, 0),  # running
        (4, 3, {"held_s": None}, 3),
        (0, 3, {"held_s": None}, 0),
    ],
)
def test_a_new_task_is_one_that_begins_after_the_old_one_was_finished(earlier, first, closed, values, before):
    device = Device(id="bob/boiler", member="bob", flexibility=task(earlier, first, mtus=2))
    found = counted(device, state(earlier, closed, **values), earlier)
    assert (found.closed_before_s, found.task_closed_s) == (before * MTU_S, (closed - before) * MTU_S)


def test_what_was_counted_for_earlier_tasks_stays_so(earlier):
    since = replace(earlier, states={"bob/boiler": replace(state(earlier, 3), closed_before_s=3 * MTU_S)})
    device = next(device for device in earlier.devices if device.id == "bob/boiler")
    assert counted(device, state(earlier, 5), since).task_closed_s == 2 * MTU_S
    # A driver that begins to count anew, as after a restart, says nothing of earlier tasks any more.
    assert counted(device, state(earlier, 1), since).task_closed_s == MTU_S


def test_of_a_device_without_a_past_all_counts(earlier):
    device = next(device for device in earlier.devices if device.id == "bob/boiler")
    for before in (None, replace(earlier, states={})):
        assert counted(device, state(earlier, 2), before).task_closed_s == 2 * MTU_S


def test_another_kind_of_device_has_no_task_before(earlier):
    device = Device(id="bob/boiler", member="bob", flexibility=replace(PUMP, start=0))
    storage = replace(earlier, devices=(replace(device, flexibility=earlier.devices[0].flexibility),))
    assert counted(device, state(earlier, 3), storage).closed_before_s == 0
