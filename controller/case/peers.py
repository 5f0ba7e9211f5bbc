"""Reading a case's peers: their assets, their storages, their own limits, their connection to the grid."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from controller.case.fields import (
    check_fields,
    check_order,
    name_of,
    number,
    number_at,
    open_profile_at,
    profile_at,
)
from controller.demo.strict import Reader
from controller.errors import InputError
from optimization.community import Floats, PeerId
from optimization.market import LARGEST, Assets, Indices, Limit, Storages

PEER = ("id", "role", "assets", "storages", "limit", "grid", "bus", "note", "source")
ASSET = ("name", "a", "b", "p_min", "p_max", "curve", "note", "source")
STORAGE = (
    *("name", "max_charge", "max_discharge", "charge_efficiency", "discharge_efficiency", "initial", "capacity"),
    *("minimum", "final", "cycle_cost", "final_value", "note", "source"),
)
LIMIT = ("p_min", "p_max", "note", "source")
GRID = ("import_price", "export_price", "note", "source")
ROLES = ("producer", "consumer", "prosumer")

CONVEX = 1e-9
"""By how much, relative to it, a marginal cost may fall from one segment to the next: the noise of decimal numbers."""


@dataclass(slots=True, kw_only=True)
class Peers:
    """The peers of a case while they are read.

    Attributes
    ----------
    mtus : number of MTUs
    sign : 1 where the file counts consumption as positive, -1 where injection
    index : number of each peer by its id
    role : of each peer
    only_consumes, only_produces : whether the bounds of a peer's assets allow nothing else
    import_price, export_price : (T,) of each peer
    limits : peers' own
    constant : currency per hour that curves cost whatever is decided
    """

    mtus: int
    sign: int
    index: dict[str, int] = field(default_factory=dict)
    role: list[str] = field(default_factory=list)
    only_consumes: list[bool] = field(default_factory=list)
    only_produces: list[bool] = field(default_factory=list)
    import_price: list[Floats] = field(default_factory=list)
    export_price: list[Floats] = field(default_factory=list)
    limits: list[Limit] = field(default_factory=list)
    constant: float = 0.0
    _owner: list[int] = field(default_factory=list)
    _names: list[str] = field(default_factory=list)
    _piece_asset: list[int] = field(default_factory=list)
    _pieces: list[tuple[Floats, ...]] = field(default_factory=list)
    _storages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def ids(self) -> tuple[PeerId, ...]:
        """Ids in the order of the file."""
        return tuple(PeerId(id_) for id_ in self.index)

    def is_role(self, role: str) -> Any:
        """(N,) whether each peer has this role."""
        return np.array([each == role for each in self.role], dtype=bool)

    def read(self, reader: Reader, default_grid: Reader | None) -> None:
        """Add a peer."""
        check_fields(reader, PEER)
        id_ = name_of(reader.field("id"))
        if id_ in self.index:
            raise InputError(f"{reader.field('id').place}: got {id_!r} a second time, wanted every id once")
        n = self.index[id_] = len(self.index)
        self.role.append(_role(reader))
        names: set[str] = set()
        first = len(self._pieces)
        assets = reader.field("assets").items()
        for k, asset in enumerate(assets):
            self._read_asset(asset, n, k, names)
        for k, storage in enumerate(reader.field("storages").items() if reader.has("storages") else []):
            self._storages.append(self._read_storage(storage, n, k, names))
        self._classify(n, first)
        self._read_grid(reader, default_grid)
        if reader.has("limit"):
            self.limits.append(self.read_limit(reader.field("limit"), id_, np.array([n]), LIMIT))

    def read_limit(self, reader: Reader, name: str, members: Indices, known: tuple[str, ...]) -> Limit:
        """A limit on the summed net power of some peers."""
        check_fields(reader, known)
        lower = open_profile_at(reader, "p_min", self.mtus, -np.inf)
        upper = open_profile_at(reader, "p_max", self.mtus, np.inf)
        check_order(reader, lower, upper, ("p_min", "p_max"))
        low, high = self._turned(lower, upper)
        return Limit(name=name, members=members, lower=low, upper=high)

    def assets(self) -> Assets:
        """All assets."""
        table = np.array(self._pieces).reshape(len(self._pieces), 4, self.mtus)
        return Assets(
            peer=np.array(self._owner, dtype=np.int64),
            names=tuple(self._names),
            piece_asset=np.array(self._piece_asset, dtype=np.int64),
            lower=table[:, 0],
            upper=table[:, 1],
            slope=table[:, 2],
            curvature=table[:, 3],
        )

    def storages(self) -> Storages | None:
        """All storages; None where there are none."""
        if not self._storages:
            return None
        columns = {name: [storage[name] for storage in self._storages] for name in self._storages[0]}
        names = tuple(columns.pop("names"))
        return Storages(names=names, **{name: np.array(values) for name, values in columns.items()})

    def _turned(self, lower: Any, upper: Any) -> tuple[Any, Any]:
        """Bounds of the file as bounds of the market."""
        return (lower, upper) if self.sign > 0 else (-upper, -lower)

    def _add_piece(self, lower: Any, upper: Any, slope: Any, curvature: Any) -> None:
        """Add a piece to the last asset; the bounds and the slope in the file's sign."""
        low, high = self._turned(lower, upper)
        rows = (low, high, self.sign * slope, curvature)
        # Adding to zeros gives every row a value for each MTU, and turns -0.0 into 0.0.
        self._pieces.append(tuple(np.zeros(self.mtus) + row for row in rows))
        self._piece_asset.append(len(self._owner) - 1)

    def _read_asset(self, reader: Reader, n: int, k: int, taken: set[str]) -> None:
        check_fields(reader, ASSET)
        name = name_of(reader.field("name")) if reader.has("name") else f"asset {k + 1}"
        self._owner.append(n)
        self._names.append(_unique(name, taken))
        if reader.has("curve"):
            for other in ("a", "b", "p_min", "p_max"):
                if reader.has(other):
                    raise InputError(f"{reader.place}: got both curve and {other}, wanted one way to say the cost")
            self._read_curve(reader.field("curve"))
            return
        lower, upper = (profile_at(reader, name, self.mtus) for name in ("p_min", "p_max"))
        check_order(reader, lower, upper, ("p_min", "p_max"))
        curvature = profile_at(reader, "a", self.mtus, 0.0, lower=0.0)
        self._add_piece(lower, upper, profile_at(reader, "b", self.mtus, 0.0), curvature)

    def _read_curve(self, reader: Reader) -> None:
        """A convex cost through points: a fixed piece at the power nearest to zero, one for each segment from there.

        A piece can only be filled from zero, so the cost at the fixed piece is a constant of the case.
        """
        points = [_point(item) for item in reader.items()]
        if len(points) < 2:
            raise reader.wrong("a list of two or more [power, cost]")
        marginal = []
        for k, ((p0, c0), (p1, c1)) in enumerate(pairwise(points), start=1):
            if not p1 > p0:
                raise InputError(f"{reader.place}[{k}]: got power {p1:g} after {p0:g}, wanted ascending powers")
            marginal.append((c1 - c0) / (p1 - p0))
            if abs(marginal[-1]) > LARGEST:
                raise InputError(f"{reader.place}[{k}]: got marginal cost {marginal[-1]:g}, wanted at most {LARGEST:g}")
            if k > 1 and marginal[-1] < marginal[-2] - CONVEX * max(abs(marginal[-1]), abs(marginal[-2])):
                raise InputError(
                    f"{reader.place}[{k}]: got marginal cost {marginal[-1]:g} after {marginal[-2]:g}, wanted a convex "
                    "curve: marginal costs that do not fall"
                )
        powers, costs = (np.array(column) for column in zip(*points, strict=True))
        anchor = float(np.clip(0.0, powers[0], powers[-1]))
        self.constant += self.mtus * float(np.interp(anchor, powers, costs))
        self._add_piece(anchor, anchor, 0.0, 0.0)
        for (p0, p1), slope in zip(pairwise(powers.tolist()), marginal, strict=True):
            below, above = min(p1, anchor) - min(p0, anchor), max(p1, anchor) - max(p0, anchor)
            if below > 0:
                self._add_piece(-below, 0.0, slope, 0.0)
            if above > 0:
                self._add_piece(0.0, above, slope, 0.0)

    def _read_storage(self, reader: Reader, n: int, k: int, taken: set[str]) -> dict[str, Any]:
        check_fields(reader, STORAGE)
        name = name_of(reader.field("name")) if reader.has("name") else f"storage {k + 1}"
        if name in taken:
            raise InputError(f"{reader.place}: got name {name!r} a second time, wanted every name of a peer once")
        taken.add(name)
        lower = profile_at(reader, "minimum", self.mtus, 0.0, lower=0.0)
        upper = profile_at(reader, "capacity", self.mtus, lower=0.0)
        check_order(reader, lower, upper, ("minimum", "capacity"))
        final = number_at(reader, "final", 0.0, lower=0.0)
        if final > upper[-1]:
            raise InputError(f"{reader.place}.final: got {final:g} above capacity {upper[-1]:g}, wanted at most that")
        lower[-1] = max(lower[-1], final)
        value = np.zeros(self.mtus)
        value[-1] = -number_at(reader, "final_value", 0.0)
        storage: dict[str, Any] = {"peer": n, "names": name, "lower": lower, "upper": upper, "state_cost": value + 0.0}
        for power in ("max_charge", "max_discharge"):
            storage[power] = number_at(reader, power, lower=0.0)
        for energy in ("initial", "cycle_cost"):
            storage[energy] = number_at(reader, energy, 0.0, lower=0.0)
        for efficiency in ("charge_efficiency", "discharge_efficiency"):
            storage[efficiency] = number_at(reader, efficiency, 1.0, lower=0.01, upper=1.0)
        return storage

    def _read_grid(self, reader: Reader, default: Reader | None) -> None:
        own = reader.field("grid") if reader.has("grid") else default
        role = self.role[-1]
        buys, sells = np.full(self.mtus, np.inf), np.full(self.mtus, -np.inf)
        if own is not None and own.value is not None:
            if own is not default:
                check_fields(own, GRID)
            asked = open_profile_at(own, "import_price", self.mtus, np.inf)
            paid = open_profile_at(own, "export_price", self.mtus, -np.inf)
            check_order(own, paid, asked, ("export_price", "import_price"))
            buys = asked if role != "producer" else buys
            sells = paid if role != "consumer" else sells
        self.import_price.append(buys)
        self.export_price.append(sells)

    def _classify(self, n: int, first: int) -> None:
        stores = bool(self._storages) and self._storages[-1]["peer"] == n
        pieces = self._pieces[first:]
        consumes = not stores and all((piece[0] >= 0).all() for piece in pieces)
        produces = not stores and all((piece[1] <= 0).all() for piece in pieces)
        role = self.role[n]
        self.only_consumes.append(role == "consumer" or (role == "prosumer" and bool(pieces) and consumes))
        self.only_produces.append(role == "producer" or (role == "prosumer" and bool(pieces) and produces))


def _role(reader: Reader) -> str:
    if not reader.has("role"):
        return "prosumer"
    role = reader.field("role")
    if role.value not in ROLES:
        raise role.wrong(f"one of {', '.join(ROLES)}")
    return str(role.value)


def _unique(name: str, taken: set[str]) -> str:
    """A name that no other asset of the peer has: published cases have some twice."""
    unique, count = name, 1
    while unique in taken:
        count += 1
        unique = f"{name} ({count})"
    taken.add(unique)
    return unique


def _point(reader: Reader) -> tuple[float, float]:
    pair = reader.items()
    if len(pair) != 2:
        raise reader.wrong("[power, cost]")
    return number(pair[0]), number(pair[1])
