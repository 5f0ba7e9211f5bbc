"""A window whose books cannot be closed: those behind it wait to be settled, and for nothing else."""

import pytest

from controller.ledger import LedgerError
from controller.registers import MeterChange, Registers
from controller.store import evidence, meter_events

MOST = Registers(import_wh=10**12, export_wh=0)
NOTHING = Registers(import_wh=0, export_wh=0)


def replace_twice(site, mtu):
    """Declare that in an MTU two of bob's meters, one after the other, came to all that a register holds."""

    def declare(connection):
        for seconds in (300, 600):
            change = MeterChange(instant=site.start + 900 * mtu + seconds, rollover_wh=None, final=MOST, first=NOTHING)
            meter_events.add_change(connection, "village", "bob", change, created=site.start)

    site.database.run(declare)


def test_what_is_to_come_is_decided_all_the_same(site):
    told = []

    def advance(instant):
        if instant == site.start + 900:
            replace_twice(site, 1)
        try:
            site.advance()
        except LedgerError as err:
            told.append(str(err))

    site.live(until=site.end, advance=advance)
    assert site.states() == ["METERED"] * 4
    assert [site.row(number).source for number in range(4)] == ["CLEARING"] * 4
    assert told
    assert all("metered energy of bob" in text for text in told)


def test_a_correction_that_cannot_be_made_holds_up_no_other(site):
    site.live(until=site.end)
    replace_twice(site, 1)
    windows = [site.window(number) for number in range(4)]
    site.database.run(evidence.ask_for_corrections, "village", windows)
    with pytest.raises(LedgerError, match="metered energy of bob"):
        site.advance()
    assert [row["window"] for row in site.rows("corrections_due")] == windows[:1]
