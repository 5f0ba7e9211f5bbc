"""An appliance on a relay that owes a running time (S2: operation mode based control with the modes on and off)."""

from dataclasses import dataclass

from optimization.quantities import DeviceId, count, mtu_window, number
from optimization.waiting import START_COST, WAITING_COST


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruptible:
    """An appliance that must run a number of MTUs at rated power inside a window, in one go or in several.

    A run inside the window lasts at least ``min_on_mtus`` and ends within the window; between two runs lie at least
    ``min_off_mtus``. A run that was on before the horizon goes on until its minimum is served, whatever the window
    says. It runs at most ``max_on_mtus``: what it owes, and no more than a last minimal run needs beyond. Each MTU
    that is owed and not run counts as shortfall, at the community's shortfall price of its energy.

    Attributes
    ----------
    id : device id
    power_kw : kW while on, non-negative
    first_mtu, end_mtu : half-open window in MTUs of the horizon, ``0 <= first <= end``
    required_mtus : MTUs still owed
    min_on_mtus, min_off_mtus : least length of a run and of the rest after it, at least 1
    max_starts : starts allowed in one day of the microgrid's time zone; None for any number
    starts_today : starts made on the day in which the horizon begins
    running : whether it is on when the horizon begins, so that going on is no start
    elapsed_mtus : how long it has been on or off; None where that is long enough for any change
    waiting_cost : currency per kWh consumed later than the horizon's start, and hour; makes ties go to running early
    start_cost : currency per start; makes ties go to running in one go
    """

    id: DeviceId
    power_kw: float
    first_mtu: int
    end_mtu: int
    required_mtus: int
    min_on_mtus: int = 1
    min_off_mtus: int = 1
    max_starts: int | None = None
    starts_today: int = 0
    running: bool = False
    elapsed_mtus: int | None = None
    waiting_cost: float = WAITING_COST
    start_cost: float = START_COST

    def __post_init__(self) -> None:
        number(f"{self.id}.power_kw", self.power_kw)
        number(f"{self.id}.waiting_cost", self.waiting_cost)
        number(f"{self.id}.start_cost", self.start_cost)
        mtu_window(str(self.id), self.first_mtu, self.end_mtu)
        count(f"{self.id}.required_mtus", self.required_mtus)
        for name in ("min_on_mtus", "min_off_mtus"):
            count(f"{self.id}.{name}", getattr(self, name), lower=1)
        if self.max_starts is not None:
            count(f"{self.id}.max_starts", self.max_starts)
        count(f"{self.id}.starts_today", self.starts_today, upper=10**6)
        if self.elapsed_mtus is not None:
            count(f"{self.id}.elapsed_mtus", self.elapsed_mtus, upper=10**6)

    @property
    def forced_mtus(self) -> int:
        """The MTUs at the horizon's start in which it must stay on, because a run has not lasted its minimum."""
        if not self.running or self.elapsed_mtus is None:
            return 0
        return max(0, self.min_on_mtus - self.elapsed_mtus)

    @property
    def resting_mtus(self) -> int:
        """The MTUs at the horizon's start in which it must stay off, because a rest has not lasted its minimum."""
        if self.running or self.elapsed_mtus is None:
            return 0
        return max(0, self.min_off_mtus - self.elapsed_mtus)

    @property
    def max_on_mtus(self) -> int:
        """The most MTUs that it runs."""
        return max(self.required_mtus, self.forced_mtus) + self.min_on_mtus - 1
