"""What a coordinator and its peers say to each other.

No message holds a cost function, a preference, or what a store holds, loses and costs. Yet answers tell of them: each
says what one more kWh is worth to the peer, between which powers it could consume and what its stores would do; over
many rounds, at many prices, that draws the part of its costs through which the rounds pass. Of each other partners
learn only what is agreed on their own link and at which price; who coordinates hears all answers.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from optimization.community import Floats, PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """What a peer says before the first round; see ``opening.Hello``.

    Attributes
    ----------
    stiffness : a power of two, currency/kWh per kW; NaN of a peer that cannot move
    opening : (T,) currency/kWh; NaN of a peer that does not care
    """

    stiffness: float
    opening: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a peer is asked in a round.

    Its slots are its links in the order of its partners' names, its stores, one for each limit that it is under, and
    the stores once more, for what they themselves propose.

    Attributes
    ----------
    round : number, from 1
    agreed : (T, slots) kW, the mean of what both sides last proposed, in the direction of this side
    price : (T, slots) currency/kWh on which both sides' proposals have come to
    penalty : (slots,) currency/kWh per kW for moving away from what is agreed
    """

    round: int
    agreed: Floats
    price: Floats
    penalty: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a peer proposes in a round.

    Attributes
    ----------
    round : of the question
    proposed : (T, slots) kW, what the peer would buy over each link, and so on
    lowest, highest : (T,) kW between which the peer could consume in all, its stores as they now plan
    imported : (T,) kW from the grid, negative into it
    price : (T,) currency/kWh, what one more kWh is worth to the peer
    """

    round: int
    proposed: Floats
    lowest: Floats
    highest: Floats
    imported: Floats
    price: Floats


class Transport(Protocol):
    """Brings questions to peers and those answers back that arrive before the round's deadline."""

    def greet(self, peers: Collection[PeerId]) -> Mapping[PeerId, Greeting]:
        """What peers say before the first round; those whose greeting was lost are left out."""
        ...

    def ask(self, asks: Mapping[PeerId, Ask]) -> Mapping[PeerId, Answer]:
        """The answers of one round; late and lost ones are left out."""
        ...
