"""The double-entry ledger: whose accounts there are, what a posting is, and how amounts are divided without loss.

Amounts are integer micro-currency. An amount is energy times price, multiplied in exact integers and divided once; what
a division leaves over goes to the largest remainders, ties to the smallest hash, so that neither a name nor a place in
a row is of any use. Where two sides are rounded each on its own, what lies between them has an account of its own.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from contracts.books import round_half_even
from contracts.hashing import keccak
from controller.errors import InputError
from controller.microgrid import GRID_ACCOUNT

DSO_ACCOUNT = "dso"
COMMUNITY_ACCOUNT = "community"
AGGREGATOR_ACCOUNT = "aggregator"
FEES_ACCOUNT = "fees"
TAX_ACCOUNT = "tax"
ROUNDING_ACCOUNT = "rounding"
RESERVED = frozenset(
    {
        GRID_ACCOUNT,
        DSO_ACCOUNT,
        COMMUNITY_ACCOUNT,
        AGGREGATOR_ACCOUNT,
        FEES_ACCOUNT,
        TAX_ACCOUNT,
        ROUNDING_ACCOUNT,
    }
)
"""Accounts that are nobody's; no member may be called so."""

FIRST_WORDS = frozenset({"net", "reverses", "trade"})
"""Words with which references begin: ``{member} {MTU}`` of a member called so would be read as another's."""

WH_PER_KWH = 1000
MAX_ENERGY_WH = 10**12
MAX_PRICE_MICRO_PER_KWH = 10**9
MAX_AMOUNT_MICRO = 10**18

_OF_IDENTITY = re.compile(rf"(?:{DSO_ACCOUNT}|{AGGREGATOR_ACCOUNT}):[a-z0-9/-]{{1,127}}")


class LedgerError(InputError):
    """What is to be posted is beyond the ledger's bounds; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """One line of the ledger.

    Attributes
    ----------
    account : a member's id, ``grid``, ``dso``, ``community``, ``fees``, ``tax``, ``rounding``, ``dso:{id}`` or
        ``aggregator:{id}``
    kind : see docs/formats.md
    reference : the trade's index, ``uplift``, member and MTU of an imbalance, or event, offer and MTU
    amount_micro : micro-currency; positive is received, negative is paid
    """

    account: str
    kind: str
    reference: str
    amount_micro: int


def transfer(payer: str, receiver: str, kind: str, reference: str, amount: int) -> list[Posting]:
    """Two postings that sum to zero; none for nothing, nor from an account to itself."""
    if amount == 0 or payer == receiver:
        return []
    return [
        Posting(account=payer, kind=kind, reference=reference, amount_micro=-amount),
        Posting(account=receiver, kind=kind, reference=reference, amount_micro=amount),
    ]


def amount_micro(energy_wh: int, price_micro_per_kwh: int) -> int:
    """Energy times price, divided once, halves to even."""
    return round_half_even(energy_wh * price_micro_per_kwh, WH_PER_KWH)


def divided(products: Sequence[int], tie: Callable[[int], bytes]) -> list[int]:
    """What products of Wh and price come to together, divided once, and given to each by largest remainder.

    Parameters
    ----------
    products : (n,) Wh times micro-currency per kWh
    tie : bytes that decide between equal remainders, of the place in ``products``; the smallest keccak comes first

    Returns
    -------
    (n,) micro-currency; sums to the sum of the products over 1000, halves to even, each less than one away from its own
    """
    if len(products) == 1:
        return [round_half_even(products[0], WH_PER_KWH)]
    parts = [divmod(product, WH_PER_KWH) for product in products]
    amounts = [whole for whole, _ in parts]
    more = round_half_even(sum(products), WH_PER_KWH) - sum(amounts)
    if more:
        for place in _first(more, [rest for _, rest in parts], tie):
            amounts[place] += 1
    return amounts


def shared(total: int, weights: Sequence[int], tie: Callable[[int], bytes]) -> list[int]:
    """A whole number divided in proportion to weights, by largest remainder; ties as in ``divided``.

    Parameters
    ----------
    total : not negative
    weights : (n,) none negative; not all zero unless the total is

    Returns
    -------
    (n,) sums to the total; none is more than its weight where the total is no more than all weights
    """
    sum_ = sum(weights)
    if not total:
        return [0] * len(weights)
    parts = [divmod(total * weight, sum_) for weight in weights]
    amounts = [whole for whole, _ in parts]
    if more := total - sum(amounts):
        for place in _first(more, [rest for _, rest in parts], tie):
            amounts[place] += 1
    return amounts


def _first(count: int, remainders: Sequence[int], tie: Callable[[int], bytes]) -> list[int]:
    """The places of the largest remainders; hashes are asked for only where they decide."""
    order = sorted(range(len(remainders)), key=lambda place: -remainders[place])
    if count < len(order) and remainders[order[count - 1]] == remainders[order[count]]:
        edge = remainders[order[count]]
        certain = [place for place in order if remainders[place] > edge]
        tied = sorted((place for place in order if remainders[place] == edge), key=lambda place: keccak(tie(place)))
        return certain + tied[: count - len(certain)]
    return order[:count]


def require_sound(postings: Iterable[Posting], members: Collection[str]) -> None:
    """Refuse postings that are not a ledger's.

    Raises
    ------
    LedgerError
        If an account is none of the vocabulary, an amount or an account's sum is beyond 1e18, or what belongs together
        does not sum to zero.
    """
    accounts: defaultdict[str, int] = defaultdict(int)
    entries: defaultdict[tuple[str, str], int] = defaultdict(int)
    for posting in postings:
        if abs(posting.amount_micro) > MAX_AMOUNT_MICRO:
            raise LedgerError(
                f"{posting.kind} {posting.reference}: got {posting.amount_micro} micro-currency of {posting.account}, "
                f"wanted at most {MAX_AMOUNT_MICRO} either way"
            )
        accounts[posting.account] += posting.amount_micro
        entries[posting.kind, posting.reference] += posting.amount_micro
    for account, amount in accounts.items():
        if account not in members and account not in RESERVED and not _OF_IDENTITY.fullmatch(account):
            raise LedgerError(f"account: got {account!r}, wanted a member or one of {', '.join(sorted(RESERVED))}")
        if abs(amount) > MAX_AMOUNT_MICRO:
            raise LedgerError(
                f"{account}: got {amount} micro-currency in all, wanted at most {MAX_AMOUNT_MICRO} either way"
            )
    for (kind, reference), amount in entries.items():
        if amount:
            raise LedgerError(f"{kind} {reference}: got a sum of {amount} micro-currency, wanted 0")


def require_energy(name: str, energy_wh: int) -> None:
    """Refuse an energy beyond the ledger's bounds by its name."""
    if type(energy_wh) is not int or abs(energy_wh) > MAX_ENERGY_WH:
        raise LedgerError(f"{name}: got {energy_wh} Wh, wanted a whole number, at most {MAX_ENERGY_WH} either way")


def require_price(name: str, price_micro_per_kwh: int) -> None:
    """Refuse a price beyond the ledger's bounds by its name."""
    if type(price_micro_per_kwh) is not int or abs(price_micro_per_kwh) > MAX_PRICE_MICRO_PER_KWH:
        raise LedgerError(
            f"{name}: got {price_micro_per_kwh} micro-currency/kWh, wanted a whole number, "
            f"at most {MAX_PRICE_MICRO_PER_KWH} either way"
        )
