from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.microgrid import MeterReading
from controller.registers import Meter, MeterChange, Registers, between

MTU_S = 900


def registers(import_wh, export_wh=0):
    return Registers(import_wh=import_wh, export_wh=export_wh)


def reading(instant, import_wh, export_wh=0):
    return MeterReading(member="ada", instant=instant, import_wh=import_wh, export_wh=export_wh, quality="MEASURED")


def test_what_flowed_is_the_difference_of_each_register():
    flow = Meter().flow(reading(0, 5, 7), reading(900, 11, 8))
    assert (flow.counted, flow.rolled, flow.back) == (registers(6, 1), (), ())


def test_a_register_that_came_to_its_end_began_again_at_zero():
    meter = Meter((MeterChange(instant=0, rollover_wh=1000),))
    flow = meter.flow(reading(0, 990, 4), reading(900, 15, 5))
    assert (flow.counted, flow.rolled, flow.back) == (registers(25, 1), ("import_wh",), ())


def test_a_register_without_an_end_went_back():
    flow = Meter().flow(reading(0, 990, 4), reading(900, 15, 3))
    assert flow.counted == registers(-975, -1)
    assert flow.back == ("export_wh", "import_wh")


def test_energy_counts_through_a_replacement():
    change = MeterChange(instant=400, rollover_wh=None, final=registers(1010, 20), first=registers(3, 0))
    flow = Meter((change,)).flow(reading(0, 1000, 10), reading(900, 8, 6))
    assert (flow.counted, flow.back) == (registers(15, 16), ())


def test_a_reading_at_the_instant_of_a_replacement_is_of_the_new_meter():
    change = MeterChange(instant=900, rollover_wh=None, final=registers(1010), first=registers(3))
    meter = Meter((change,))
    assert meter.flow(reading(0, 1000), reading(900, 3)).counted == registers(10)
    assert meter.flow(reading(900, 3), reading(1800, 7)).counted == registers(4)


def test_the_old_meter_may_roll_over_before_it_is_taken_away():
    meter = Meter(
        (
            MeterChange(instant=0, rollover_wh=1000),
            MeterChange(instant=400, rollover_wh=10**6, final=registers(5), first=registers(999_999)),
        )
    )
    flow = meter.flow(reading(0, 998), reading(900, 2))
    assert (flow.counted.import_wh, flow.rolled) == (7 + 3, ("import_wh",))


def test_what_is_declared_of_the_first_meter_counts_before_as_well():
    assert Meter((MeterChange(instant=900, rollover_wh=1000),)).rollover_wh(0) == 1000
    replaced = MeterChange(instant=900, rollover_wh=1000, final=registers(1), first=registers(0))
    assert Meter((replaced,)).rollover_wh(0) is None


@pytest.mark.parametrize("alone", ["final", "first"])
def test_a_replacement_has_registers_of_both_meters(alone):
    with pytest.raises(ValueError, match="wanted both of a replacement, or none"):
        MeterChange(instant=0, rollover_wh=None, **{alone: registers(1)})


@given(
    start=st.integers(0, 10**6 - 1),
    flows=st.lists(st.integers(0, 5000), min_size=1, max_size=12),
    rollover_wh=st.sampled_from([None, 10_000, 10**6]),
    replaced=st.lists(st.tuples(st.integers(1, 11), st.integers(0, 9999), st.integers(0, 5000)), max_size=3),
)
def test_energies_are_those_of_a_register_that_never_ends_and_is_never_replaced(start, flows, rollover_wh, replaced):
    """The truth is a plain sum; what is read goes through rollovers and other meters, declared."""
    shown, changes, readings = start % (rollover_wh or 10**9), [], []
    if rollover_wh is not None:
        changes.append(MeterChange(instant=0, rollover_wh=rollover_wh))
    at = {mtu: (first, part) for mtu, first, part in replaced}
    readings.append(reading(0, shown))
    for mtu, flow in enumerate(flows, start=1):
        if mtu in at:
            first, part = at[mtu]
            part = min(part, flow)
            final = shown + part if rollover_wh is None else (shown + part) % rollover_wh
            changes.append(
                MeterChange(
                    instant=mtu * MTU_S - 10,
                    rollover_wh=rollover_wh,
                    final=registers(final),
                    first=registers(first),
                )
            )
            shown = first + flow - part
        else:
            shown += flow
        shown = shown if rollover_wh is None else shown % rollover_wh
        readings.append(reading(mtu * MTU_S, shown))
    meter = Meter(tuple(changes))
    found = [meter.flow(*pair).counted.import_wh for pair in pairwise(readings)]
    assert found == flows


@given(st.integers(0, 999), st.integers(0, 999))
def test_of_a_register_that_rolls_over_the_least_that_fits_is_what_flowed(first, second):
    flow = between(registers(first), registers(second), 1000)
    assert flow.counted.import_wh == (second - first) % 1000
    assert flow.rolled == (("import_wh",) if second < first else ())
