"""Reading what ``gridpact plan --json`` printed."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from controller.demo.strict import Reader
from controller.errors import InputError
from controller.plan.reading import CommunityFile, community_of, root_of
from controller.plan.result import VERSION
from controller.plan.series import Bounds, SeriesReader
from optimization.community import DeviceId, Floats, PeerId
from optimization.quantities import MAX_MAGNITUDE

ROUNDING = 1e-6
"""Of what a plan costs, and at least of one: a bound that is no further below it proves that nothing is cheaper."""

LARGEST = 1e3 * MAX_MAGNITUDE
"""Of a price in a plan: what a limit's shadow price adds to a tariff may be far above it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan as its file holds it.

    Attributes
    ----------
    file : the community
    status : of the plan
    device_kw : (T,) kW of each device
    price : (T,) currency/kWh of each peer
    shortfall : what devices could not be given, in the unit of their kind
    best : whether it is proven that no schedule costs less, but for rounding; not where the plan does not say
    """

    file: CommunityFile
    status: str
    device_kw: Mapping[DeviceId, Floats]
    price: Mapping[PeerId, Floats]
    shortfall: Mapping[DeviceId, float]
    best: bool


def read_plan(source: str) -> Planned:
    """The plan of a JSON file; ``-`` for standard input.

    Raises
    ------
    InputError
        If it cannot be read, is no plan, holds no schedules, or does not fit the community that it embeds.
    """
    root = root_of(source)
    if not root.has("community") or not root.has("status"):
        raise InputError(f"{root.place}: got no plan, wanted what 'gridpact plan --json' prints")
    if root.field("version").value != VERSION:
        raise root.field("version").wrong(str(VERSION))
    status = root.field("status").text()
    if not root.has("schedules"):
        raise InputError(f"{root.place}: got a plan that is {status} and has no schedules, wanted one with")
    given = community_of(root.field("community"))
    series = SeriesReader(calendar=given.calendar, profiles={})
    devices = [device.id for _, device in given.community.devices()]
    schedules, prices = root.field("schedules"), root.field("prices")
    power = Bounds(lower=-MAX_MAGNITUDE, upper=MAX_MAGNITUDE)
    price = Bounds(lower=-LARGEST, upper=LARGEST)
    return Planned(
        file=given,
        status=status,
        device_kw={device: series.read(schedules.field(device), power) for device in devices},
        price={peer.id: series.read(prices.field(peer.id), price) for peer in given.community.peers},
        shortfall=_shortfall(root.field("shortfall")) if root.has("shortfall") else {},
        best=_best(root),
    )


def _shortfall(reader: Reader) -> dict[DeviceId, float]:
    return {DeviceId(name): each.field("amount").number() for name, each in reader.entries().items()}


def _best(root: Reader) -> bool:
    if not root.has("certificate") or not root.field("certificate").has("distance"):
        return False
    distance = root.field("certificate").field("distance")
    if distance.value is None:
        return False
    objective = root.field("objective").number(lower=-inf, upper=inf)
    return distance.number(lower=-inf, upper=inf) <= ROUNDING * max(1.0, abs(objective))
