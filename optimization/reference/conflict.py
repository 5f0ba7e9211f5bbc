"""Why envelopes and devices conflict, as far as single MTUs show it."""

import numpy as np

from optimization.community import Community, Envelope, Floats
from optimization.reach import least_and_most_kw

NAMED = 5
ONLY_TOGETHER = "the envelopes cannot be kept over the whole horizon, though in each MTU alone they could"
"""What is said where single MTUs do not show the conflict."""


def bounds_kw(community: Community, envelope: Envelope) -> tuple[Floats, Floats]:
    """(T,) and (T,) kW that the peers of an envelope consume at least and at most, each MTU by itself."""
    least, most = np.zeros(community.horizon.mtus), np.zeros(community.horizon.mtus)
    for peer, device in community.devices():
        if peer.id in envelope.peers:
            low, high = least_and_most_kw(device, community.horizon)
            least, most = least + low, most + high
    return least, most


def conflict(community: Community) -> str:
    """The MTUs in which even the least possible consumption breaks an upper bound, or the most a lower one."""
    conflicts = []
    for envelope in community.envelopes:
        low, high = bounds_kw(community, envelope)
        for t in np.flatnonzero(low > envelope.upper_kw):
            conflicts.append(f"{envelope.name} MTU {t}: at least {low[t]:.3f} kW, allowed {envelope.upper_kw[t]:.3f}")
        for t in np.flatnonzero(high < envelope.lower_kw):
            conflicts.append(f"{envelope.name} MTU {t}: at most {high[t]:.3f} kW, wanted {envelope.lower_kw[t]:.3f}")
    if conflicts:
        more = len(conflicts) - NAMED
        return "; ".join(conflicts[:NAMED]) + (f"; and {more} more" if more > 0 else "")
    return ONLY_TOGETHER
