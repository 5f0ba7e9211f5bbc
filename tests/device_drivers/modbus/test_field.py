import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.modbus.field import FORMATS, ORDERS, Field, NoValueError, Table, check_apart


def holding(kind="uint16", **changes):
    return Field(**({"name": "power", "table": Table.HOLDING, "address": 7, "type": kind} | changes))


@given(st.sampled_from([one for one in FORMATS if "int" in one]), st.sampled_from(ORDERS), st.data())
def test_what_is_encoded_is_decoded(kind, order, data):
    bits = int(kind.lstrip("uint"))
    least = 0 if kind.startswith("u") else -(2 ** (bits - 1))
    # Values are floats: beyond 2**53 they are not told apart.
    value = data.draw(st.integers(max(least, -(2**53)), min(least + 2**bits - 1, 2**53)))
    field = holding(kind, order=order)
    assert field.decode(field.encode(value)) == value


@pytest.mark.parametrize(
    ("order", "registers"),
    [("ABCD", [0x0102, 0x0304]), ("CDAB", [0x0304, 0x0102]), ("BADC", [0x0201, 0x0403]), ("DCBA", [0x0403, 0x0201])],
)
def test_the_orders_are_those_of_the_trade(order, registers):
    field = holding("uint32", order=order)
    assert field.encode(0x01020304) == registers
    assert field.decode(registers) == 0x01020304


def test_a_value_is_scaled_and_rounded_towards_nothing():
    percent = holding(scale=50.0)
    assert [percent.encode(watts) for watts in (0, 49, 50, 1500, 1549.9)] == [[0], [0], [1], [30], [30]]
    assert holding("int16", scale=-0.1).decode([0xFFFF]) == pytest.approx(0.1)
    assert holding(scale=0.1).encode(3.0) == [30]


@pytest.mark.parametrize("value", [-1, 65_536, 1e30, math.inf, math.nan])
def test_what_a_type_cannot_hold_is_not_written(value):
    with pytest.raises((DeviceError, ValueError, OverflowError)):
        holding().encode(value)


def test_a_register_that_says_that_there_is_nothing_is_no_value():
    field = holding(absent=0xFFFF)
    assert field.decode([0xFFFE]) == 0xFFFE
    with pytest.raises(NoValueError):
        field.decode([0xFFFF])
    with pytest.raises(NoValueError):
        holding("float32").decode([0x7FC0, 0])
    with pytest.raises(DeviceError, match="would say that there is none"):
        field.encode(0xFFFF)
    with pytest.raises(DeviceError, match="got 1 registers, wanted 2"):
        holding("uint32").decode([1])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"type": "int8"}, "int8"),
        ({"type": "bit"}, "bit"),
        ({"table": Table.COIL, "type": "uint16"}, "coil"),
        ({"order": "ACBD"}, "ACBD"),
        ({"scale": 0.0}, "scale"),
        ({"scale": math.nan}, "scale"),
        ({"address": 65_535, "type": "uint32"}, "65535"),
        ({"address": -1}, "-1"),
    ],
)
def test_a_field_that_cannot_be_is_refused(changes, named):
    with pytest.raises(InvalidValueError, match=f"power: got .*{named}"):
        holding(**changes)


def test_fields_that_share_a_register_are_both_named():
    one, other = holding("uint32", name="power"), holding(name="timer", address=8)
    with pytest.raises(InvalidValueError, match=r"power at holding 7 to 8 and timer at 8 to 8"):
        check_apart([other, one])
    check_apart([one, holding(name="timer", address=9), holding(name="state", table=Table.INPUT)])
