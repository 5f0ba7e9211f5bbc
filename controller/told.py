"""What members were told beside their trades, from what was kept of it: instructions for a settlement. Pure.

What the clamp held back for a DSO's limit that the window's clearing did not know is that DSO's to bear; what it held
back for one that the clearing knew, for a rating, or since somebody else deviated is the community's. What an offer of
demand response delivered, and is paid for, is its members', each in proportion to its own part: it is told as a bound,
so that a position that knew of the event already is not corrected by it once more; and no further than from what the
member was planned to take, or from its baseline, so that nobody has undone what it bought for the event.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from controller.demand_limits import SOURCE
from controller.demand_response import Delivery, DemandEvent, DemandOffer, Direction
from controller.instructions import Cause, Instruction
from controller.ledger import COMMUNITY_ACCOUNT, DSO_ACCOUNT, shared
from controller.limits.holding import HeldBack

W_MS_PER_WH = 3_600_000


def of_limits(
    held: Iterable[HeldBack], known: Collection[str], holders: Mapping[str, str], members: Collection[str]
) -> list[Instruction]:
    """What limits told members.

    Parameters
    ----------
    held : what they held back
    known : ids of the limits that the window was cleared under
    holders : of events of demand response, the DSO that asked, by the event's id
    members : whose positions count
    """
    found = []
    for one in held:
        if one.member not in members:
            continue
        cause, payer = _cause(one, known, holders)
        for energy_wh in (-(one.consumption_w_ms // W_MS_PER_WH), one.production_w_ms // W_MS_PER_WH):
            if energy_wh:
                found.append(
                    Instruction(
                        member=one.member, mtu_start=one.mtu_start, cause=cause, payer=payer, energy_wh=energy_wh
                    )
                )
    return found


def _cause(one: HeldBack, known: Collection[str], holders: Mapping[str, str]) -> tuple[Cause, str]:
    id_ = one.limit.rpartition("/envelopes/")[2]
    if one.holder == SOURCE:
        # Such an envelope is called after the event: demand-response/EVENT/ACCEPTED.
        asked = holders.get(id_.removeprefix(f"{SOURCE}/").rpartition("/")[0])
        return (Cause.CONTROLLER, COMMUNITY_ACCOUNT) if asked is None else (Cause.DEMAND_RESPONSE, _dso(asked))
    if not one.holder or id_ in known:
        return Cause.CONTROLLER, COMMUNITY_ACCOUNT
    return Cause.LIMIT, _dso(one.holder)


def _dso(holder: str) -> str:
    return f"{DSO_ACCOUNT}:{holder}"


def of_demand(
    event: DemandEvent,
    offer: DemandOffer,
    deliveries: Sequence[Delivery],
    metered: Mapping[tuple[str, int], int],
    *,
    mtu_seconds: int,
) -> list[Instruction]:
    """What an accepted offer of demand response told its members: the baseline less, or more, their parts of it.

    Parameters
    ----------
    event, offer : which
    deliveries : of this offer
    metered : Wh that each member took, by member and MTU
    mtu_seconds : the length of an MTU
    """
    sign = -1 if event.direction is Direction.REDUCE else 1
    found = []
    for one in deliveries:
        k = (one.mtu_start - event.start) // mtu_seconds
        members = sorted(member for member in offer.members if (member, one.mtu_start) in metered)
        own = [max(0, sign * (metered[member, one.mtu_start] - event.baseline[member][k])) for member in members]

        def tie(place: int, members: Sequence[str] = members, start: int = one.mtu_start) -> bytes:
            return f"{event.id} {offer.id} {start} {members[place]}".encode()

        for member, energy_wh in zip(members, shared(min(one.paid_wh, sum(own)), own, tie), strict=True):
            if energy_wh:
                bound = event.baseline[member][k] + sign * energy_wh
                planned = event.planned.get(member, event.baseline[member])[k]
                found.append(
                    Instruction(
                        member=member,
                        mtu_start=one.mtu_start,
                        cause=Cause.DEMAND_RESPONSE,
                        payer=_dso(event.holder),
                        upper_wh=bound if sign < 0 else None,
                        lower_wh=bound if sign > 0 else None,
                        most_wh=max(energy_wh, sign * (bound - planned)),
                    )
                )
    return found
