"""Where envelopes bind under given schedules."""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from optimization.community import Community, DeviceId, Envelope, Floats

NEAR = 0.005
"""Of a limit's size: what whole appliances leave unused of a limit that holds them back."""

NEAR_KW = 0.01


def binding(
    community: Community, device_kw: Mapping[DeviceId, Floats]
) -> Iterator[tuple[Envelope, npt.NDArray[np.bool_]]]:
    """Each envelope with the (T,) MTUs in which one of its bounds is reached, or all but."""
    net = {
        peer.id: np.sum([device_kw[device.id] for device in peer.devices], axis=0, initial=0.0)
        + np.zeros(community.horizon.mtus)
        for peer in community.peers
    }
    for envelope in community.envelopes:
        total = sum((net[peer] for peer in sorted(envelope.peers)), np.zeros(community.horizon.mtus))
        upper = np.maximum(NEAR_KW, NEAR * np.abs(np.where(np.isfinite(envelope.upper_kw), envelope.upper_kw, 0.0)))
        lower = np.maximum(NEAR_KW, NEAR * np.abs(np.where(np.isfinite(envelope.lower_kw), envelope.lower_kw, 0.0)))
        yield envelope, (total >= envelope.upper_kw - upper) | (total <= envelope.lower_kw + lower)
