"""Trades that the DSO forbids for a while, and which links that leaves."""

from dataclasses import dataclass
from enum import Enum

from controller.microgrid import Member


class VetoState(Enum):
    """Whether a veto counts."""

    ACTIVE = "ACTIVE"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Veto:
    """A veto; one of member, section, and seller with buyer is given.

    Attributes
    ----------
    id : within the microgrid
    member : no trades of this one with neighbours
    section : no trades in which a member of this section sells or buys
    seller, buyer : no trades from one to the other
    start, end : Unix seconds, half-open
    reason : why, for the members concerned
    digest : SHA-256 of what was signed, hex
    """

    id: str
    member: str | None = None
    section: str | None = None
    seller: str | None = None
    buyer: str | None = None
    start: int
    end: int
    reason: str
    digest: str

    def forbids(self, seller: Member, buyer: Member) -> bool:
        """Whether one may not sell to the other."""
        return (
            self.member in {seller.id, buyer.id}
            or self.section in {seller.section, buyer.section}
            or (self.seller, self.buyer) == (seller.id, buyer.id)
        )

    def concerns(self, member: Member) -> bool:
        """Whether a member is told of it."""
        return member.id in {self.member, self.seller, self.buyer} or member.section == self.section

    def overlaps(self, start: int, end: int) -> bool:
        """Whether it holds somewhere in ``[start, end)``."""
        return self.start < end and start < self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class VetoRecord:
    """A veto as it is held.

    Attributes
    ----------
    veto, state : what, and whether it counts
    created : Unix seconds
    holder : the id of the DSO who made it
    payload, signature, key_id : as it was signed
    """

    veto: Veto
    state: VetoState
    created: int
    holder: str
    payload: bytes
    signature: bytes
    key_id: str
