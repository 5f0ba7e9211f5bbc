"""Communities of a single peer, where what is left to see is what its devices do."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from optimization.community import Community, Device, Horizon, Peer, PeerId, SectionId, Tariff
from optimization.quantities import Floats


def lone_peer(
    *devices: Device,
    import_price: Sequence[float] | Floats,
    export_price: Sequence[float] | Floats,
    minutes: int = 60,
    day_starts: Sequence[int] = (),
    **more: Any,
) -> Community:
    """One peer with some devices; the horizon has as many MTUs as there are prices."""
    return Community(
        horizon=Horizon(mtus=len(import_price), mtu_minutes=minutes, day_starts=tuple(day_starts)),
        tariff=Tariff(import_price=np.array(import_price), export_price=np.array(export_price)),
        peers=(Peer(id=PeerId("ann"), section=SectionId("street"), devices=devices),),
        **more,
    )
