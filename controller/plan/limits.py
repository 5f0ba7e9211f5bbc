"""Where envelopes bind under given schedules."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimization.community import Community, DeviceId, Envelope, Floats

NEAR = 0.005
"""Of a limit's size: what whole appliances leave unused of a limit that holds them back."""

NEAR_KW = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What some schedules leave of an envelope.

    Attributes
    ----------
    envelope : the limit
    above_kw : (T,) kW that could be consumed in addition; infinity without a bound, negative where it is exceeded
    below_kw : (T,) kW that could be consumed less, or produced more
    near_above_kw, near_below_kw : (T,) kW of room that count as none
    """

    envelope: Envelope
    above_kw: Floats
    below_kw: Floats
    near_above_kw: Floats
    near_below_kw: Floats

    @property
    def full(self) -> npt.NDArray[np.bool_]:
        """(T,) whether no more can be consumed."""
        return np.asarray(self.above_kw <= self.near_above_kw)

    @property
    def drained(self) -> npt.NDArray[np.bool_]:
        """(T,) whether no more can be produced."""
        return np.asarray(self.below_kw <= self.near_below_kw)


def rooms(community: Community, device_kw: Mapping[DeviceId, Floats]) -> Iterator[Room]:
    """What given schedules leave of each envelope."""
    net = {
        peer.id: np.sum([device_kw[device.id] for device in peer.devices], axis=0, initial=0.0)
        + np.zeros(community.horizon.mtus)
        for peer in community.peers
    }
    for envelope in community.envelopes:
        total = sum((net[peer] for peer in sorted(envelope.peers)), np.zeros(community.horizon.mtus))
        yield Room(
            envelope=envelope,
            above_kw=envelope.upper_kw - total,
            below_kw=total - envelope.lower_kw,
            near_above_kw=_near(envelope.upper_kw),
            near_below_kw=_near(envelope.lower_kw),
        )


def binding(
    community: Community, device_kw: Mapping[DeviceId, Floats]
) -> Iterator[tuple[Envelope, npt.NDArray[np.bool_]]]:
    """Each envelope with the (T,) MTUs in which one of its bounds is reached, or all but."""
    for room in rooms(community, device_kw):
        yield room.envelope, room.full | room.drained


def _near(bound_kw: Floats) -> Floats:
    return np.maximum(NEAR_KW, NEAR * np.abs(np.where(np.isfinite(bound_kw), bound_kw, 0.0)))
