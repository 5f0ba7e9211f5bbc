"""Reading a case's links: pairs in a list, or in words."""

from typing import Any

import numpy as np

from controller.case.fields import check_fields, number, number_at
from controller.case.peers import Peers
from controller.demo.strict import Reader
from controller.errors import InputError
from optimization.market import Links

ALL_PAIRS = "all pairs"
CONSUMERS_AND_GENERATORS = "every consumer with every generator"
LINK = ("peers", "seller", "buyer", "preference", "network_charge", "capacity", "note", "source")

LARGEST_COUNT = 20_000_000
"""Of directed links: what words stand for grows with the square of the peers."""


def read_links(reader: Reader, peers: Peers, network_charge: float) -> Links:
    """The links of a case, each pair in both directions unless the file or a role forbids one.

    Parameters
    ----------
    reader : the list, or one of the two texts
    peers : all of them
    network_charge : currency per unit of energy of a link that does not state its own

    Raises
    ------
    InputError
        If a link is not one, joins a peer to itself or to an unknown one, or occurs twice.
    """
    match reader.value:
        case str():
            return _in_words(reader, peers, network_charge)
        case list():
            return _listed(reader, peers, network_charge)
        case _:
            raise reader.wrong(f"a list of pairs, {ALL_PAIRS!r} or {CONSUMERS_AND_GENERATORS!r}")


def _in_words(reader: Reader, peers: Peers, network_charge: float) -> Links:
    count = len(peers.index)
    consumers, generators = np.flatnonzero(peers.only_consumes), np.flatnonzero(peers.only_produces)
    if reader.value == ALL_PAIRS:
        pairs = count * (count - 1) // 2
    elif reader.value == CONSUMERS_AND_GENERATORS:
        pairs = consumers.size * generators.size
    else:
        raise reader.wrong(f"a list of pairs, {ALL_PAIRS!r} or {CONSUMERS_AND_GENERATORS!r}")
    if 2 * pairs > LARGEST_COUNT:
        raise InputError(
            f"{reader.place}: got {pairs} pairs from {reader.value!r}, wanted at most {LARGEST_COUNT // 2}: "
            "list the links that there are"
        )
    if reader.value == ALL_PAIRS:
        one, other = np.triu_indices(count, 1)
    else:
        one, other = np.repeat(consumers, generators.size), np.tile(generators, consumers.size)
        # A peer that can do neither is on both sides.
        one, other = one[one != other], other[one != other]
        key = np.unique(np.minimum(one, other) * count + np.maximum(one, other))
        one, other = key // count, key % count
    seller, buyer = np.concatenate([one, other]), np.concatenate([other, one])
    zero = np.zeros(seller.size)
    return _allowed(
        peers,
        Links(
            seller=seller,
            buyer=buyer,
            seller_preference=zero,
            buyer_preference=zero,
            network_charge=zero + network_charge,
            capacity=zero + np.inf,
        ),
    )


def _allowed(peers: Peers, links: Links) -> Links:
    """The links of which roles leave the seller to sell and the buyer to buy."""
    keep = ~peers.is_role("consumer")[links.seller] & ~peers.is_role("producer")[links.buyer]
    return Links(**{name: getattr(links, name)[keep] for name in Links.__dataclass_fields__})


Row = tuple[int, int, float, float, float, float]
"""Seller, buyer, their preferences, network charge, capacity."""


def _listed(reader: Reader, peers: Peers, network_charge: float) -> Links:
    index = peers.index
    plain: list[int] = []
    plain_origin: list[int] = []
    rows: list[Row] = []
    origin: list[int] = []
    for k, item in enumerate(reader.value):
        # Most lists hold nothing but pairs of known peers, millions of them: no place is worded for those.
        if type(item) is list and len(item) == 2 and type(item[0]) is type(item[1]) is str:
            one, other = index.get(item[0]), index.get(item[1])
            if one is not None and other is not None and one != other:
                plain += (one, other)
                plain_origin.append(k)
                continue
        read = _read_link(Reader(item, f"{reader.place}[{k}]"), peers, network_charge)
        rows += read
        origin += [k] * len(read)
    ends = np.array(plain, dtype=np.int64).reshape(-1, 2)
    ends = np.concatenate([ends, ends[:, ::-1]])
    costs = np.broadcast_to(np.array([0.0, 0.0, network_charge, np.inf]), (len(ends), 4))
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    seller, buyer = np.concatenate([ends, table[:, :2].astype(np.int64)]).T
    costs = np.concatenate([costs, table[:, 2:]])
    _refuse_twice(reader, peers, seller * len(index) + buyer, np.array([*plain_origin, *plain_origin, *origin]))
    names = ("seller_preference", "buyer_preference", "network_charge", "capacity")
    values: dict[str, Any] = {name: costs[:, k] for k, name in enumerate(names)}
    return _allowed(peers, Links(seller=seller, buyer=buyer, **values))


def _refuse_twice(reader: Reader, peers: Peers, key: Any, origin: Any) -> None:
    """Refuse a direction that two entries of the list state; the first of those that repeat one is named."""
    order = np.lexsort((origin, key))
    again = np.flatnonzero(key[order][1:] == key[order][:-1])
    if not again.size:
        return
    later = again[np.argmin(origin[order[again + 1]])]
    first, second = (int(origin[order[at]]) for at in (later, later + 1))
    s, b = divmod(int(key[order[later]]), len(peers.index))
    ids = peers.ids
    raise InputError(
        f"{reader.place}[{second}]: got the link of {ids[s]!r} and {ids[b]!r} again after {reader.place}[{first}], "
        "wanted every link once"
    )


def _read_link(reader: Reader, peers: Peers, network_charge: float) -> list[Row]:
    """One link in words of its own, or the complaint about a pair."""
    if isinstance(reader.value, list):
        ends = _ends(reader, peers)
        return [(*ends, 0.0, 0.0, network_charge, np.inf), (*ends[::-1], 0.0, 0.0, network_charge, np.inf)]
    check_fields(reader, LINK)
    directed = reader.has("seller") or reader.has("buyer")
    if directed == reader.has("peers"):
        raise reader.wrong("either peers, or seller and buyer")
    if directed:
        one, other = (_end(reader.field(side), peers) for side in ("seller", "buyer"))
        if one == other:
            raise reader.wrong("two different peers")
        for side, end, forbidden in (("seller", one, "consumer"), ("buyer", other, "producer")):
            if peers.role[end] == forbidden:
                raise InputError(f"{reader.place}.{side}: got a {forbidden}, wanted a peer whose role allows it")
    else:
        one, other = _ends(reader.field("peers"), peers)
    mine, theirs = _preferences(reader)
    charge = number_at(reader, "network_charge", network_charge, lower=0.0)
    unbounded = not reader.has("capacity") or reader.field("capacity").value is None
    capacity = np.inf if unbounded else number_at(reader, "capacity", lower=0.0)
    there = (one, other, mine, theirs, charge, capacity)
    return [there] if directed else [there, (other, one, theirs, mine, charge, capacity)]


def _preferences(reader: Reader) -> tuple[float, float]:
    """What each of the two peers, in the order in which the link names them, feels per unit of energy."""
    if not reader.has("preference"):
        return 0.0, 0.0
    field_ = reader.field("preference")
    if not isinstance(field_.value, list):
        both = number(field_, lower=0.0)
        return both, both
    sides = field_.items()
    if len(sides) != 2:
        raise field_.wrong("a number, or two, one for each side")
    return number(sides[0], lower=0.0), number(sides[1], lower=0.0)


def _ends(reader: Reader, peers: Peers) -> tuple[int, int]:
    ends = reader.items()
    if len(ends) != 2:
        raise reader.wrong("a pair of peers")
    one, other = (_end(end, peers) for end in ends)
    if one == other:
        raise reader.wrong("two different peers")
    return one, other


def _end(reader: Reader, peers: Peers) -> int:
    if not isinstance(reader.value, str) or reader.value not in peers.index:
        raise reader.wrong("the id of a peer")
    return peers.index[reader.value]
