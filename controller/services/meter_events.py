"""What is noted of readings that were refused: in a transaction of its own, as a refused call leaves nothing else."""

import logging

from sqlalchemy import Connection

from controller.errors import StoreError
from controller.meter_events import EventKind, MeterEvent
from controller.quotas import DAY_S
from controller.refusals import Refusal
from controller.services.core import Core
from controller.store import meter_events, registry

log = logging.getLogger(__name__)

REFUSED_PER_DAY = 1000
"""As many events of refused batches a gateway may cause within 24 hours: the rest is in the log alone."""
NOTE = 500
KINDS = {
    "BAD_SIGNATURE": EventKind.BAD_SIGNATURE,
    "SEQUENCE_USED": EventKind.SEQUENCE_REPLAYED,
    "NOT_FOUND": EventKind.FOREIGN_METER,
    "OUT_OF_RANGE": EventKind.OUT_OF_RANGE,
}
"""What a batch was refused for, by the refusal's reason; MALFORMED for any other."""


def refused_event(refusal: Refusal, *, reporter: str) -> MeterEvent:
    """What is kept of a batch that was refused as a whole."""
    kind = KINDS.get(refusal.reason, EventKind.MALFORMED)
    if any(violation.field.endswith(".instant") for violation in refusal.violations):
        kind = EventKind.FUTURE if kind is EventKind.OUT_OF_RANGE else kind
    return MeterEvent(kind=kind, member="", instant=None, reporter=reporter, sequence=0, note=refusal.message[:NOTE])


async def note_refused(core: Core, microgrid: str, event: MeterEvent) -> None:
    """Keep the event of a refused batch, once; where that is not possible the refusal counts all the same."""
    now = int(core.clock.now())

    def keep(connection: Connection) -> bool:
        if registry.microgrid(connection, microgrid) is None:
            return False
        if meter_events.count_since(connection, microgrid, event.reporter, now - DAY_S) >= REFUSED_PER_DAY:
            return False
        meter_events.add_events(connection, microgrid, [event], created=now, once=True)
        return True

    try:
        kept = await core.database.run_async(keep)
    except StoreError as err:
        log.warning("microgrid %s: event of a refused batch was not kept: %s", microgrid, err)
        return
    if not kept:
        log.warning("microgrid %s: refused batch of %s: %s %s", microgrid, event.reporter, event.kind.value, event.note)
