from dataclasses import replace

import pytest

from controller import planning, problem
from controller.adjusting import told_w
from controller.flexibility import Phase, Programme
from controller.microgrid import DeviceSetpoint, DeviceState, SetpointKind
from controller.snapshot import Snapshot


@pytest.fixture
def frozen(site):
    """What the village's first window is decided on."""
    site.advance(site.start - 300)
    return Snapshot.from_json(site.row(0).snapshot)


def told(snapshot, device, kind, *values):
    return [
        DeviceSetpoint(device=device, mtu_start=mtu, kind=kind, value=value)
        for mtu, value in zip(snapshot.window_mtus(), values, strict=False)
    ]


class TestWhatWasTold:
    def test_it_takes_what_was_planned(self, site, frozen):
        community = problem.build(frozen)
        decision = planning.decide(frozen, community, site.solver.reference(community))
        mtus = len(frozen.window_mtus())
        planned = {device: series[:mtus] for device, series in decision.plan.power_w.items()}
        assert any(any(series) for series in planned.values())
        assert told_w(decision.setpoints, frozen) == planned

    def test_a_plant_gives_what_the_sun_of_now_does(self, frozen):
        ada = replace(frozen.orders["ada"], production={"ada/pv": (900,) * 8})
        now = replace(frozen, orders={**frozen.orders, "ada": ada})
        found = told_w(told(now, "ada/pv", SetpointKind.PRODUCTION_LIMIT, 4000, 300), now)
        assert found == {"ada/pv": (-900, -300)}
        assert told_w(told(now, "ada/pv", SetpointKind.PRODUCTION_LIMIT, 4000), now) == {"ada/pv": (-900, 0)}

    def test_a_cycle_goes_on_where_it_is(self, frozen):
        start = frozen.window.start
        cycle = Programme(phases=(Phase(power_w=(100, 200, 300)),), start=start - 900, end=start + 7200)
        boiler = next(device for device in frozen.devices if device.id == "bob/boiler")
        state = DeviceState(device=boiler.id, instant=start, power_w=100, closed_s=900, stored_wh=None, closed=True)
        now = replace(frozen, devices=(replace(boiler, flexibility=cycle),), states={boiler.id: state})
        assert told_w(told(now, boiler.id, SetpointKind.RELAY, 1, 1), now) == {boiler.id: (200, 300)}

    def test_what_is_a_device_no_more_is_left_out(self, frozen):
        now = replace(frozen, devices=())
        assert told_w(told(now, "ada/pv", SetpointKind.PRODUCTION_LIMIT, 4000, 4000), now) == {}
