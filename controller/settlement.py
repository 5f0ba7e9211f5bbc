"""Who owes whom for a window: trades at their price, uplifts, then what was taken beyond or short of trades.

Shortage is bought at no less than the import price and the member's own sale prices, surplus sold at no more than the
export price and its own purchase prices, so that selling what one does not deliver never pays. What members were told
to take or to give is none of it: see ``instructions``. All members' imbalances of an MTU meet in the community's
account, which buys from the grid, or sells to it, no more than what is left of them: what netting earns is the
community's, and what rounding leaves goes to an account of its own.

Uplifts are those that the window's clearing committed to; all go through the community's account, which also bears what
the contributions do not cover.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from contracts.books import round_half_even
from controller.charges import fees, taxes
from controller.instructions import Corrected, Instruction, Undoing, by_place, corrected
from controller.ledger import (
    AGGREGATOR_ACCOUNT,
    COMMUNITY_ACCOUNT,
    DSO_ACCOUNT,
    ROUNDING_ACCOUNT,
    WH_PER_KWH,
    LedgerError,
    Posting,
    amount_micro,
    divided,
    require_energy,
    require_price,
    require_sound,
    shared,
    transfer,
)
from controller.microgrid import GRID_ACCOUNT, Microgrid, SettlementRule, Trade

UPLIFT_REFERENCE = "uplift"

Place = tuple[str, int]
"""A member's id and an MTU's start."""


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
    metered: Mapping[Place, int],
    uplift_micro: Mapping[str, int] | None = None,
    demand: Sequence[Payment] = (),
    instructions: Sequence[Instruction] = (),
    *,
    window: str = "",
) -> tuple[Posting, ...]:
    """The postings of a window; they sum to zero, in all and of each kind and reference.

    Parameters
    ----------
    microgrid : its tariff, network charge and terms
    trades : in the order of their indices
    metered : Wh that each member took, by member and MTU; complete
    uplift_micro : what each member receives (positive) or contributes, by member; None where there are no uplifts
    demand : what DSOs pay for demand response
    instructions : what members were told beside their trades
    window : the window's resource name, which varies who comes first where remainders tie

    Raises
    ------
    LedgerError
        If an energy, a price or an amount is beyond the ledger's bounds, or an account is none of its own.
    """
    _require_bounds(trades, metered)
    books = _Books.of(trades)
    told = by_place(instructions)
    imbalances = {
        place: _Imbalance.of(
            corrected(told.get(place, ()), books.position_wh.get(place, 0), energy), books, place, energy
        )
        for place, energy in sorted(metered.items(), key=lambda item: (item[0][1], item[0][0]))
    }
    withheld = [0] * len(trades)
    if microgrid.terms.rule is SettlementRule.RECEIVED:
        withheld = _withhold(trades, imbalances, window)
    postings = pay_trades(microgrid, trades, withheld, window=window)
    postings += _pay_uplifts(uplift_micro or {})
    for payment in demand:
        account = f"{AGGREGATOR_ACCOUNT}:{payment.aggregator}"
        payer = f"{DSO_ACCOUNT}:{payment.dso}"
        postings += transfer(payer, account, "DEMAND_RESPONSE", payment.reference, payment.amount_micro)
    netting: dict[int, _Netting] = {}
    for (member, mtu), imbalance in imbalances.items():
        net = netting.get(mtu)
        if net is None:
            net = netting[mtu] = _Netting(microgrid, mtu)
        net.pay(books, member, imbalance)
    for net in netting.values():
        postings += net.postings + net.with_grid()
    postings += fees(microgrid, metered)
    members = {member for member, _ in metered}
    postings += taxes(microgrid, postings, members)
    parties = {party for trade in trades for party in (trade.seller, trade.buyer)}
    require_sound(postings, members | parties | set(uplift_micro or ()))
    return tuple(postings)


def pay_trades(
    microgrid: Microgrid, trades: Sequence[Trade], withheld: Sequence[int] | None = None, *, window: str = ""
) -> list[Posting]:
    """The postings of trades alone, with the network charges on them.

    What a seller and a buyer trade is summed up exactly and divided once, then given to each trade by largest
    remainder; so are network charges, and what is refunded of trades of which energy was withheld.

    Parameters
    ----------
    microgrid : its network charge
    trades : in the order of their indices
    withheld : Wh of each that the buyer did not receive; None for nothing
    window : see ``settle``
    """
    pairs: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for index, trade in enumerate(trades):
        pairs[trade.seller, trade.buyer].append(index)
    paid, charged, refunded = ([0] * len(trades) for _ in range(3))
    charge = microgrid.network_charge_micro_per_kwh
    for pair, places in pairs.items():

        def tie(place: int, places: Sequence[int] = places) -> bytes:
            return _tie(window, trades[places[place]])

        own = [trades[place] for place in places]
        short = [0 if withheld is None else withheld[place] for place in places]
        for amounts, products in (
            (paid, [trade.energy_wh * trade.price_micro_per_kwh for trade in own]),
            (refunded, [part * trade.price_micro_per_kwh for trade, part in zip(own, short, strict=True)]),
            (charged, [(trade.energy_wh - part) * charge for trade, part in zip(own, short, strict=True)]),
        ):
            if amounts is charged and GRID_ACCOUNT in pair:
                continue
            for place, amount in zip(places, divided(products, tie), strict=True):
                amounts[place] = amount
    postings = []
    for index, trade in enumerate(trades):
        reference = f"trade {index}"
        postings += transfer(trade.buyer, trade.seller, "TRADE", reference, paid[index])
        postings += transfer(trade.seller, trade.buyer, "REFUND", reference, refunded[index])
        postings += transfer(trade.buyer, DSO_ACCOUNT, "NETWORK_CHARGE", reference, charged[index])
    return postings


def _tie(window: str, trade: Trade) -> bytes:
    what = f"{trade.mtu_start} {trade.price_micro_per_kwh} {trade.energy_wh}"
    return f"{window} {trade.seller} {trade.buyer} {what}".encode()


def _require_bounds(trades: Sequence[Trade], metered: Mapping[Place, int]) -> None:
    for index, trade in enumerate(trades):
        require_energy(f"trades[{index}].energy_wh", trade.energy_wh)
        require_price(f"trades[{index}].price_micro_per_kwh", trade.price_micro_per_kwh)
        if trade.energy_wh < 0:
            raise LedgerError(f"trades[{index}].energy_wh: got {trade.energy_wh} Wh, wanted none negative")
    for (member, mtu), energy in metered.items():
        require_energy(f"metered energy of {member} at {mtu}", energy)


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
        for posting in transfer(payer, receiver, "UPLIFT", UPLIFT_REFERENCE, amount)
    ]


@dataclass(frozen=True, slots=True)
class _Books:
    """Each member's net purchase, and what it sold and bought as (price, Wh), by member and MTU."""

    position_wh: Mapping[Place, int]
    sold: Mapping[Place, list[tuple[int, int]]]
    bought: Mapping[Place, list[tuple[int, int]]]

    @classmethod
    def of(cls, trades: Sequence[Trade]) -> "_Books":
        position: defaultdict[Place, int] = defaultdict(int)
        sold: defaultdict[Place, list[tuple[int, int]]] = defaultdict(list)
        bought: defaultdict[Place, list[tuple[int, int]]] = defaultdict(list)
        for trade in trades:
            position[trade.buyer, trade.mtu_start] += trade.energy_wh
            position[trade.seller, trade.mtu_start] -= trade.energy_wh
            sold[trade.seller, trade.mtu_start].append((trade.price_micro_per_kwh, trade.energy_wh))
            bought[trade.buyer, trade.mtu_start].append((trade.price_micro_per_kwh, trade.energy_wh))
        return cls(position, sold, bought)


@dataclass(slots=True)
class _Imbalance:
    """What a member took beyond its trades: the parts that it was told to, and the rest, its own."""

    parts: list[Corrected]
    own_wh: int

    @classmethod
    def of(cls, parts: list[Corrected], books: _Books, place: Place, metered_wh: int) -> "_Imbalance":
        imbalance = metered_wh - books.position_wh.get(place, 0)
        return cls(parts, imbalance - sum(part.energy_wh for part in parts))


def _withhold(trades: Sequence[Trade], imbalances: Mapping[Place, _Imbalance], window: str) -> list[int]:
    """Wh of each trade that its seller did not give, in proportion to its sales; the buyer is short of it instead."""
    sales: defaultdict[Place, list[int]] = defaultdict(list)
    for index, trade in enumerate(trades):
        sales[trade.seller, trade.mtu_start].append(index)
    # What everybody is short of is seen before anything is moved: who resells what it did not get is short itself.
    short = {place: imbalance.own_wh for place, imbalance in imbalances.items() if imbalance.own_wh > 0}
    withheld = [0] * len(trades)
    for place, own_wh in short.items():
        indices = sales.get(place, [])
        energies = [trades[index].energy_wh for index in indices]
        told = sum(part.energy_wh for part in imbalances[place].parts)
        part_wh = min(own_wh, max(0, sum(energies) - told))

        def tie(at: int, indices: Sequence[int] = indices) -> bytes:
            return _tie(window, trades[indices[at]])

        for index, energy in zip(indices, shared(part_wh, energies, tie), strict=True):
            withheld[index] = energy
            imbalances[place].own_wh -= energy
            if (buyer := imbalances.get((trades[index].buyer, place[1]))) is not None:
                buyer.own_wh += energy
    return withheld


@dataclass(slots=True)
class _Netting:
    """All imbalances of an MTU on their way through the community's account.

    Attributes
    ----------
    net_wh : what members took beyond their trades, all together
    received_micro : by the community so far
    exact : the same in thousandths, before anything was rounded
    """

    microgrid: Microgrid
    mtu: int
    net_wh: int = 0
    received_micro: int = 0
    exact: int = 0
    postings: list[Posting] = field(default_factory=list)
    import_price: int = field(init=False)
    export_price: int = field(init=False)

    def __post_init__(self) -> None:
        tariff = self.microgrid.prices(self.mtu)
        self.import_price, self.export_price = tariff.import_price_micro_per_kwh, tariff.export_price_micro_per_kwh
        require_price(f"import price at {self.mtu}", self.import_price)
        require_price(f"export price at {self.mtu}", self.export_price)

    def pay(self, books: _Books, member: str, imbalance: _Imbalance) -> None:
        """What a member owes for what it was told, and for its own imbalance."""
        place = member, self.mtu
        if imbalance.parts:
            self._correct(books, member, imbalance.parts)
        own = imbalance.own_wh
        self.net_wh += own
        if own > 0:
            price = max([self.import_price, *(price for price, _ in books.sold.get(place, ()))])
        elif own < 0:
            price = min([self.export_price, *(price for price, _ in books.bought.get(place, ()))])
        else:
            return
        amount = amount_micro(own, price)
        self.exact += own * price
        self.received_micro += amount
        self.postings += transfer(member, COMMUNITY_ACCOUNT, "IMBALANCE", f"{member} {self.mtu}", amount)

    def _correct(self, books: _Books, member: str, parts: Sequence[Corrected]) -> None:
        place = member, self.mtu
        less = parts[0].energy_wh < 0
        tariff = self.export_price if less else self.import_price
        trades = books.bought.get(place, ()) if less else books.sold.get(place, ())
        undoing = Undoing(sorted(trades, reverse=not less), tariff)
        for part in parts:
            self.net_wh += part.energy_wh
            energy = abs(part.energy_wh)
            # What the member receives, and what the energy is worth: both negative where it gave less and pays.
            product = undoing.take(energy) if less else -undoing.take(energy)
            worth = energy * tariff if less else -energy * tariff
            received = round_half_even(product, WH_PER_KWH)
            made_up = max(0, received - round_half_even(worth, WH_PER_KWH))
            self.exact -= product
            if part.payer != COMMUNITY_ACCOUNT:
                self.exact += max(0, product - worth)
            by_payer = 0 if part.payer == COMMUNITY_ACCOUNT else made_up
            self.received_micro += by_payer - received
            reference = f"{member} {self.mtu} {part.cause.value} {part.payer}"
            self.postings += [
                Posting(account=account, kind="CORRECTION", reference=reference, amount_micro=amount)
                for account, amount in (
                    (member, received),
                    (part.payer, -by_payer),
                    (COMMUNITY_ACCOUNT, by_payer - received),
                )
                if amount
            ]

    def with_grid(self) -> list[Posting]:
        """What the community buys from the grid, or sells to it, and what rounding left of all."""
        price = self.import_price if self.net_wh > 0 else self.export_price
        amount = amount_micro(self.net_wh, price)
        reference = f"net {self.mtu}"
        residual = self.received_micro - amount - round_half_even(self.exact - self.net_wh * price, WH_PER_KWH)
        return [
            *transfer(COMMUNITY_ACCOUNT, GRID_ACCOUNT, "IMBALANCE", reference, amount),
            *transfer(COMMUNITY_ACCOUNT, ROUNDING_ACCOUNT, "ROUNDING", reference, residual),
        ]
