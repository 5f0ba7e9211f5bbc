"""Takes what was accepted of demand response into the book of limits.

The store says what was accepted; the book follows, and can be caught up at any time: after a crash between the two, or
while the journal could not be written.
"""

from sqlalchemy import Connection

from controller.demand_response import DemandEvent, bounds
from controller.limits.book import LimitsBook
from controller.limits.values import Envelope, Source, Standing
from controller.store import demand, registry
from controller.store.database import Database

SOURCE = "demand-response"


async def follow(database: Database, book: LimitsBook, now: float) -> int:
    """Let the book hold what is accepted, and nothing of what was taken back; returns how much had to be changed."""
    async with book.following:
        return await _follow(database, book, now)


async def _follow(database: Database, book: LimitsBook, now: float) -> int:
    changed = 0
    for microgrid, event, accepted_w, mtu_seconds in await database.read_async(_accepted, now):
        known = book.envelope(microgrid, _id(event, accepted_w))
        if event.cancelled:
            for envelope in book.envelopes(microgrid):
                active = book.standing(envelope)[0] is not Standing.CANCELLED
                if envelope.source == _source(event) and active:
                    await book.cancel(microgrid, envelope.id)
                    changed += 1
        elif accepted_w and known is None:
            await book.add(
                Envelope(
                    microgrid=microgrid,
                    id=_id(event, accepted_w),
                    source=_source(event),
                    target=event.target,
                    periods=bounds(event, accepted_w, mtu_seconds),
                    reason=event.reason,
                    created=event.created,
                )
            )
            changed += 1
    return changed


def _accepted(connection: Connection, now: float) -> list[tuple[str, DemandEvent, int, int]]:
    """All events that are not over, with what was accepted and the MTU's seconds."""
    found = []
    for microgrid, event in demand.unfinished(connection, now):
        known = registry.microgrid(connection, microgrid)
        accepted_w = sum(offer.accepted_w for offer in demand.offers(connection, microgrid, event.id))
        if known is not None:
            found.append((microgrid, event, accepted_w, known.mtu_seconds))
    return found


def _source(event: DemandEvent) -> Source:
    return Source(holder=SOURCE, name=event.id)


def _id(event: DemandEvent, accepted_w: int) -> str:
    """No DSO's envelope can be called so; more that is accepted supersedes what there was."""
    return f"{SOURCE}/{event.id}/{accepted_w}"
