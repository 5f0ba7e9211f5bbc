"""What has to be known to take a limit while the database is stopped: microgrids, members, DSOs' keys; in memory."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection

from controller.errors import StoreError
from controller.microgrid import Device, Member, Microgrid, targets_of
from controller.store import registry
from controller.store.database import Database

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A registered key: its purpose, whose it is, and its 32 public bytes."""

    purpose: str
    holder: str
    public_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """What is registered of a microgrid.

    Attributes
    ----------
    microgrid : its calendar and tariff
    members, devices : in order of their ids
    keys : DSOs' signing keys, by key id
    gateways : by the id of a meter gateway of which a key is registered the meters that it reports; None for all
    """

    microgrid: Microgrid
    members: tuple[Member, ...]
    devices: tuple[Device, ...]
    keys: Mapping[str, SigningKey]
    gateways: Mapping[str, frozenset[str] | None] = field(default_factory=dict)

    def targets(self) -> frozenset[str]:
        """What can be limited: the connection point, the transformer, sections and members."""
        return targets_of(self.microgrid.name, self.members)


class Directory:
    """A copy of what is registered, renewed after each change.

    Parameters
    ----------
    database : where it is registered; read at the start and after changes alone
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, Registered] = {}
        self._refreshing = asyncio.Lock()
        self._stale: set[str] = set()
        self._renewing: set[asyncio.Task[None]] = set()

    def load(self) -> None:
        """Read all microgrids."""
        self._known = self._database.run(_read_all)

    def touch(self, microgrid: str) -> None:
        """One microgrid has changed: it is read again, whoever waits for that. Called on the loop's thread."""
        self._stale.add(microgrid)
        task = asyncio.get_running_loop().create_task(self._renew(microgrid))
        self._renewing.add(task)
        task.add_done_callback(self._renewing.discard)

    async def refresh(self, microgrid: str) -> None:
        """Wait until a microgrid is known as it was when it was touched last."""
        async with self._refreshing:  # else an older answer could take the place of a newer one
            if microgrid not in self._stale:
                return
            self._stale.discard(microgrid)
            try:
                found = await self._database.read_async(_read, microgrid)
            except BaseException:  # cancelled, too: it is as stale as it was
                self._stale.add(microgrid)
                raise
            if found is not None:
                self._known[microgrid] = found

    async def catch_up(self) -> None:
        """Read again what could not be read when it changed."""
        for microgrid in tuple(self._stale):
            await self._renew(microgrid)

    def close(self) -> None:
        """Read no more."""
        for task in tuple(self._renewing):
            task.cancel()

    async def _renew(self, microgrid: str) -> None:
        try:
            await self.refresh(microgrid)
        except StoreError as err:
            log.warning("limits: %s: what is registered cannot be read again yet: %s", microgrid, err)

    def microgrids(self) -> tuple[str, ...]:
        """All ids in order."""
        return tuple(sorted(self._known))

    def get(self, microgrid: str) -> Registered | None:
        """What is registered of a microgrid; None where there is none."""
        return self._known.get(microgrid)


def _read_all(connection: Connection) -> dict[str, Registered]:
    found = {id_: _read(connection, id_) for id_ in registry.microgrid_ids(connection)}
    return {id_: registered for id_, registered in found.items() if registered is not None}


def _read(connection: Connection, id_: str) -> Registered | None:
    microgrid = registry.microgrid(connection, id_)
    if microgrid is None:
        return None
    keys = registry.keys(connection, id_)
    return Registered(
        microgrid=microgrid,
        members=tuple(registry.members(connection, id_)),
        devices=tuple(registry.devices(connection, id_)),
        keys={
            row.key_id: SigningKey(purpose=row.purpose, holder=row.holder, public_key=row.public_key)
            for row in keys
            if row.purpose == "ENVELOPE"
        },
        gateways=registry.gateways(connection, id_),
    )
