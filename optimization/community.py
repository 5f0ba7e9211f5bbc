"""The data of a dispatch problem: horizon, tariff, peers with their devices, links, envelopes. Validated once.

Floats are kW, kWh, hours and currency/kWh. Power and energy are positive when they flow into a device or a
peer; what a PV plant has *available* and what a link *trades* have no sign and are non-negative.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from optimization.devices import (
    Battery,
    Curtailable,
    Device,
    ElectricVehicle,
    FixedLoad,
    Generator,
    Interruptible,
    Programme,
    Thermostatic,
)
from optimization.errors import ProblemError
from optimization.quantities import (
    MAX_MAGNITUDE,
    MAX_MTUS,
    MTU_MINUTES,
    DeviceId,
    Floats,
    Horizon,
    PeerId,
    SectionId,
    number,
    series,
)
from optimization.waiting import START_COST, WAITING_COST

__all__ = [
    "MAX_MAGNITUDE",
    "MAX_MTUS",
    "MTU_MINUTES",
    "START_COST",
    "WAITING_COST",
    "Battery",
    "Community",
    "Curtailable",
    "Device",
    "DeviceId",
    "ElectricVehicle",
    "Envelope",
    "FixedLoad",
    "Floats",
    "Generator",
    "Horizon",
    "Interruptible",
    "Link",
    "Peer",
    "PeerId",
    "Programme",
    "SectionId",
    "Tariff",
    "Thermostatic",
]

SHORTFALL_FACTOR = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """What the grid asks for energy and pays for it.

    Attributes
    ----------
    import_price : (T,) currency/kWh that a peer pays the grid
    export_price : (T,) currency/kWh that the grid pays a peer; at most the import price in every MTU, else
        energy bought and sold at once would be a source of money
    """

    import_price: Floats
    export_price: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "import_price", series("tariff.import_price", self.import_price))
        object.__setattr__(self, "export_price", series("tariff.export_price", self.export_price))
        if self.import_price.shape != self.export_price.shape:
            raise ProblemError(
                f"tariff.export_price: got {self.export_price.size} MTUs, wanted {self.import_price.size}"
            )
        wrong = self.export_price > self.import_price
        if wrong.any():
            mtu = int(np.argmax(wrong))
            raise ProblemError(
                f"tariff.export_price[{mtu}]: got {self.export_price[mtu]}, wanted at most the import price "
                f"{self.import_price[mtu]}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A participant with one meter.

    Attributes
    ----------
    id : unique in the community
    section : the feeder section its meter hangs on
    devices : what it has, any number of each kind
    """

    id: PeerId
    section: SectionId
    devices: tuple[Device, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A pair of peers of which one may sell to the other. The other direction is a link of its own.

    Attributes
    ----------
    seller, buyer : peer ids, different
    seller_preference, buyer_preference : currency/kWh of disutility each side feels; never paid
    network_charge : currency/kWh that the buyer pays the DSO
    closed_mtus : in which nothing may be traded over it
    """

    seller: PeerId
    buyer: PeerId
    seller_preference: float = 0.0
    buyer_preference: float = 0.0
    network_charge: float = 0.0
    closed_mtus: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        for name in ("seller_preference", "buyer_preference", "network_charge"):
            number(f"link {self.seller} -> {self.buyer}.{name}", getattr(self, name))
        if self.seller == self.buyer:
            raise ProblemError(f"link {self.seller} -> {self.buyer}: a peer cannot trade with itself")

    @property
    def cost(self) -> float:
        """Currency/kWh that a trade on this link adds to the objective."""
        return self.seller_preference + self.buyer_preference + self.network_charge


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The DSO's bounds on the summed net consumption of some peers.

    Attributes
    ----------
    name : resource name, for messages
    peers : whose power is summed; all of them for the connection point
    lower_kw, upper_kw : (T,) kW; where there is no bound, minus infinity as lower and infinity as upper
    """

    name: str
    peers: frozenset[PeerId]
    lower_kw: Floats
    upper_kw: Floats

    def __post_init__(self) -> None:
        for side in ("lower_kw", "upper_kw"):
            array = np.array(getattr(self, side), dtype=np.float64)
            if np.isnan(array).any() or array.ndim != 1:
                raise ProblemError(f"{self.name}.{side}: got NaN or shape {array.shape}, wanted one bound an MTU")
            array.flags.writeable = False
            object.__setattr__(self, side, array)
        if self.lower_kw.shape != self.upper_kw.shape:
            raise ProblemError(f"{self.name}: got {self.lower_kw.size} lower and {self.upper_kw.size} upper bounds")
        for side, array, wrong in (("lower_kw", self.lower_kw, np.inf), ("upper_kw", self.upper_kw, -np.inf)):
            if (array == wrong).any():
                raise ProblemError(f"{self.name}.{side}: got {wrong}, wanted a number or {-wrong} for no bound")
        inverted = self.lower_kw > self.upper_kw
        if inverted.any():
            mtu = int(np.argmax(inverted))
            raise ProblemError(
                f"{self.name}[{mtu}]: got lower {self.lower_kw[mtu]} above upper {self.upper_kw[mtu]} kW"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Community:
    """One whole problem; what exists is consistent.

    Attributes
    ----------
    horizon, tariff : as their classes say; of equal length
    peers : at least one, ids unique, device ids unique over all
    links : at most one for each ordered pair
    envelopes : any number; each binds
    planned_kw : (T,) kW that an earlier plan foresaw, of any devices
    change_price : currency per kWh by which a device departs from what was planned for it, non-negative
    """

    horizon: Horizon
    tariff: Tariff
    peers: tuple[Peer, ...]
    links: tuple[Link, ...] = ()
    envelopes: tuple[Envelope, ...] = field(default=())
    planned_kw: Mapping[DeviceId, Floats] = field(default_factory=dict)
    change_price: float = 0.0

    def __post_init__(self) -> None:
        if not self.peers:
            raise ProblemError("community.peers: got none, wanted at least one")
        _unique("peer", [peer.id for peer in self.peers])
        _unique("device", [device.id for _, device in self.devices()])
        _unique("link", [f"{link.seller} -> {link.buyer}" for link in self.links])
        known = {peer.id for peer in self.peers}
        for link in self.links:
            for end in (link.seller, link.buyer):
                if end not in known:
                    raise ProblemError(f"link {link.seller} -> {link.buyer}: got unknown peer {end}")
            if link.closed_mtus and not 0 <= min(link.closed_mtus) <= max(link.closed_mtus) < self.horizon.mtus:
                raise ProblemError(
                    f"link {link.seller} -> {link.buyer}.closed_mtus: got {sorted(link.closed_mtus)}, "
                    f"wanted MTUs 0 to {self.horizon.mtus - 1}"
                )
        for envelope in self.envelopes:
            if unknown := envelope.peers - known:
                raise ProblemError(f"{envelope.name}: got unknown peers {sorted(unknown)}")
            self._check_length(envelope.name, envelope.upper_kw.size)
        self._check_length("tariff", self.tariff.import_price.size)
        number("community.change_price", self.change_price)
        for peer, device in self.devices():
            self._check_device(peer, device)
        self._check_plan()

    def _check_device(self, peer: Peer, device: Device) -> None:
        mtus = self.horizon.mtus
        match device:
            case FixedLoad():
                self._check_length(device.id, device.power_kw.size)
            case Curtailable():
                self._check_length(device.id, device.available_kw.size)
            case Thermostatic():
                self._check_length(device.id, device.performance.size)
            case Interruptible() | Programme():
                if device.end_mtu > mtus:
                    raise ProblemError(f"{device.id}.end_mtu: got {device.end_mtu}, wanted at most {mtus}")
                if isinstance(device, Programme) and device.follows is not None:
                    _check_chain(peer, device)
            case ElectricVehicle():
                if device.departure_mtu > mtus:
                    raise ProblemError(f"{device.id}.departure_mtu: got {device.departure_mtu}, wanted at most {mtus}")
            case Battery() | Generator():
                pass

    def _check_plan(self) -> None:
        known = {device.id for _, device in self.devices()}
        for device, power in self.planned_kw.items():
            if device not in known:
                raise ProblemError(f"community.planned_kw: got unknown device {device}")
            self._check_length(f"planned_kw of {device}", series(f"planned_kw of {device}", power).size)

    @property
    def shortfall_price(self) -> float:
        """Currency per kWh that a task falls short: far above any energy's price, so that none is short by choice."""
        return SHORTFALL_FACTOR * max(1.0, float(np.abs(self.tariff.import_price).max()))

    def devices(self) -> Iterator[tuple[Peer, Device]]:
        """Each device with its peer, in the order of the peers."""
        for peer in self.peers:
            for device in peer.devices:
                yield peer, device

    def _check_length(self, name: str, mtus: int) -> None:
        if mtus != self.horizon.mtus:
            raise ProblemError(f"{name}: got {mtus} MTUs, wanted {self.horizon.mtus}")


def _check_chain(peer: Peer, device: Programme) -> None:
    """Refuses a programme that follows what is not a programme of its peer, or that another follows too, or a ring."""
    programmes = {d.id: d for d in peer.devices if isinstance(d, Programme)}
    before = device.follows
    if before not in programmes:
        raise ProblemError(f"{device.id}.follows: got {before}, wanted a programme of the same peer")
    rivals = [d.id for d in programmes.values() if d.follows == before]
    if len(rivals) > 1:
        raise ProblemError(f"{before}: got {len(rivals)} followers {sorted(rivals)}, wanted at most one")
    seen = {device.id}
    while before is not None:
        if before in seen:
            raise ProblemError(f"{device.id}.follows: got a ring of programmes, wanted a first one")
        seen.add(before)
        before = programmes[before].follows if before in programmes else None


def _unique(kind: str, ids: Sequence[str]) -> None:
    for name, count in Counter(ids).items():
        if count > 1:
            raise ProblemError(f"{kind} {name}: got {count} times, wanted once")
