r"""A dispatchable generator: quadratic cost, minimum output, minimum up and down times, start cost.

While it is up in MTU t it produces :math:`\underline P \le g_t \le \overline P` at

.. math::

    \Delta\,(\tfrac12 a g_t^2 + b g_t + c)

and each start costs a fixed sum. Once up it stays up for its minimum up time, once down for its minimum down time; what
reaches beyond the horizon is the next plan's to keep.
"""

from dataclasses import dataclass

from optimization.errors import ProblemError
from optimization.quantities import DeviceId, count, number


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """A generator that can be started and stopped.

    Attributes
    ----------
    id : device id
    min_kw, max_kw : kW of production while up, 0 to max
    quadratic_cost : a, currency per kW^2 h, non-negative
    linear_cost : b, currency per kWh
    running_cost : c, currency per hour up, non-negative
    start_cost : currency per start, non-negative
    min_up_mtus, min_down_mtus : least length of a run and of a rest, at least 1
    running : whether it is up when the horizon begins
    elapsed_mtus : how long it has been so; None where that is long enough for any change
    """

    id: DeviceId
    min_kw: float
    max_kw: float
    quadratic_cost: float = 0.0
    linear_cost: float = 0.0
    running_cost: float = 0.0
    start_cost: float = 0.0
    min_up_mtus: int = 1
    min_down_mtus: int = 1
    running: bool = False
    elapsed_mtus: int | None = None

    def __post_init__(self) -> None:
        number(f"{self.id}.max_kw", self.max_kw)
        number(f"{self.id}.min_kw", self.min_kw, upper=self.max_kw)
        for name in ("quadratic_cost", "running_cost", "start_cost"):
            number(f"{self.id}.{name}", getattr(self, name))
        number(f"{self.id}.linear_cost", self.linear_cost, lower=-1e6)
        for name in ("min_up_mtus", "min_down_mtus"):
            count(f"{self.id}.{name}", getattr(self, name), lower=1)
        if self.elapsed_mtus is not None:
            count(f"{self.id}.elapsed_mtus", self.elapsed_mtus, upper=10**6)
        if self.quadratic_cost and not self.max_kw:
            raise ProblemError(f"{self.id}.max_kw: got 0, wanted more with a quadratic cost")
