"""What members would have done: cleared positions, and the newest clearing's plan beyond them."""

import json
from collections.abc import Sequence

from sqlalchemy import Connection

from contracts.books import round_half_even
from controller.microgrid import Microgrid
from controller.snapshot import Snapshot
from controller.store import market
from controller.store.market import WindowRow

SECONDS_PER_HOUR = 3600


def baseline(
    connection: Connection, microgrid: Microgrid, members: Sequence[str], start: int, end: int
) -> dict[str, tuple[int, ...]] | int:
    """Wh of each member in each MTU of ``[start, end)``, as known at this moment; or an MTU that nobody planned."""
    known = {
        (row.member, row.mtu_start): row.net_wh
        for row in market.positions_between(connection, microgrid.id, start, end)
    }
    newest = market.newest_with(connection, microgrid.id, "plan", before=end)
    planned = {} if newest is None else _planned(newest, members, microgrid.mtu_seconds)
    mtus = microgrid.mtus(start, end)
    found: dict[str, tuple[int, ...]] = {}
    for member in members:
        series = []
        for mtu in mtus:
            energy = known.get((member, mtu), planned.get((member, mtu)))
            if energy is None:
                return mtu
            series.append(energy)
        found[member] = tuple(series)
    return found


def _planned(row: WindowRow, members: Sequence[str], mtu_seconds: int) -> dict[tuple[str, int], int]:
    """Wh of each member and MTU in the plan that a window's clearing made, by its loads and devices."""
    plan = json.loads(row.plan or "")
    snapshot = Snapshot.from_json(row.snapshot or "")
    present = {member.id for member in snapshot.members}
    found = {}
    for member in members:
        if member not in present:
            continue
        order = snapshot.orders.get(member)
        own = [series for device, series in plan["power_w"].items() if device.partition("/")[0] == member]
        for k in range(len(plan["net_w"])):
            power_w = (order.load_w[k] if order else 0) + sum(series[k] for series in own)
            found[member, plan["start"] + k * mtu_seconds] = round_half_even(power_w * mtu_seconds, SECONDS_PER_HOUR)
    return found
