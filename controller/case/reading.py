"""Reading a case from a file, or from standard input; every complaint says where, what and what was wanted."""

import sys
from pathlib import Path

import numpy as np

from contracts.errors import EvidenceError
from contracts.strict_json import parse
from controller.case.expected import read_expected
from controller.case.fields import check_fields, name_of, number_at
from controller.case.format import WATTS, Case
from controller.case.links import read_links
from controller.case.peers import GRID, LIMIT, Peers
from controller.demo.strict import Reader
from controller.errors import InputError
from optimization.community import MAX_MTUS
from optimization.errors import ProblemError
from optimization.market import Limit, Market

CASE = (
    *("name", "source", "note", "computed", "units", "sign", "horizon", "peers", "links", "network_charge"),
    *("grid", "limits", "fee_per_side", "expected"),
)
HORIZON = ("mtus", "mtu_minutes")
MTU_MINUTES = (5, 15, 30, 60)
SIGNS = ("injection", "consumption")
STANDARD_INPUT = "-"


def read_case(source: str, name: str | None = None) -> Case:
    """One case of a file.

    Parameters
    ----------
    source : path of a JSON file that holds a case or a list of cases; ``-`` for standard input
    name : which of several; None where there is one

    Raises
    ------
    InputError
        If the file cannot be read, is no JSON, holds no case or none of this name, or the case breaks a rule.
    """
    reader = _chosen(_root(source), name)
    check_fields(reader, CASE)
    try:
        return _case(reader)
    except ProblemError as err:
        raise InputError(f"{reader.place}: {err}") from err


def _root(source: str) -> Reader:
    if source != STANDARD_INPUT:
        return Reader.of_file(Path(source))
    if sys.stdin is None:
        raise InputError("standard input: got none, wanted a case")
    try:
        return Reader(parse(sys.stdin.read()), "standard input")
    except (EvidenceError, UnicodeDecodeError) as err:
        raise InputError(f"standard input: {err}") from err


def _chosen(root: Reader, name: str | None) -> Reader:
    if not isinstance(root.value, list):
        if name is not None and root.entries() and root.field("name").value != name:
            raise InputError(f"{root.place}: got no case {name!r}, wanted {root.field('name').value!r}")
        return root
    cases = {}
    for item in root.items():
        own = name_of(item.field("name"))
        if own in cases:
            raise InputError(f"{item.place}: got case {own!r} a second time, wanted every name once")
        cases[own] = item
    if not cases:
        raise root.wrong("a case or a list of cases")
    choices = ", ".join(repr(choice) for choice in cases)
    if name is None and len(cases) > 1:
        raise InputError(f"{root.place}: got {len(cases)} cases, wanted --case with one of {choices}")
    if name is not None and name not in cases:
        raise InputError(f"{root.place}: got no case {name!r}, wanted one of {choices}")
    return cases[name] if name is not None else next(iter(cases.values()))


def _case(reader: Reader) -> Case:
    mtus, minutes = _horizon(reader)
    sign = 1 if _sign(reader) == "consumption" else -1
    grid = reader.field("grid") if reader.has("grid") and reader.field("grid").value is not None else None
    peers = Peers(mtus=mtus, sign=sign)
    entries = reader.field("peers").items()
    if not entries:
        raise reader.field("peers").wrong("at least one peer")
    connected = _connected(grid)
    for item in entries:
        reached = connected is None or (item.has("id") and item.field("id").text() in connected)
        peers.read(item, grid if reached else None)
    _check_connected(grid, connected, peers)
    assets, storages = peers.assets(), peers.storages()
    if not assets.names and storages is None:
        raise InputError(f"{reader.place}: got peers without assets and storages, wanted a market that is not empty")
    charge = number_at(reader, "network_charge", 0.0, lower=0.0)
    links = read_links(reader.field("links"), peers, charge)
    market = Market(
        peers=peers.ids,
        assets=assets,
        links=links,
        hours=minutes / 60,
        mtus=mtus,
        import_price=np.array(peers.import_price),
        export_price=np.array(peers.export_price),
        storages=storages,
        limits=(*peers.limits, *_limits(reader, peers)),
    )
    fee = number_at(reader, "fee_per_side", 0.0, lower=0.0)
    return Case(
        name=name_of(reader.field("name")) if reader.has("name") else "case",
        unit=_unit(reader),
        price_unit=_price_unit(reader),
        injection=sign < 0,
        market=market,
        constant=peers.constant * market.hours,
        fee_per_side=fee,
        expected=read_expected(reader, market, fee),
    )


def _horizon(reader: Reader) -> tuple[int, int]:
    if not reader.has("horizon"):
        return 1, 60
    horizon = reader.field("horizon")
    check_fields(horizon, HORIZON)
    mtus = horizon.field("mtus").integer(lower=1, upper=MAX_MTUS)
    if not horizon.has("mtu_minutes"):
        return mtus, 60
    minutes = horizon.field("mtu_minutes")
    if isinstance(minutes.value, bool) or minutes.value not in MTU_MINUTES:
        raise minutes.wrong(f"one of {', '.join(map(str, MTU_MINUTES))}")
    return mtus, int(minutes.value)


def _sign(reader: Reader) -> str:
    if not reader.has("sign"):
        return "injection"
    sign = reader.field("sign")
    if sign.value not in SIGNS:
        raise sign.wrong(f"one of {', '.join(SIGNS)}")
    return str(sign.value)


def _unit(reader: Reader) -> str:
    units = reader.field("units") if reader.has("units") else None
    if units is None:
        return "kW"
    for key, text in units.entries().items():
        name_of(text)
        if key != "power" and key.lower() == "power":
            raise InputError(f"{units.place}: got field {key!r}, wanted 'power'")
    if not units.has("power"):
        return "kW"
    power = units.field("power")
    if power.text() not in WATTS:
        raise power.wrong(f"one of {', '.join(WATTS)}")
    return str(power.value)


def _price_unit(reader: Reader) -> str:
    units = reader.field("units") if reader.has("units") else None
    return name_of(units.field("price")) if units is not None and units.has("price") else ""


def _connected(grid: Reader | None) -> frozenset[str] | None:
    """The ids of the peers that the case's grid prices are for; None for all."""
    if grid is None:
        return None
    check_fields(grid, (*GRID, "peers"))
    if not grid.has("peers") or grid.field("peers").value == "all":
        return None
    return frozenset(item.text() for item in grid.field("peers").items())


def _check_connected(grid: Reader | None, connected: frozenset[str] | None, peers: Peers) -> None:
    if grid is None or connected is None:
        return
    for item in grid.field("peers").items():
        if item.value not in peers.index:
            raise item.wrong("the id of a peer")


def _limits(reader: Reader, peers: Peers) -> list[Limit]:
    if not reader.has("limits"):
        return []
    limits = []
    names = {limit.name for limit in peers.limits}
    for k, item in enumerate(reader.field("limits").items()):
        check_fields(item, ("name", "peers", *LIMIT))
        name = name_of(item.field("name")) if item.has("name") else f"limit {k + 1}"
        if name in names:
            raise InputError(f"{item.place}: got limit {name!r} a second time, wanted every name once")
        names.add(name)
        members = item.field("peers")
        indices = np.arange(len(peers.index)) if members.value == "all" else _members(members, peers)
        limits.append(peers.read_limit(item, name, indices, ("name", "peers", *LIMIT)))
    return limits


def _members(reader: Reader, peers: Peers) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    indices: list[int] = []
    items = reader.items()
    if not items:
        raise reader.wrong("'all', or a list of peers' ids")
    for item in items:
        if not isinstance(item.value, str) or item.value not in peers.index:
            raise item.wrong("the id of a peer")
        indices.append(peers.index[item.value])
    if len(set(indices)) < len(indices):
        raise reader.wrong("every peer once")
    return np.array(indices, dtype=np.int64)
