"""What members said they would draw beside their devices: stands in for a meter that does not report live."""

from collections import defaultdict

from sqlalchemy import Connection

from controller.microgrid import ENDLESS
from controller.snapshot import Snapshot
from controller.store import adjustments, market, registry


class Forecasts:
    """The uncontrolled consumption that the newest snapshots foresaw, by microgrid, member and MTU."""

    def __init__(self) -> None:
        self._load_w: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
        self._mtu_s: dict[str, int] = {}
        self._most_w: dict[tuple[str, str], int] = {}

    def note(self, snapshot: Snapshot) -> None:
        """Remember a window's forecasts, and forget what is over."""
        microgrid = snapshot.microgrid
        self._mtu_s[microgrid.id] = microgrid.mtu_seconds
        # Gates may close long before their windows: until then, what was foreseen for others counts.
        over = snapshot.window.start - microgrid.lead_minutes * 60 - microgrid.mtu_seconds
        for member, order in snapshot.orders.items():
            known = self._load_w[microgrid.id, member]
            place = microgrid.id, member
            self._most_w[place] = max(order.load_w, default=self._most_w.get(place, 0))
            for past in [start for start in known if start < over]:
                del known[past]
            known.update(zip(snapshot.mtus(), order.load_w, strict=False))

    def restore(self, connection: Connection) -> None:
        """Take up what the newest snapshot of each microgrid foresaw."""
        for microgrid in registry.microgrid_ids(connection):
            last = market.newest_with(connection, microgrid, "snapshot", before=ENDLESS)
            before = None if last is None else market.newest_with(connection, microgrid, "snapshot", before=last.start)
            for row in (before, last):
                if row is not None:
                    self.note(Snapshot.from_json(row.snapshot or ""))
            adjusted = adjustments.newest_with(connection, microgrid, "snapshot", before=ENDLESS)
            if adjusted is not None:
                self.note(Snapshot.from_json(adjusted.snapshot or ""))

    def load_w(self, microgrid: str, member: str, instant: float) -> int | None:
        """What a member is expected to draw beside its devices; None where it never said.

        Where no forecast reaches, the most that its last one had: that time passes makes no room.
        """
        mtu = self._mtu_s.get(microgrid)
        if mtu is None:
            return None
        known = self._load_w[microgrid, member].get(int(instant) // mtu * mtu)
        return self._most_w.get((microgrid, member)) if known is None else known
