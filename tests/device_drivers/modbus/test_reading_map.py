import pytest

from device_drivers.errors import InvalidValueError
from device_drivers.modbus.field import Table
from device_drivers.modbus.reading_map import SHIPPED, read_map, read_shipped
from device_drivers.modbus.register_map import Role
from device_drivers.setpoint import Power, ProductionLimit, RelayState

LIMIT = """
takes = "production-limit"
[target]
table = "holding"
address = 10
type = "uint16"
unit = "%"
scale = 0.1
[timer]
table = "holding"
address = 12
type = "uint16"
unit = "min"
ends_in_w = 0
[power]
table = "input"
address = 10
type = "float32"
unit = "kW"
positive = "production"
[[constant]]
table = "holding"
address = 11
type = "uint16"
value = 1
"""


def test_a_map_says_where_a_limit_goes_and_what_a_step_is_worth():
    registers = read_map(LIMIT, "inverter", rated_w=5000)
    assert registers.takes is ProductionLimit
    assert [write.role for write in registers.writes] == [Role.TIMER, Role.TARGET, Role.CONSTANT]
    target = registers.writes[1].field
    assert target.encode(registers.value(ProductionLimit(limit_w=1500))) == [300]
    assert target.encode(registers.value(ProductionLimit(limit_w=9999))) == [1000]
    assert registers.power.decode([0x3F80, 0]) == -1000
    assert (registers.timer.shortest_s, registers.timer.resolution_s) == (60, 60)
    assert registers.timer_for(ProductionLimit(limit_w=0)) is registers.timer
    assert registers.timer_for(ProductionLimit(limit_w=100)) is None


@pytest.mark.parametrize("name", SHIPPED)
def test_the_maps_that_are_shipped_can_be_read(name):
    registers = read_shipped(name, channel=3)
    assert registers.takes is RelayState
    assert (registers.relay.table, registers.relay.address) == (Table.COIL, 3)


def test_a_timer_that_is_written_what_to_end_in_serves_every_failsafe():
    text = LIMIT.replace("ends_in_w = 0\n", "") + '[revert]\ntable = "holding"\naddress = 20\ntype = "uint16"\n'
    registers = read_map(text, "inverter", rated_w=5000)
    assert registers.writes[0].role is Role.REVERT
    assert registers.timer_for(ProductionLimit(limit_w=123)) is registers.timer


def test_a_power_may_be_positive_the_other_way_round():
    text = 'takes = "power"\n[target]\ntable = "holding"\naddress = 1\ntype = "int16"\npositive = "production"\n'
    registers = read_map(text, "battery")
    assert registers.writes[0].field.encode(registers.value(Power(power_w=-800))) == [800]


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ('takes = "production-limit"', 'takes = "heat"', "takes"),
        ("takes", "takes?", "no TOML"),
        ('takes = "production-limit"', 'takes = "production-limit"\nmaker = "x"', "maker"),
        ("[target]", "[aim]", "aim"),
        ('address = 10\ntype = "uint16"', 'address = 12\ntype = "uint16"', "timer at holding 12.*target|target.*timer"),
        ("address = 11", "address = 12", "constant 1 at .*timer|timer at .*constant 1"),
        ("scale = 0.1", "scale = 0", "target: .*scale"),
        ('unit = "%"', 'unit = "hp"', "section target: option unit"),
        ('unit = "%"', "colour = 1", "section target: option: got colour"),
        ('"float32"', '"float16"', "float16"),
        ("value = 1", "value = true", "constant 1: option value"),
        ("ends_in_w = 0", "", "section timer: option ends_in_w"),
        ("[[constant]]", "[constant]", "constant"),
        ('table = "holding"\naddress = 11', 'table = "input"\naddress = 11', "constant 1: got the table input"),
    ],
)
def test_a_map_that_is_wrong_is_refused_by_section_and_key(before, after, named):
    assert before in LIMIT
    with pytest.raises(InvalidValueError, match=f"map inverter: .*({named})"):
        read_map(LIMIT.replace(before, after, 1), "inverter", rated_w=5000)


def test_percents_need_to_know_of_what():
    with pytest.raises(InvalidValueError, match="rated_w"):
        read_map(LIMIT, "inverter")
