import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.microgrid import (
    Bounds,
    Device,
    DeviceSetpoint,
    DeviceState,
    Member,
    Microgrid,
    Order,
    Plant,
    Relay,
    SetpointKind,
    Storage,
    TariffPeriod,
    Window,
)
from controller.snapshot import Limit, Snapshot, cut, project
from device_drivers.setpoint import Power, RelayState
from device_drivers.simulated.battery import SimulatedBattery
from device_drivers.simulated.clock import SimulatedClock
from device_drivers.simulated.relay import SimulatedRelay

MTU_S = 900
INTEGER = st.integers(-(2**63), 2**63 - 1)
NAME = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
TEXT = st.text(max_size=20)


@st.composite
def snapshots(draw):
    """Any inputs at all: the text that is digested must not depend on their sense."""
    flexibility = st.one_of(
        st.builds(Relay, rated_w=INTEGER, start=INTEGER, end=INTEGER, required_s=INTEGER),
        st.builds(Storage, **dict.fromkeys(Storage.__dataclass_fields__, INTEGER)),
        st.builds(Plant, rated_w=INTEGER),
    )
    series = st.lists(INTEGER, max_size=4).map(tuple)
    period = st.builds(TariffPeriod, **dict.fromkeys(TariffPeriod.__dataclass_fields__, INTEGER))
    bounds = st.builds(Bounds, start=INTEGER, end=INTEGER, lower_w=st.none() | INTEGER, upper_w=st.none() | INTEGER)
    numbers = ("mtu_minutes", "window_minutes", "lead_minutes", "start", "end", "network_charge_micro_per_kwh")
    state = st.builds(
        DeviceState, device=NAME, instant=INTEGER, power_w=INTEGER, closed_s=INTEGER, stored_wh=st.none() | INTEGER
    )
    order = st.builds(
        Order,
        window=NAME,
        member=NAME,
        load_w=series,
        production=st.dictionaries(NAME, series, max_size=2),
        partners=st.dictionaries(NAME, INTEGER, max_size=3),
    )
    return Snapshot(
        microgrid=draw(
            st.builds(
                Microgrid,
                id=NAME,
                time_zone=TEXT,
                currency=TEXT,
                tariff=st.lists(period, max_size=3).map(tuple),
                **dict.fromkeys(numbers, INTEGER),
            )
        ),
        window=draw(st.builds(Window, name=TEXT, start=INTEGER, end=INTEGER)),
        members=draw(st.lists(st.builds(Member, id=NAME, section=NAME), max_size=3).map(tuple)),
        devices=draw(st.lists(st.builds(Device, id=NAME, member=NAME, flexibility=flexibility), max_size=3).map(tuple)),
        states=draw(st.dictionaries(NAME, state, max_size=2)),
        orders=draw(st.dictionaries(NAME, order, max_size=3)),
        order_digests=draw(st.dictionaries(NAME, TEXT, max_size=3)),
        limits=draw(
            st.lists(
                st.builds(Limit, id=NAME, target=TEXT, periods=st.lists(bounds, max_size=2).map(tuple), digest=TEXT),
                max_size=2,
            ).map(tuple)
        ),
        carry=draw(st.dictionaries(NAME, INTEGER, max_size=3)),
    )


@settings(max_examples=40)
@given(snapshots())
def test_it_reads_back_as_it_was_frozen(snapshot):
    again = Snapshot.from_json(snapshot.to_json())
    assert again == snapshot
    assert again.to_json() == snapshot.to_json()
    assert again.digest() == snapshot.digest()


@settings(max_examples=40)
@given(snapshots(), st.randoms())
def test_the_digest_does_not_depend_on_the_order_of_mappings(snapshot, random):
    def shuffled(mapping):
        items = list(mapping.items())
        random.shuffle(items)
        return dict(items)

    names = ("states", "orders", "order_digests", "carry")
    other = replace(snapshot, **{name: shuffled(getattr(snapshot, name)) for name in names})
    assert other.digest() == snapshot.digest()


@pytest.fixture
def frozen(settled):
    """What the village's second window was decided on."""
    return Snapshot.from_json(settled.row(1).snapshot)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: replace(s, carry={**s.carry, "peer ada": s.carry["peer ada"] + 1}),
        lambda s: replace(s, members=s.members[:-1]),
        lambda s: replace(s, orders={k: v for k, v in s.orders.items() if k != "eve"}),
        lambda s: replace(s, order_digests={**s.order_digests, "eve": "00"}),
        lambda s: replace(s, microgrid=replace(s.microgrid, network_charge_micro_per_kwh=5001)),
        lambda s: replace(s, window=replace(s.window, end=s.window.end + 900)),
        lambda s: replace(s, devices=(replace(s.devices[0], flexibility=Plant(rated_w=1)), *s.devices[1:])),
    ],
)
def test_every_input_counts_in_the_digest(frozen, change):
    assert change(frozen).digest() != frozen.digest()


def test_the_digest_is_that_of_the_text_on_disk(settled):
    row = settled.row(1)
    assert hashlib.sha256(row.snapshot.encode()).digest() == row.inputs_digest
    assert row.snapshot == json.dumps(json.loads(row.snapshot), sort_keys=True, separators=(",", ":"))


def test_its_mtus_begin_with_the_window_and_end_with_the_horizon(frozen, settled):
    assert frozen.mtus() == tuple(range(settled.start + 1800, settled.start + 7200, 900))
    assert frozen.window_mtus() == (settled.start + 1800, settled.start + 2700)


class TestCut:
    ORDER = Order(window="w", member="ada", load_w=(1, 2, 3, 4), production={"pv": (5, 6, 7, 8)}, partners={"bob": 9})

    def test_it_keeps_the_last_mtus(self):
        assert cut(self.ORDER, 2) == replace(self.ORDER, load_w=(3, 4), production={"pv": (7, 8)})

    def test_of_all_it_keeps_all(self):
        assert cut(self.ORDER, 4) == self.ORDER


STORAGE = Storage(
    max_charge_w=5000,
    max_discharge_w=5000,
    capacity_wh=3000,
    stored_wh=1234,
    final_wh=0,
    charge_efficiency_ppm=950_000,
    discharge_efficiency_ppm=930_000,
    cycle_cost_micro_per_kwh=0,
)
BATTERY = Device(id="eve/battery", member="eve", flexibility=STORAGE)
BOILER = Device(id="bob/boiler", member="bob", flexibility=Relay(rated_w=1500, start=0, end=7200, required_s=2700))


def state(device, instant=0, **values):
    return DeviceState(
        **{"device": device.id, "instant": instant, "power_w": 0, "closed_s": 0, "stored_wh": None} | values
    )


def told(device, kind, values, first=0):
    return [
        DeviceSetpoint(device=device.id, mtu_start=MTU_S * (first + k), kind=kind, value=value)
        for k, value in enumerate(values)
    ]


class TestProject:
    def test_without_setpoints_only_time_passes(self):
        before = state(BATTERY, stored_wh=500, power_w=7)
        assert project(before, BATTERY, (), 1800, MTU_S) == replace(before, instant=1800)

    def test_what_was_over_before_the_telemetry_does_not_count_again(self):
        before = state(BOILER, instant=900, closed_s=900)
        after = project(before, BOILER, told(BOILER, SetpointKind.RELAY, (1, 1)), 1800, MTU_S)
        assert after.closed_s == 1800

    def test_what_comes_after_does_not_count_yet(self):
        after = project(state(BOILER), BOILER, told(BOILER, SetpointKind.RELAY, (1, 1, 1)), 1000, MTU_S)
        assert after.closed_s == 1000

    def test_a_plant_has_no_state(self):
        plant = Device(id="ada/pv", member="ada", flexibility=Plant(rated_w=1))
        before = state(plant, power_w=-5)
        limits = told(plant, SetpointKind.PRODUCTION_LIMIT, (0, 0))
        assert project(before, plant, limits, 1800, MTU_S) == replace(before, instant=1800)

    def test_a_battery_that_says_nothing_of_its_store_holds_what_was_registered(self):
        after = project(state(BATTERY), BATTERY, told(BATTERY, SetpointKind.POWER, (0,)), 900, MTU_S)
        assert after.stored_wh == STORAGE.stored_wh

    @given(st.integers(0, 900), st.lists(st.booleans(), min_size=1, max_size=8))
    def test_a_relay_is_closed_as_long_as_the_simulated_one(self, passed_s, states):
        clock = SimulatedClock(datetime(2026, 3, 2, tzinfo=UTC))
        relay = SimulatedRelay(1500, clock)
        clock.advance(passed_s)
        before = state(BOILER, instant=passed_s, closed_s=relay.read().closed_s)
        for number, closed in enumerate(states):
            relay.apply(RelayState(closed=closed))
            clock.advance(MTU_S * (number + 1) - clock.now())
        end = MTU_S * len(states)
        after = project(before, BOILER, told(BOILER, SetpointKind.RELAY, [int(s) for s in states]), end, MTU_S)
        assert after.closed_s == relay.read().closed_s

    @given(
        st.integers(0, 3000),
        st.integers(10_000, 1_000_000),
        st.integers(10_000, 1_000_000),
        st.lists(st.integers(-5000, 5000), min_size=1, max_size=8),
    )
    def test_a_battery_holds_what_the_simulated_one_holds_but_for_a_wh_a_setpoint(
        self, stored_wh, charge_ppm, discharge_ppm, powers
    ):
        clock = SimulatedClock(datetime(2026, 3, 2, tzinfo=UTC))
        battery = SimulatedBattery(
            capacity_wh=3000,
            max_charge_w=5000,
            max_discharge_w=5000,
            stored_wh=stored_wh,
            charge_efficiency=charge_ppm / 1e6,
            discharge_efficiency=discharge_ppm / 1e6,
            clock=clock,
        )
        for power in powers:
            battery.apply(Power(power_w=power))
            clock.advance(MTU_S)
        storage = replace(STORAGE, charge_efficiency_ppm=charge_ppm, discharge_efficiency_ppm=discharge_ppm)
        device = replace(BATTERY, flexibility=storage)
        setpoints = told(device, SetpointKind.POWER, powers)
        after = project(state(device, stored_wh=stored_wh), device, setpoints, MTU_S * len(powers), MTU_S)
        assert 0 <= after.stored_wh <= 3000
        assert abs(after.stored_wh - battery.stored_wh()) <= len(powers)
