"""The registers that a window is settled with: as they were read, else as the microgrid's rule estimates them."""

from collections.abc import Sequence

from sqlalchemy import Connection

from controller.estimating import LOOK_BACK_S, TRUE, EstimationRule, Grid, Trace
from controller.metering import SAME_METER
from controller.microgrid import MeterReading, Microgrid
from controller.registers import Meter
from controller.store import meter_events, meters


def registers_at(
    connection: Connection,
    microgrid: Microgrid,
    members: Sequence[str],
    instants: Sequence[int],
    *,
    rule: EstimationRule,
) -> list[MeterReading]:
    """Members' registers at instants, by instant and member; those are left out that nobody knows by the rule.

    Parameters
    ----------
    microgrid : its market time units and time zone divide time
    instants : Unix seconds, ascending
    rule : NONE for what was read alone
    """
    changes = meter_events.meters(connection, microgrid.id)
    read = {
        (reading.member, reading.instant): reading
        for reading in meters.meter_readings(connection, microgrid.id, instants[0], instants[-1])
    }
    for member in members:
        known = [read.get((member, instant)) for instant in instants]
        # Most meters said all that is asked for: of the others more is looked at.
        if all(reading is not None and reading.quality in TRUE for reading in known):
            continue
        traced = trace(connection, microgrid, member, changes.get(member, SAME_METER), instants, rule=rule)
        for instant in instants:
            found = traced.at(instant)
            if found is None:
                read.pop((member, instant), None)
            else:
                read[member, instant] = found
    wanted = {*members}
    return [read[member, instant] for instant in instants for member in sorted(wanted) if (member, instant) in read]


def trace(
    connection: Connection,
    microgrid: Microgrid,
    member: str,
    meter: Meter,
    instants: Sequence[int],
    *,
    rule: EstimationRule,
) -> Trace:
    """What is known of a member's registers around some instants, and long enough before them for a profile."""
    before = meters.last_reading(connection, microgrid.id, member, until=instants[0], qualities=TRUE)
    after = meters.next_reading(connection, microgrid.id, member, after=instants[-1] - 1, qualities=TRUE)
    start = 0 if before is None else before.instant
    if rule is EstimationRule.PROFILE:
        start = max(0, start - LOOK_BACK_S)
    end = instants[-1] if after is None else after.instant
    return Trace(
        member=member,
        readings=meters.meter_readings(connection, microgrid.id, start, end, member=member),
        meter=meter,
        rule=rule,
        grid=Grid(start=microgrid.start, mtu_seconds=microgrid.mtu_seconds, time_zone=microgrid.time_zone),
    )
