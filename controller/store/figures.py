"""What is, in figures: windows by state, anchors that wait, the newest clearing. For status and metrics."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from contracts.outbox import AnchorState
from controller.store import meter_events, registry, schema
from controller.store.batches import BATCH

DECIDED = ("CLEARED", "DELIVERING", "METERED", "SETTLED", "ANCHORED", "FAILED")


@dataclass(frozen=True, slots=True, kw_only=True)
class MicrogridFigures:
    """One microgrid's figures.

    Attributes
    ----------
    id : of the microgrid
    windows : how many are in each state
    devices : how many are registered
    decided : the newest window that was cleared or failed; None before there is one
    next_start : start of the next window whose gate is open, Unix seconds; None where there is none
    anchors_waiting : header hashes that the chain does not hold yet
    losses_wh : what feeders took beyond their members in the newest window that their meters were added up in, by place
    events_open : meter events that the operator may decide about, and has not
    """

    id: str
    windows: Mapping[str, int]
    devices: int
    decided: str | None
    next_start: int | None
    anchors_waiting: int
    losses_wh: Mapping[str, int]
    events_open: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures of all microgrids.

    Attributes
    ----------
    microgrids : in order of their ids
    """

    microgrids: tuple[MicrogridFigures, ...]


def figures(connection: Connection) -> Figures:
    """The figures of this moment."""
    return Figures(microgrids=tuple(microgrid_figures(connection, id_) for id_ in registry.microgrid_ids(connection)))


def microgrid_figures(connection: Connection, microgrid: str) -> MicrogridFigures:
    """The figures of one microgrid."""
    windows, devices = schema.windows, schema.devices
    own = windows.c.microgrid == microgrid
    counts = connection.execute(select(windows.c.state, func.count()).where(own).group_by(windows.c.state))
    decided = connection.execute(
        select(windows.c.name).where(own, windows.c.state.in_(DECIDED)).order_by(windows.c.start.desc()).limit(1)
    )
    return MicrogridFigures(
        id=microgrid,
        windows={row[0]: row[1] for row in counts},
        devices=connection.execute(
            select(func.count()).select_from(devices).where(devices.c.microgrid == microgrid)
        ).scalar_one(),
        decided=decided.scalar(),
        next_start=connection.execute(select(func.min(windows.c.start)).where(own, windows.c.state == "OPEN")).scalar(),
        anchors_waiting=_anchors_waiting(connection, microgrid),
        losses_wh=meter_events.newest_losses(connection, microgrid),
        events_open=meter_events.count_open(connection, microgrid),
    )


def _anchors_waiting(connection: Connection, microgrid: str) -> int:
    """Headers that are in no batch yet, or in one that the chain does not hold: they are behind all others."""
    headers, made, outbox = schema.headers, schema.batches, schema.outbox
    held = connection.execute(
        select(func.max(made.c.first + made.c["count"]))
        .join(
            outbox,
            (outbox.c.kind == BATCH)
            & (outbox.c.microgrid == made.c.microgrid)
            & (outbox.c.number == made.c.number)
            & outbox.c.state.in_([AnchorState.INCLUDED.name, AnchorState.FINAL.name]),
        )
        .where(made.c.microgrid == microgrid)
    ).scalar()
    count = connection.execute(
        select(func.count()).select_from(headers).where(headers.c.microgrid == microgrid)
    ).scalar_one()
    return int(count) - int(held or 0)
