"""Money over random settlements: ``pytest -m campaign`` tries 1,000,000, ``GRIDPACT_CAMPAIGN`` scales them.

Windows of one to four MTUs and one to six members who trade with each other and the grid, are metered as it comes, told
to do otherwise, receive uplifts and pay fees and taxes; a part of them by E x B.
"""

import os
from collections import Counter, defaultdict
from dataclasses import replace
from random import Random

import pytest

from controller.instructions import Cause, Instruction
from controller.ledger import Posting
from controller.microgrid import Microgrid, SettlementRule, SettlementTerms, TariffPeriod, Trade
from controller.settlement import Payment, settle

SETTLEMENTS = 1_000_000
BATCHES = 20
SCALE = float(os.environ.get("GRIDPACT_CAMPAIGN", "1"))
PEOPLE = ("ada", "bob", "eve", "kim", "lee", "zoe")
CAUSES = (
    (Cause.LIMIT, "dso:net"),
    (Cause.DEMAND_RESPONSE, "dso:other"),
    (Cause.DEMAND_RESPONSE, "aggregator:agg"),
    (Cause.CONTROLLER, "community"),
)
TARIFF_LIMIT = 10**6
ROUNDED = 2
"""Micro-currency a trade more or less may be rounded by, beside the imbalance."""


def size(random: Random, most: int) -> int:
    """Numbers of all magnitudes."""
    return random.randint(0, min(most, 10 ** random.randint(0, 13)))


def microgrid(random: Random, mtus: int) -> Microgrid:
    imported = random.randint(-TARIFF_LIMIT, TARIFF_LIMIT)
    exported = random.randint(-TARIFF_LIMIT, imported)
    plain = random.random() < 0.5
    terms = SettlementTerms(
        rule=SettlementRule.RECEIVED if random.random() < 0.2 else SettlementRule.CONTRACT,
        fee_micro_per_kwh=0 if plain else random.randint(0, 50_000),
        fee_micro_per_month=0 if plain else random.randint(0, 10**6),
        tax_ppm=0 if plain else random.randint(0, 10**6),
    )
    return Microgrid(
        id="village",
        time_zone="UTC",
        mtu_minutes=15,
        window_minutes=15 * mtus,
        lead_minutes=5,
        start=0,
        end=900 * mtus,
        network_charge_micro_per_kwh=random.choice((0, 5_000, 123_457)),
        currency="EUR",
        tariff=(
            TariffPeriod(
                start=0,
                end=900 * mtus,
                import_price_micro_per_kwh=imported,
                export_price_micro_per_kwh=exported,
            ),
        ),
        terms=terms,
    )


def trade(random: Random, parties: tuple[str, ...], mtus: int) -> Trade:
    seller, buyer = random.sample(parties, 2)
    return Trade(
        seller=seller,
        buyer=buyer,
        mtu_start=900 * random.randrange(mtus),
        energy_wh=1 + size(random, 10**7),
        price_micro_per_kwh=random.randint(-(10**6), 10**6),
    )


def instruction(random: Random, members: tuple[str, ...], mtus: int) -> Instruction:
    cause, payer = random.choice(CAUSES)
    field = random.choice(("energy_wh", "lower_wh", "upper_wh"))
    return Instruction(
        member=random.choice(members),
        mtu_start=900 * random.randrange(mtus),
        cause=cause,
        payer=payer,
        **{field: random.choice((-1, 1)) * size(random, 10**7)},
    )


def totals(postings: tuple[Posting, ...], trades: list[Trade]) -> Counter[tuple[object, ...]]:
    """The postings with trades in the place of their indices."""
    return Counter(
        (
            one.account,
            one.kind,
            trades[int(one.reference.removeprefix("trade "))] if one.reference.startswith("trade ") else one.reference,
            one.amount_micro,
        )
        for one in postings
    )


def bill(postings: tuple[Posting, ...], member: str) -> int:
    return -sum(one.amount_micro for one in postings if one.account == member)


def with_grid(grid: Microgrid, trades: list[Trade], member: str, mtu: int, position: int) -> list[Trade]:
    """The trades with neighbours, and what the grid sells to or buys from a member to bring it to a position."""
    rest = [one for one in trades if {one.seller, one.buyer} != {"grid", member} or one.mtu_start != mtu]
    left = position - sum(
        one.energy_wh * ((one.buyer == member) - (one.seller == member)) for one in rest if one.mtu_start == mtu
    )
    tariff = grid.prices(mtu)
    if not left:
        return rest
    sides = ("grid", member) if left > 0 else (member, "grid")
    price = tariff.import_price_micro_per_kwh if left > 0 else tariff.export_price_micro_per_kwh
    more = Trade(seller=sides[0], buyer=sides[1], mtu_start=mtu, energy_wh=abs(left), price_micro_per_kwh=price)
    return [*rest, more]


def look(random: Random) -> None:
    mtus, members = random.randint(1, 4), PEOPLE[: random.randint(1, len(PEOPLE))]
    grid = microgrid(random, mtus)
    trades = [trade(random, (*members, "grid"), mtus) for _ in range(random.randint(0, 8))]
    metered = {
        (member, 900 * k): random.choice((-1, 1)) * size(random, 10**7) for member in members for k in range(mtus)
    }
    uplifts = {member: random.randint(-1000, 1000) for member in members if random.random() < 0.2}
    told = [instruction(random, members, mtus) for _ in range(random.choice((0, 0, 1, 3)))]
    demand = (
        [Payment(dso="net", aggregator="agg", reference="e o 0", amount_micro=size(random, 10**9))]
        if random.random() < 0.2
        else []
    )
    postings = settle(grid, trades, metered, uplifts, demand, told, window="w")

    entries: defaultdict[tuple[str, str], int] = defaultdict(int)
    for one in postings:
        entries[one.kind, one.reference] += one.amount_micro
    assert not any(entries.values())

    shuffled = random.sample(trades, len(trades))
    places = random.sample(sorted(metered.items()), len(metered))
    again = settle(
        grid,
        shuffled,
        dict(places),
        dict(random.sample(sorted(uplifts.items()), len(uplifts))),
        demand,
        random.sample(told, len(told)),
        window="w",
    )
    assert totals(again, shuffled) == totals(postings, trades)

    member, mtu = random.choice(members), 900 * random.randrange(mtus)
    own = replace(grid, terms=replace(grid.terms, rule=SettlementRule.CONTRACT))
    energy = metered[member, mtu]
    wrong = energy + random.choice((-1, 1)) * (1 + size(random, 10**7))
    honest, other = (
        bill(settle(own, with_grid(own, trades, member, mtu, position), metered, uplifts, window="w"), member)
        for position in (energy, wrong)
    )
    assert honest <= other + ROUNDED


@pytest.mark.campaign
@pytest.mark.parametrize("batch", range(BATCHES))
def test_money_is_conserved_honesty_is_cheapest_and_no_order_matters(batch: int) -> None:
    for number in range(max(1, round(SETTLEMENTS * SCALE / BATCHES))):
        seed = f"{batch}/{number}"
        try:
            look(Random(seed))
        except Exception as err:
            raise AssertionError(f"settlement {seed}: {err}") from err


def test_a_few_random_settlements_hold() -> None:
    for number in range(200):
        look(Random(f"every/{number}"))
