"""Fees and taxes of a window: what members pay beside energy and network, as the microgrid's terms declare it."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from contracts.books import round_half_even
from controller.ledger import FEES_ACCOUNT, TAX_ACCOUNT, Posting, amount_micro, transfer
from controller.microgrid import Microgrid

PPM = 1_000_000
TAXED = frozenset({"TRADE", "IMBALANCE", "NETWORK_CHARGE", "FEE"})
"""What a member pays of these kinds is taxed."""
GIVEN_BACK = frozenset({"REFUND", "CORRECTION"})
"""What a member gets back of these kinds is not."""


def fees(microgrid: Microgrid, metered: Mapping[tuple[str, int], int]) -> list[Posting]:
    """What members pay the community's operator.

    For energy: what each took in the window's MTUs, MTUs in which it gave left out, divided once. For a month: of who
    is metered in the MTU in which the month begins, in the microgrid's time zone.
    """
    terms = microgrid.terms
    postings: list[Posting] = []
    if terms.fee_micro_per_kwh:
        taken: defaultdict[str, int] = defaultdict(int)
        for (member, _), energy in metered.items():
            taken[member] += max(0, energy)
        for member, energy in sorted(taken.items()):
            fee = amount_micro(energy, terms.fee_micro_per_kwh)
            postings += transfer(member, FEES_ACCOUNT, "FEE", f"{member} energy", fee)
    if terms.fee_micro_per_month:
        begun = {mtu: month_begun(microgrid, mtu) for mtu in {mtu for _, mtu in metered}}
        for mtu, member in sorted((mtu, member) for member, mtu in metered if begun[mtu]):
            reference = f"{member} {begun[mtu]}"
            postings += transfer(member, FEES_ACCOUNT, "FEE", reference, terms.fee_micro_per_month)
    return postings


def month_begun(microgrid: Microgrid, mtu: int) -> str:
    """The month, such as ``2026-03``, that begins in an MTU in the microgrid's time zone; empty where none does."""
    zone = ZoneInfo(microgrid.time_zone)
    before, last = (f"{datetime.fromtimestamp(at, zone):%Y-%m}" for at in (mtu - 1, mtu + microgrid.mtu_seconds - 1))
    return "" if before == last else last


def taxes(microgrid: Microgrid, postings: Iterable[Posting], members: Collection[str]) -> list[Posting]:
    """What each member pays in tax on the window's lines, less what it gets back of them; divided once."""
    ppm = microgrid.terms.tax_ppm
    if not ppm:
        return []
    base: defaultdict[str, int] = defaultdict(int)
    for posting in postings:
        amount = posting.amount_micro
        if (amount < 0 and posting.kind in TAXED) or (amount > 0 and posting.kind in GIVEN_BACK):
            base[posting.account] -= amount
    return [
        posting
        for member, amount in sorted(base.items())
        if member in members and amount > 0
        for posting in transfer(member, TAX_ACCOUNT, "TAX", f"{member} tax", round_half_even(amount * ppm, PPM))
    ]
