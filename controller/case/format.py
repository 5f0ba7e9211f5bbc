"""A market case as values: a market without fees, how its file counts, and the answers that it brings along."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from optimization.market import Market

WATTS: Mapping[str, int] = MappingProxyType({"W": 1, "kW": 10**3, "MW": 10**6, "GW": 10**9})
"""The units of power that a case may count in."""

BILATERAL = "bilateral"
"""The design that a case's answers belong to unless they say otherwise."""

Answers = Mapping[str, float | list[float] | Mapping[str, float | list[float] | Mapping[str, float | list[float]]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Answers that a case brings along, and the scenario that they belong to.

    Attributes
    ----------
    fee_per_side : currency/kWh
    link_limit : the capacity that every link is given; infinity for none
    market : name of the design
    answers : by name, as ``docs/cases.md`` lists them; powers in the case's own sign
    """

    fee_per_side: float
    link_limit: float
    market: str
    answers: Answers

    def belongs_to(self, *, fee_per_side: float, link_limit: float, market: str) -> bool:
        """Whether these are answers to this scenario."""
        return (self.fee_per_side, self.link_limit, self.market) == (fee_per_side, link_limit, market)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One market case.

    Attributes
    ----------
    name : as the file gives it
    unit : of power, a key of ``WATTS``; energies are in this unit times an hour
    price_unit : of prices, for people; empty where the file says none
    injection : whether the file counts power into the market as positive, as published cases do
    market : consumption positive, without the fee
    constant : currency; part of the cost that no decision changes
    fee_per_side : currency per unit of energy that each side of a trade pays unless the caller says otherwise
    expected : answers to compare with
    """

    name: str
    unit: str
    injection: bool
    market: Market
    constant: float
    fee_per_side: float
    expected: tuple[Expected, ...]
    price_unit: str = ""

    @property
    def sign(self) -> int:
        """What turns a power of the market into one of the file, and back."""
        return -1 if self.injection else 1

    def scenario(self, *, fee_per_side: float, link_limit: float) -> Market:
        """The market with this fee on each side of every link, and no link above this power."""
        links = self.market.links
        return replace(
            self.market,
            links=replace(
                links,
                seller_preference=links.seller_preference + fee_per_side,
                buyer_preference=links.buyer_preference + fee_per_side,
                capacity=np.minimum(links.capacity, link_limit),
            ),
        )
