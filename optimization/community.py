"""The data of a dispatch problem: horizon, tariff, peers with their devices, links, envelopes. Validated once.

Floats are kW, kWh, hours and currency/kWh. Power and energy are positive when they flow into a device or a
peer; what a PV plant has *available* and what a link *trades* have no sign and are non-negative.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NewType

import numpy as np
import numpy.typing as npt

from optimization.errors import ProblemError

PeerId = NewType("PeerId", str)
DeviceId = NewType("DeviceId", str)
SectionId = NewType("SectionId", str)

Floats = npt.NDArray[np.float64]

MTU_MINUTES = (5, 15, 30, 60)
MAX_MTUS = 192
MAX_MAGNITUDE = 1e6
"""No power (kW), energy (kWh) or price in a community is larger: a bigger number is a unit mixed up."""

WAITING_COST = 1e-5
"""Default currency per kWh and hour of delay: a hundredth of a cent a day, far below any tariff's step."""

SHORTFALL_FACTOR = 100.0

START_COST = 5e-4
"""Default currency per start of an appliance: enough that it runs in one go where prices tie, as its owner would."""


def _series(name: str, value: Sequence[float] | Floats, *, lower: float = -MAX_MAGNITUDE) -> Floats:
    """A read-only float vector whose entries are finite and within ``[lower, MAX_MAGNITUDE]``."""
    array = np.array(value, dtype=np.float64)
    if array.ndim != 1 or not 1 <= array.size <= MAX_MTUS:
        raise ProblemError(f"{name}: got shape {array.shape}, wanted 1 to {MAX_MTUS} MTUs")
    bad = ~(np.isfinite(array) & (array >= lower) & (array <= MAX_MAGNITUDE))
    if bad.any():
        mtu = int(np.argmax(bad))
        raise ProblemError(f"{name}[{mtu}]: got {array[mtu]}, wanted {lower:g} to {MAX_MAGNITUDE:g}")
    array.flags.writeable = False
    return array


def _number(name: str, value: float, *, lower: float = 0.0, upper: float = MAX_MAGNITUDE) -> None:
    if not (np.isfinite(value) and lower <= value <= upper):
        raise ProblemError(f"{name}: got {value}, wanted {lower:g} to {upper:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Horizon:
    """The MTUs that planning looks ahead over.

    Attributes
    ----------
    mtus : number of MTUs, 1 to 192
    mtu_minutes : length of one, 5, 15, 30 or 60
    """

    mtus: int
    mtu_minutes: int = 15

    def __post_init__(self) -> None:
        if not 1 <= self.mtus <= MAX_MTUS:
            raise ProblemError(f"horizon.mtus: got {self.mtus}, wanted 1 to {MAX_MTUS}")
        if self.mtu_minutes not in MTU_MINUTES:
            raise ProblemError(f"horizon.mtu_minutes: got {self.mtu_minutes}, wanted one of {MTU_MINUTES}")

    @property
    def hours(self) -> float:
        """Length of one MTU in hours."""
        return self.mtu_minutes / 60


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
        object.__setattr__(self, "import_price", _series("tariff.import_price", self.import_price))
        object.__setattr__(self, "export_price", _series("tariff.export_price", self.export_price))
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
class FixedLoad:
    """Consumption that nobody controls.

    Attributes
    ----------
    id : device id, unique in the community
    power_kw : (T,) kW, non-negative
    """

    id: DeviceId
    power_kw: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "power_kw", _series(f"{self.id}.power_kw", self.power_kw, lower=0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Curtailable:
    """A PV or wind plant that may produce less than is available.

    Attributes
    ----------
    id : device id
    available_kw : (T,) kW of production that sun or wind allow, non-negative
    """

    id: DeviceId
    available_kw: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "available_kw", _series(f"{self.id}.available_kw", self.available_kw, lower=0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Battery:
    """A store of energy with losses.

    Attributes
    ----------
    id : device id
    max_charge_kw, max_discharge_kw : kW at the terminals, non-negative
    capacity_kwh : usable energy, non-negative
    initial_kwh : stored at the start of the horizon, 0 to capacity
    final_kwh : wanted at its end, 0 to capacity; what cannot be reached counts as shortfall
    charge_efficiency, discharge_efficiency : 0.01 to 1
    cycle_cost : currency per kWh discharged, non-negative
    waiting_cost : currency per kWh that is missing to a full store, and hour; makes ties go to charging early
    """

    id: DeviceId
    max_charge_kw: float
    max_discharge_kw: float
    capacity_kwh: float
    initial_kwh: float
    final_kwh: float
    charge_efficiency: float = 0.95
    discharge_efficiency: float = 0.95
    cycle_cost: float = 0.001
    waiting_cost: float = WAITING_COST

    def __post_init__(self) -> None:
        for name in ("max_charge_kw", "max_discharge_kw", "capacity_kwh", "cycle_cost", "waiting_cost"):
            _number(f"{self.id}.{name}", getattr(self, name))
        for name in ("initial_kwh", "final_kwh"):
            _number(f"{self.id}.{name}", getattr(self, name), upper=self.capacity_kwh)
        for name in ("charge_efficiency", "discharge_efficiency"):
            _number(f"{self.id}.{name}", getattr(self, name), lower=0.01, upper=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruptible:
    """An appliance on a relay that must run a number of MTUs at rated power inside a window.

    Attributes
    ----------
    id : device id
    power_kw : kW while on, non-negative
    first_mtu, end_mtu : half-open window in MTUs of the horizon, ``0 <= first <= end``
    required_mtus : MTUs still owed, at most the window's length
    running : whether it is on when the horizon begins, so that going on is no start
    waiting_cost : currency per kWh consumed later than the horizon's start, and hour; makes ties go to running early
    start_cost : currency per start; makes ties go to running in one go
    """

    id: DeviceId
    power_kw: float
    first_mtu: int
    end_mtu: int
    required_mtus: int
    running: bool = False
    waiting_cost: float = WAITING_COST
    start_cost: float = START_COST

    def __post_init__(self) -> None:
        _number(f"{self.id}.power_kw", self.power_kw)
        _number(f"{self.id}.waiting_cost", self.waiting_cost)
        _number(f"{self.id}.start_cost", self.start_cost)
        if not 0 <= self.first_mtu <= self.end_mtu <= MAX_MTUS:
            raise ProblemError(
                f"{self.id}: got window [{self.first_mtu}, {self.end_mtu}), wanted 0 <= first <= end <= {MAX_MTUS}"
            )
        if not 0 <= self.required_mtus <= self.end_mtu - self.first_mtu:
            raise ProblemError(
                f"{self.id}.required_mtus: got {self.required_mtus}, wanted 0 to {self.end_mtu - self.first_mtu}, "
                f"the length of its window [{self.first_mtu}, {self.end_mtu})"
            )


Device = FixedLoad | Curtailable | Battery | Interruptible


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
    """

    seller: PeerId
    buyer: PeerId
    seller_preference: float = 0.0
    buyer_preference: float = 0.0
    network_charge: float = 0.0

    def __post_init__(self) -> None:
        for name in ("seller_preference", "buyer_preference", "network_charge"):
            _number(f"link {self.seller} -> {self.buyer}.{name}", getattr(self, name))
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
    """

    horizon: Horizon
    tariff: Tariff
    peers: tuple[Peer, ...]
    links: tuple[Link, ...] = ()
    envelopes: tuple[Envelope, ...] = field(default=())

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
        for envelope in self.envelopes:
            if unknown := envelope.peers - known:
                raise ProblemError(f"{envelope.name}: got unknown peers {sorted(unknown)}")
            self._check_length(envelope.name, envelope.upper_kw.size)
        self._check_length("tariff", self.tariff.import_price.size)
        for _, device in self.devices():
            match device:
                case FixedLoad():
                    self._check_length(device.id, device.power_kw.size)
                case Curtailable():
                    self._check_length(device.id, device.available_kw.size)
                case Interruptible():
                    if device.end_mtu > self.horizon.mtus:
                        raise ProblemError(
                            f"{device.id}.end_mtu: got {device.end_mtu}, wanted at most {self.horizon.mtus}"
                        )
                case Battery():
                    pass

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


def _unique(kind: str, ids: Sequence[str]) -> None:
    for name, count in Counter(ids).items():
        if count > 1:
            raise ProblemError(f"{kind} {name}: got {count} times, wanted once")
