"""What is, in figures: windows by state, anchors that wait, the newest clearing. For status and metrics."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from contracts.outbox import AnchorState
from controller.store import meter_events, registry, schema

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
    windows, devices, anchors = schema.windows, schema.devices, schema.anchors
    own = windows.c.microgrid == microgrid
    counts = connection.execute(select(windows.c.state, func.count()).where(own).group_by(windows.c.state))
    decided = connection.execute(
        select(windows.c.name).where(own, windows.c.state.in_(DECIDED)).order_by(windows.c.start.desc()).limit(1)
    )
    waiting = select(func.count()).select_from(anchors.join(windows, windows.c.name == anchors.c.window))
    pending = anchors.c.state.in_([AnchorState.PENDING.name, AnchorState.SENT.name])
    return MicrogridFigures(
        id=microgrid,
        windows={row[0]: row[1] for row in counts},
        devices=connection.execute(
            select(func.count()).select_from(devices).where(devices.c.microgrid == microgrid)
        ).scalar_one(),
        decided=decided.scalar(),
        next_start=connection.execute(select(func.min(windows.c.start)).where(own, windows.c.state == "OPEN")).scalar(),
        anchors_waiting=connection.execute(waiting.where(own, pending)).scalar_one(),
        losses_wh=meter_events.newest_losses(connection, microgrid),
        events_open=meter_events.count_open(connection, microgrid),
    )
