"""Reading who may sell to whom: a list of links, or all pairs at the same costs."""

from collections.abc import Iterable
from itertools import permutations
from typing import TypedDict, cast

from controller.case.fields import check_fields
from controller.demo.strict import Reader
from controller.errors import InputError
from optimization.community import Link, Peer, PeerId
from optimization.errors import ProblemError
from optimization.quantities import MAX_MAGNITUDE

COSTS = ("seller_preference", "buyer_preference", "network_charge")
LINK = ("seller", "buyer", "peers", *COSTS)
COMPACT = ("all_pairs", "same_section")

MOST_LINKS = 2_000_000


def read_links(reader: Reader, peers: tuple[Peer, ...]) -> tuple[Link, ...]:
    """The links that stand here.

    Raises
    ------
    InputError
        If a link names no peer, or one twice, or a cost is out of bounds, or there are absurdly many.
    """
    links = tuple(_links(reader, peers))
    if len({(link.seller, link.buyer) for link in links}) < len(links):
        seen = set()
        for link in links:
            if (pair := (link.seller, link.buyer)) in seen:
                raise InputError(
                    f"{reader.place}: got {pair[0]} -> {pair[1]} a second time, wanted each direction once"
                )
            seen.add(pair)
    return links


def _links(reader: Reader, peers: tuple[Peer, ...]) -> Iterable[Link]:
    if isinstance(reader.value, list):
        if len(reader.value) > MOST_LINKS:
            raise InputError(f"{reader.place}: got {len(reader.value)} links, wanted at most {MOST_LINKS}")
        known = {peer.id for peer in peers}
        return [link for item in reader.items() for link in _stated(item, known)]
    check_fields(reader, COMPACT)
    if len(reader.entries()) != 1:
        raise reader.wrong(f"a list of links, or one of {', '.join(COMPACT)}")
    (name, field), *_ = reader.entries().items()
    check_fields(field, COSTS)
    groups: dict[str, list[PeerId]] = {}
    for peer in peers:
        groups.setdefault("" if name == "all_pairs" else peer.section, []).append(peer.id)
    pairs = sum(len(group) * (len(group) - 1) for group in groups.values())
    if pairs > MOST_LINKS:
        raise InputError(f"{field.place}: got {pairs} links, wanted at most {MOST_LINKS}")
    costs = _costs(field)
    return [
        Link(seller=seller, buyer=buyer, **costs)
        for group in groups.values()
        for seller, buyer in permutations(group, 2)
    ]


def _stated(reader: Reader, known: set[PeerId]) -> list[Link]:
    check_fields(reader, LINK)
    if reader.has("peers"):
        if reader.has("seller") or reader.has("buyer"):
            raise InputError(f"{reader.place}: got 'peers' beside 'seller' or 'buyer', wanted one or the other")
        ends = reader.field("peers").items()
        if len(ends) != 2:
            raise reader.field("peers").wrong("two peers")
    else:
        ends = [reader.field("seller"), reader.field("buyer")]
    for end in ends:
        if end.text() not in known:
            raise end.wrong("the id of a peer")
    one, other = (PeerId(end.text()) for end in ends)
    costs = _costs(reader)
    try:
        there = Link(seller=one, buyer=other, **costs)
        return [there, Link(seller=other, buyer=one, **costs)] if reader.has("peers") else [there]
    except ProblemError as err:
        raise InputError(f"{reader.place}: {err}") from err


class _Costs(TypedDict, total=False):
    """What a link may say that it costs, currency/kWh."""

    seller_preference: float
    buyer_preference: float
    network_charge: float


def _costs(reader: Reader) -> _Costs:
    costs = {name: reader.field(name).number(upper=MAX_MAGNITUDE) for name in COSTS if reader.has(name)}
    return cast("_Costs", costs)
