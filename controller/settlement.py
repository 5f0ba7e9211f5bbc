"""Who owes whom for a window: trades in full at their price, uplifts, then what was taken beyond or short of trades.

Shortage is bought at no less than the import price and the member's own sale prices, surplus sold at no more than the
export price and its own purchase prices, so that selling what one does not deliver never pays. What such a price
differs from the tariff goes to the community's account; the tariff's part goes to the grid.

Uplifts are those that the window's clearing committed to; all go through the community's account, which also bears what
the contributions do not cover.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from contracts.books import round_half_even
from controller.microgrid import GRID_ACCOUNT, Microgrid, Trade

DSO_ACCOUNT = "dso"
COMMUNITY_ACCOUNT = "community"
AGGREGATOR_ACCOUNT = "aggregator"
UPLIFT_REFERENCE = "uplift"
WH_PER_KWH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """One line of the ledger.

    Attributes
    ----------
    account : a member's id, ``grid``, ``dso``, ``community``, ``dso:{id}`` or ``aggregator:{id}``
    kind : TRADE, NETWORK_CHARGE, UPLIFT, IMBALANCE or DEMAND_RESPONSE
    reference : the trade's index, ``uplift``, member and MTU of an imbalance, or event, offer and MTU
    amount_micro : micro-currency; positive is received, negative is paid
    """

    account: str
    kind: str
    reference: str
    amount_micro: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """What a DSO owes an aggregator for an MTU of an offer; ``reference`` names them."""

    dso: str
    aggregator: str
    reference: str
    amount_micro: int


def settle(
    microgrid: Microgrid,
    trades: Sequence[Trade],
    metered: Mapping[tuple[str, int], int],
    uplift_micro: Mapping[str, int] | None = None,
    demand: Sequence[Payment] = (),
) -> tuple[Posting, ...]:
    """The postings of a window; they sum to zero.

    Parameters
    ----------
    microgrid : its tariff and network charge
    trades : in the order of their indices
    metered : Wh that each member took, by member and MTU; complete
    uplift_micro : what each member receives (positive) or contributes, by member; None where there are no uplifts
    demand : what DSOs pay for demand response
    """
    postings = [*pay_trades(microgrid, trades), *_pay_uplifts(uplift_micro or {})]
    for payment in demand:
        account = f"{AGGREGATOR_ACCOUNT}:{payment.aggregator}"
        payer = f"{DSO_ACCOUNT}:{payment.dso}"
        postings += _transfer(payer, account, "DEMAND_RESPONSE", payment.reference, payment.amount_micro)
    books = _Books.of(trades)
    for (member, mtu), energy in sorted(metered.items(), key=lambda item: (item[0][1], item[0][0])):
        postings += _pay_imbalance(microgrid, books, member, mtu, energy)
    return tuple(postings)


def pay_trades(microgrid: Microgrid, trades: Sequence[Trade]) -> list[Posting]:
    """The postings of trades alone, with the network charges on them."""
    return [posting for index, trade in enumerate(trades) for posting in _pay_trade(microgrid, index, trade)]


def amount_micro(energy_wh: int, price_micro_per_kwh: int) -> int:
    """Energy times price, divided once, halves to even."""
    return round_half_even(energy_wh * price_micro_per_kwh, WH_PER_KWH)


def _pay_trade(microgrid: Microgrid, index: int, trade: Trade) -> list[Posting]:
    reference = f"trade {index}"
    postings = _transfer(
        trade.buyer,
        trade.seller,
        "TRADE",
        reference,
        amount_micro(trade.energy_wh, trade.price_micro_per_kwh),
    )
    if GRID_ACCOUNT not in (trade.seller, trade.buyer):
        charge = amount_micro(trade.energy_wh, microgrid.network_charge_micro_per_kwh)
        postings += _transfer(trade.buyer, DSO_ACCOUNT, "NETWORK_CHARGE", reference, charge)
    return postings


def _pay_uplifts(uplift_micro: Mapping[str, int]) -> list[Posting]:
    """Contributions first, then what is received, each in order of the members."""
    given = [(member, -amount) for member, amount in sorted(uplift_micro.items()) if amount < 0]
    received = [(member, amount) for member, amount in sorted(uplift_micro.items()) if amount > 0]
    return [
        posting
        for payer, receiver, amount in (
            *((member, COMMUNITY_ACCOUNT, amount) for member, amount in given),
            *((COMMUNITY_ACCOUNT, member, amount) for member, amount in received),
        )
        for posting in _transfer(payer, receiver, "UPLIFT", UPLIFT_REFERENCE, amount)
    ]


@dataclass(frozen=True, slots=True)
class _Books:
    """Each member's net purchase, and the prices at which it sold and bought, by member and MTU."""

    position_wh: Mapping[tuple[str, int], int]
    sold_at: Mapping[tuple[str, int], list[int]]
    bought_at: Mapping[tuple[str, int], list[int]]

    @classmethod
    def of(cls, trades: Iterable[Trade]) -> "_Books":
        position: dict[tuple[str, int], int] = defaultdict(int)
        sold: dict[tuple[str, int], list[int]] = defaultdict(list)
        bought: dict[tuple[str, int], list[int]] = defaultdict(list)
        for trade in trades:
            position[trade.buyer, trade.mtu_start] += trade.energy_wh
            position[trade.seller, trade.mtu_start] -= trade.energy_wh
            sold[trade.seller, trade.mtu_start].append(trade.price_micro_per_kwh)
            bought[trade.buyer, trade.mtu_start].append(trade.price_micro_per_kwh)
        return cls(position, sold, bought)


def _pay_imbalance(microgrid: Microgrid, books: _Books, member: str, mtu: int, metered_wh: int) -> list[Posting]:
    imbalance = metered_wh - books.position_wh.get((member, mtu), 0)
    reference = f"{member} {mtu}"
    tariff = microgrid.prices(mtu)
    if imbalance > 0:
        base = amount_micro(imbalance, tariff.import_price_micro_per_kwh)
        price = max([tariff.import_price_micro_per_kwh, *books.sold_at.get((member, mtu), [])])
        paid = amount_micro(imbalance, price)
        return _transfer(member, GRID_ACCOUNT, "IMBALANCE", reference, base) + _transfer(
            member, COMMUNITY_ACCOUNT, "IMBALANCE", reference, paid - base
        )
    if imbalance < 0:
        base = amount_micro(-imbalance, tariff.export_price_micro_per_kwh)
        price = min([tariff.export_price_micro_per_kwh, *books.bought_at.get((member, mtu), [])])
        received = amount_micro(-imbalance, price)
        return _transfer(GRID_ACCOUNT, member, "IMBALANCE", reference, received) + _transfer(
            GRID_ACCOUNT, COMMUNITY_ACCOUNT, "IMBALANCE", reference, base - received
        )
    return []


def _transfer(payer: str, receiver: str, kind: str, reference: str, amount: int) -> list[Posting]:
    """Two postings that sum to zero; none for nothing."""
    if amount == 0:
        return []
    return [
        Posting(account=payer, kind=kind, reference=reference, amount_micro=-amount),
        Posting(account=receiver, kind=kind, reference=reference, amount_micro=amount),
    ]
