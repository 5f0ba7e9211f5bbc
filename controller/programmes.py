"""How far programmes have come, which follows which, and which can no longer be run."""

from collections.abc import Mapping

from controller.flexibility import Programme
from controller.microgrid import DeviceState
from controller.snapshot import Snapshot
from optimization.devices import Progress
from optimization.quantities import MAX_MTUS


def progress(programme: Programme, state: DeviceState | None, mtu_seconds: int) -> Progress | None:
    """How far a programme has come, by the time for which its relay has been closed; None where it has not begun."""
    if state is None or (state.task_closed_s == 0 and not state.closed):
        return None
    done = max(1, (state.task_closed_s + mtu_seconds // 2) // mtu_seconds)
    paused = 0 if state.closed or state.held_s is None else (state.held_s + mtu_seconds // 2) // mtu_seconds
    for number, phase in enumerate(programme.phases):
        length = len(phase.power_w)
        if done <= length:
            return Progress(phase=number, elapsed_mtus=done, paused_mtus=min(paused, MAX_MTUS) if done == length else 0)
        done -= length
    last = programme.phases[-1]
    return Progress(phase=len(programme.phases) - 1, elapsed_mtus=len(last.power_w), paused_mtus=min(paused, MAX_MTUS))


def finished(programme: Programme, known: Progress) -> bool:
    """Whether a programme that has come so far has ended."""
    last = len(programme.phases) - 1
    return known.phase == last and known.elapsed_mtus >= len(programme.phases[last].power_w)


def chained(programmes: Mapping[str, Programme], states: Mapping[str, DeviceState]) -> dict[str, str]:
    """Which programme each of a member's still waits for, by id.

    One that was begun waits no more. What follows something that is no programme, what another follows already, and
    what would close a ring, waits for nothing.
    """
    chains: dict[str, str] = {}
    for id_, programme in sorted(programmes.items()):
        before = programme.follows
        begun = (state := states.get(id_)) is not None and (state.task_closed_s > 0 or bool(state.closed))
        if begun or before is None or before not in programmes or before in chains.values():
            continue
        reached: str | None = before
        while reached is not None and reached != id_:
            reached = chains.get(reached)
        if reached is None:
            chains[id_] = before
    return chains


def unfit(snapshot: Snapshot, programmes: Mapping[str, Programme], chains: Mapping[str, str]) -> frozenset[str]:
    """The programmes of a member that have not begun and fit nowhere any more, or are for later windows to plan."""
    left_out: set[str] = set()
    ends: dict[str, tuple[int, int]] = {}

    def place(id_: str) -> None:
        """Note the first and the last MTU at which a programme can end; or that it cannot be run."""
        if id_ in ends or id_ in left_out:
            return
        programme = programmes[id_]
        known = progress(programme, snapshot.states.get(id_), snapshot.microgrid.mtu_seconds)
        if known is not None:
            ends[id_] = _ends_begun(snapshot, programme, known)
            return
        if deferred(snapshot, programme):
            left_out.add(id_)
            return
        mtu = snapshot.microgrid.mtu_seconds
        first, end = (
            -(-(programme.start - snapshot.window.start) // mtu),
            (programme.end - snapshot.window.start) // mtu,
        )
        first, end = max(first, 0), min(end, len(snapshot.mtus()))
        latest = end
        if id_ in chains:
            place(chains[id_])
            if chains[id_] in left_out:
                left_out.add(id_)
                return
            earliest_before, latest_before = ends[chains[id_]]
            first = max(first, earliest_before + programme.min_delay_s // mtu)
            if programme.max_delay_s is not None:
                latest = latest_before + programme.max_delay_s // mtu
        length = _length(snapshot, programme, 0)
        if first + length > end or first > latest:
            left_out.add(id_)
        else:
            ends[id_] = first + length, end

    for id_ in programmes:
        place(id_)
    return frozenset(left_out)


def deferred(snapshot: Snapshot, programme: Programme) -> bool:
    """Whether a programme that has not begun may end after the planning does, and a later window can still begin it."""
    microgrid = snapshot.microgrid
    if not microgrid.rolling or programme.end <= microgrid.end:
        return False
    return programme.end - _length(snapshot, programme, 0) * microgrid.mtu_seconds >= snapshot.window.end


def _length(snapshot: Snapshot, programme: Programme, first: int) -> int:
    """MTUs of the phases from one on, with the shortest pauses between them."""
    phases = programme.phases[first:]
    pauses = sum(phase.min_pause_s // snapshot.microgrid.mtu_seconds for phase in phases[1:])
    return sum(len(phase.power_w) for phase in phases) + pauses


def _ends_begun(snapshot: Snapshot, programme: Programme, known: Progress) -> tuple[int, int]:
    """The first and the last MTU at which a programme that was begun can end; not after now where it has."""
    if finished(programme, known):
        return -known.paused_mtus, -known.paused_mtus
    soonest = _length(snapshot, programme, known.phase) - known.elapsed_mtus - known.paused_mtus
    return soonest, len(snapshot.mtus())
