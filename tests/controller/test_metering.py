from hypothesis import given
from hypothesis import strategies as st

from controller.metering import metered_wh, missing
from controller.microgrid import MeterReading

MEMBERS = ("ada", "bob")


def reading(member, instant, import_wh, export_wh=0):
    return MeterReading(member=member, instant=instant, import_wh=import_wh, export_wh=export_wh, quality="MEASURED")


def test_energy_is_the_difference_of_both_registers():
    readings = [reading("ada", 0, 100, 40), reading("ada", 900, 130, 90)]
    assert metered_wh(readings, ["ada"], [0, 900]) == {("ada", 0): -20}


def test_a_gap_is_known_on_both_of_its_sides():
    readings = [reading("ada", instant, instant) for instant in (0, 1800, 2700)]
    energies = metered_wh(readings, ["ada"], [0, 900, 1800, 2700])
    assert energies == {("ada", 0): None, ("ada", 900): None, ("ada", 1800): 900}
    assert missing(readings, ["ada"], [0, 900, 1800, 2700]) == (("ada", 900),)


def test_readings_of_other_instants_and_members_do_not_count():
    readings = [reading("ada", 0, 1), reading("ada", 450, 2), reading("ada", 900, 3), reading("zoe", 0, 9)]
    assert metered_wh(readings, ["ada"], [0, 900]) == {("ada", 0): 2}


def test_nothing_is_missing_where_nobody_is():
    assert missing([], [], [0, 900]) == ()


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(MEMBERS), st.sampled_from([0, 900, 1800, 2700])),
        st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)),
    ),
    st.randoms(),
)
def test_energies_are_known_exactly_where_no_register_is_missing_and_add_up(registers, random):
    readings = [reading(*place, *values) for place, values in registers.items()]
    random.shuffle(readings)
    instants = (0, 900, 1800, 2700)
    energies = metered_wh(readings, MEMBERS, instants)
    gaps = set(missing(readings, MEMBERS, instants))
    assert set(energies) == {(member, start) for member in MEMBERS for start in instants[:-1]}
    for (member, start), energy in energies.items():
        assert (energy is None) == bool({(member, start), (member, start + 900)} & gaps)
    for member in MEMBERS:
        if not any(gap[0] == member for gap in gaps):
            first, last = registers[member, 0], registers[member, 2700]
            assert sum(energies[member, start] for start in instants[:-1]) == (last[0] - last[1]) - (
                first[0] - first[1]
            )
