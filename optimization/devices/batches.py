"""All devices of a community in batches, a kind each, ready to be asked for their cheapest schedules."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from optimization.community import Community
from optimization.devices import (
    Battery,
    Curtailable,
    Device,
    ElectricVehicle,
    FixedLoad,
    Generator,
    Interruptible,
    Programme,
    Thermostatic,
)
from optimization.devices.commitments import Generators, Interruptibles
from optimization.devices.oracle import Batch, Integers
from optimization.devices.passive import Curtailables, FixedLoads
from optimization.devices.programmes import Programmes
from optimization.devices.stores import Batteries, Modulating, Vehicles
from optimization.devices.thermostats import Switched
from optimization.quantities import Horizon

D = TypeVar("D", bound=Device)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """A batch and where its devices stand in the community.

    Attributes
    ----------
    batch : B blocks with R devices
    rows : (R,) index of each device of the batch in the order of ``community.devices()``
    peer : (B,) index of the peer whose devices each block holds
    """

    batch: Batch
    rows: Integers
    peer: Integers


def batches(community: Community) -> tuple[Blocks, ...]:
    """The community's devices, each in one batch, the kinds always in the same order."""
    owned = list(community.devices())
    row = {device.id: index for index, (_, device) in enumerate(owned)}
    peers = {peer.id: index for index, peer in enumerate(community.peers)}
    owner = np.array([peers[peer.id] for peer, _ in owned], dtype=np.int64)
    found = []
    for batch in group([device for _, device in owned], community.horizon, community.shortfall_price):
        rows = np.array([row[device.id] for device in batch.devices], dtype=np.int64)
        heads = np.unique(batch.block, return_index=True)[1]
        found.append(Blocks(batch=batch, rows=rows, peer=owner[rows[heads]]))
    return tuple(found)


def group(devices: Sequence[Device], horizon: Horizon, shortfall_price: float) -> tuple[Batch, ...]:
    """Batches of any devices, one for each kind that there is.

    Parameters
    ----------
    devices : in any order; programmes together with those that they follow
    shortfall_price : currency per kWh that a task falls short

    Raises
    ------
    ProblemError
        If a programme follows another that is not among the devices.
    """
    thermostats = _those(devices, Thermostatic)
    return (
        *_batch(FixedLoads.of, _those(devices, FixedLoad), horizon, shortfall_price),
        *_batch(Curtailables.of, _those(devices, Curtailable), horizon, shortfall_price),
        *_batch(Generators.of, _those(devices, Generator), horizon, shortfall_price),
        *_batch(Batteries.of, _those(devices, Battery), horizon, shortfall_price),
        *_batch(Vehicles.of, _those(devices, ElectricVehicle), horizon, shortfall_price),
        *_batch(Programmes.of, _those(devices, Programme), horizon, shortfall_price),
        *_batch(Interruptibles.of, _those(devices, Interruptible), horizon, shortfall_price),
        *_batch(Switched.of, [d for d in thermostats if not d.modulating], horizon, shortfall_price),
        *_batch(Modulating.of, [d for d in thermostats if d.modulating], horizon, shortfall_price),
    )


def _those(devices: Sequence[Device], kind: type[D]) -> list[D]:
    return [device for device in devices if isinstance(device, kind)]


def _batch(
    of: Callable[[Sequence[D], Horizon, float], Batch], devices: Sequence[D], horizon: Horizon, shortfall_price: float
) -> tuple[Batch, ...]:
    return (of(devices, horizon, shortfall_price),) if devices else ()
