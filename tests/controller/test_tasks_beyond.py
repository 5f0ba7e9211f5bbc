"""Tasks that may also be done after the planning of a microgrid without an end."""

from dataclasses import replace

import pytest

from controller.flexibility import Phase, Programme
from controller.microgrid import Device, DeviceState, Member, Microgrid, Order, TariffPeriod, Window
from controller.problem import bounds_w, build
from controller.programmes import deferred
from controller.snapshot import Snapshot
from controller.tasks import devices_of, unfit_wh
from optimization import devices as models
from optimization.errors import ProblemError
from tests.controller.flexibility_cases import relay, vehicle

START, MTU_S, MTUS = 1_772_431_200, 900, 16
END = START + MTUS * MTU_S


def at(mtu):
    return START + mtu * MTU_S


def snapshot(flexibility, *, rolling=True, states=None, **member):
    """A home with one device, planned 16 MTUs ahead."""
    return Snapshot(
        microgrid=Microgrid(
            id="street",
            time_zone="Europe/Berlin",
            mtu_minutes=15,
            window_minutes=60,
            lead_minutes=5,
            start=START,
            end=END,
            network_charge_micro_per_kwh=0,
            currency="EUR",
            tariff=(TariffPeriod(start=START, end=END, import_price_micro_per_kwh=2, export_price_micro_per_kwh=1),),
            planning_minutes=MTUS * 15 if rolling else None,
        ),
        window=Window(name="w", start=START, end=at(4)),
        members=(Member(id="ada", section="east", **member),),
        devices=() if flexibility is None else (Device(id="ada/it", member="ada", flexibility=flexibility),),
        states=states or {},
        orders={"ada": Order(window="w", member="ada", load_w=(500,) * MTUS, production={}, partners={})},
        order_digests={},
        limits=(),
        carry={},
    )


def model_of(frozen):
    return next(device for device in devices_of(frozen, "ada") if device.id == "ada/it")


@pytest.mark.parametrize(
    ("first", "end", "owed", "due"),
    [
        (0, 16, 4, 4),  # within the planning
        (0, 18, 4, 2),  # two of them can be done after it
        (0, 40, 4, 0),
        (14, 18, 4, 2),
        (20, 40, 4, 0),
        (0, 16, 20, 20),  # more than there is: what is missing is said
    ],
)
def test_an_appliance_owes_now_what_cannot_wait(first, end, owed, due):
    wish = relay(start=at(first), end=at(end), required_s=owed * MTU_S)
    frozen = snapshot(wish)
    possible = max(0, min(end, MTUS) - min(first, MTUS))
    model = model_of(frozen)
    assert model.required_mtus == min(due, possible)
    missing = max(0, due - possible) * wish.rated_w * MTU_S // 3600
    assert unfit_wh(frozen, frozen.devices[0], model) == missing


def test_where_the_microgrid_ends_nothing_can_wait():
    wish = relay(start=START, end=at(40), required_s=20 * MTU_S)
    assert model_of(snapshot(wish, rolling=False)).required_mtus == MTUS


def test_a_vehicle_is_charged_later_where_it_stays_longer():
    stay = vehicle(arrival=START, departure=at(16), stored_wh=0, required_wh=8000)
    now = model_of(snapshot(stay)).required_kwh
    longer = snapshot(replace(stay, departure=at(80)))
    assert now > 0
    assert model_of(longer).required_kwh == 0
    assert unfit_wh(longer, longer.devices[0], model_of(longer)) == 0


def cycle(end):
    phases = (Phase(power_w=(800, 900, 700), min_pause_s=0, max_pause_s=0),)
    return Programme(phases=phases, start=START, end=at(end))


@pytest.mark.parametrize(("end", "later"), [(16, False), (17, True), (60, True)])
def test_a_cycle_that_may_end_after_the_planning_is_for_a_later_window(end, later):
    frozen = snapshot(cycle(end))
    assert deferred(frozen, frozen.devices[0].flexibility) == later
    model = model_of(frozen)
    assert isinstance(model, models.FixedLoad) == later
    assert unfit_wh(frozen, frozen.devices[0], model) == 0


def test_a_cycle_that_has_begun_is_finished():
    state = DeviceState(device="ada/it", instant=START, power_w=800, closed_s=900, stored_wh=None, closed=True)
    assert isinstance(model_of(snapshot(cycle(60), states={"ada/it": state})), models.Programme)


class TestRatings:
    TARGET = "microgrids/street/members/ada"

    def test_a_connection_bounds_its_member(self):
        lower, upper = bounds_w(snapshot(None, connection_w=4000, feed_in_w=1000))[self.TARGET]
        assert (set(lower), set(upper)) == ({-1000.0}, {4000.0})

    def test_one_that_nobody_rated_is_not_bound(self):
        assert bounds_w(snapshot(None)) == {}
        lower, _ = bounds_w(snapshot(None, connection_w=4000))[self.TARGET]
        assert set(lower) == {-float("inf")}

    def test_what_is_under_way_is_finished_all_the_same(self):
        state = DeviceState(device="ada/it", instant=START, power_w=800, closed_s=900, stored_wh=None, closed=True)
        frozen = snapshot(cycle(16), states={"ada/it": state}, connection_w=600)
        _, upper = bounds_w(frozen)[self.TARGET]
        assert set(upper) == {1400.0}
        assert snapshot(cycle(16), connection_w=600).members[0].connection_w == 600
        assert set(bounds_w(snapshot(cycle(16), connection_w=600))[self.TARGET][1]) == {600.0}


def test_a_problem_without_prices_is_none():
    frozen = snapshot(None)
    unpriced = replace(frozen, microgrid=replace(frozen.microgrid, tariff=()))
    with pytest.raises(ProblemError, match="tariff: got none from 2026-03-02T06:00:00"):
        build(unpriced)
