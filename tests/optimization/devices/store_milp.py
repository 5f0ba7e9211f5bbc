"""The problem of one store written plainly as a mixed-integer programme for HiGHS: what the oracles must meet."""

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_matrix

from optimization.devices import Battery, ElectricVehicle, Thermostatic
from optimization.devices.oracle import PowerCost
from optimization.quantities import Floats, Horizon


@dataclass
class Programme:
    """Rows and columns as they come."""

    cost: list[float] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)
    whole: list[int] = field(default_factory=list)
    rows: list[tuple[dict[int, float], float, float]] = field(default_factory=list)
    constant: float = 0.0

    def column(self, low: float, high: float, cost: float = 0.0, *, whole: bool = False) -> int:
        self.cost.append(cost)
        self.low.append(low)
        self.high.append(high)
        self.whole.append(int(whole))
        return len(self.cost) - 1

    def row(self, terms: dict[int, float], low: float, high: float) -> None:
        self.rows.append((terms, low, high))

    def solve(self) -> tuple[float, Floats]:
        """Currency of the optimum, and the columns there."""
        data = [(i, j, v) for i, (terms, _, _) in enumerate(self.rows) for j, v in terms.items()]
        i, j, v = zip(*data, strict=True)
        matrix = csr_matrix((v, (i, j)), shape=(len(self.rows), len(self.cost)))
        limits = LinearConstraint(matrix, [row[1] for row in self.rows], [row[2] for row in self.rows])
        # HiGHS's presolve was seen to cut off the optimum of a load with minimum times, and to call the rest optimal.
        answer = milp(
            self.cost,
            integrality=self.whole,
            bounds=Bounds(np.array(self.low), np.array(self.high)),
            constraints=limits,
            options={"mip_rel_gap": 1e-9, "time_limit": 60.0, "presolve": False},
        )
        assert answer.status == 0, answer.message
        return float(answer.fun) + self.constant, answer.x


def cheapest_kwh_store(
    device: Battery | ElectricVehicle, horizon: Horizon, cost: PowerCost, shortfall_price: float
) -> float:
    """Currency of a battery's or a vehicle's cheapest schedule under the first of the costs of power, weight 0."""
    programme, hours = Programme(), horizon.hours
    if isinstance(device, Battery):
        first, end, keep, wanted = 0, horizon.mtus, device.keep(horizon), device.final_kwh
        ranges = [(0.0, device.max_charge_kw)]
        final_value = device.final_value
    else:
        first, end, keep, wanted = device.arrival_mtu, device.departure_mtu, 1.0, device.required_kwh
        ranges = [(level.lower_kw, level.upper_kw) for level in device.levels]
        final_value = 0.0
    floor = device.floor_kwh(horizon)
    before: int | None = None
    for t in range(horizon.mtus):
        if not first <= t < end:
            kinks = cost.kink[0, t] * np.maximum(0.0, -cost.kink_at[0, t])
            programme.constant += hours * float(kinks.sum())
            continue
        modes = [(-device.max_discharge_kw, 0.0, 1.0 / device.discharge_efficiency), (0.0, 0.0, 1.0)]
        modes += [(low, high, device.charge_efficiency) for low, high in ranges]
        state = programme.column(max(0.0, float(floor[t - first])), device.capacity_kwh, -hours * device.waiting_cost)
        programme.constant += hours * device.waiting_cost * device.capacity_kwh
        balance = {state: 1.0}
        if before is not None:
            balance[before] = -keep
        chosen, powers = {}, {}
        for low, high, factor in modes:
            wear = -hours * device.cycle_cost if low < 0.0 else 0.0
            power = programme.column(min(low, 0.0), max(high, 0.0), hours * float(cost.price[0, t]) + wear)
            use = programme.column(0, 1, whole=True)
            programme.row({power: 1.0, use: -low}, 0.0, np.inf)
            programme.row({power: 1.0, use: -high}, -np.inf, 0.0)
            balance[power] = -hours * factor
            chosen[use] = 1.0
            powers[power] = 1.0
        programme.row(chosen, 1.0, 1.0)
        start = keep * device.initial_kwh if before is None else 0.0
        programme.row(balance, start, start)
        _kinks(programme, powers, cost, t, hours)
        before = state
    if before is None:
        return programme.constant + shortfall_price * max(0.0, wanted - device.initial_kwh)
    programme.cost[before] -= final_value
    missing = programme.column(0.0, np.inf, shortfall_price)
    programme.row({missing: 1.0, before: 1.0}, wanted, np.inf)
    return programme.solve()[0]


def cheapest_modulating(device: Thermostatic, horizon: Horizon, cost: PowerCost) -> float:
    """Currency of a modulating load's cheapest schedule under the first of the costs of power, weight 0."""
    programme, hours = Programme(), horizon.hours
    keep, gain, drift = device.dynamics(horizon)
    before: int | None = None
    ons: list[int] = []
    for t in range(horizon.mtus):
        power = programme.column(0.0, device.rated_kw, hours * float(cost.price[0, t]))
        on = programme.column(0, 1, whole=True)
        programme.row({power: 1.0, on: -device.min_kw}, 0.0, np.inf)
        programme.row({power: 1.0, on: -device.rated_kw}, -np.inf, 0.0)
        state = programme.column(-np.inf, np.inf)
        balance = {state: 1.0, power: -float(gain[t])}
        if before is not None:
            balance[before] = -keep
        given = float(drift[t]) + (keep * device.initial_c if before is None else 0.0)
        programme.row(balance, given, given)
        for sign, limit in ((1.0, float(device.lower_c[t])), (-1.0, -float(device.upper_c[t]))):
            outside = programme.column(0.0, np.inf, hours * device.discomfort_cost)
            programme.row({outside: 1.0, state: sign}, limit, np.inf)
        _kinks(programme, {power: 1.0}, cost, t, hours)
        ons.append(on)
        before = state
    _minimum_times(programme, device, ons)
    return programme.solve()[0]


def _minimum_times(programme: Programme, device: Thermostatic, ons: list[int]) -> None:
    """Least runs and rests, and what starts cost; the first MTUs go on as they were for as long as they must."""
    mtus = len(ons)
    least = device.min_on_mtus if device.running else device.min_off_mtus
    elapsed = least if device.elapsed_mtus is None else min(least, device.elapsed_mtus)
    for t in range(min(mtus, least - elapsed)):
        programme.row({ons[t]: 1.0}, float(device.running), float(device.running))
    for t in range(mtus):
        start = programme.column(0.0, 1.0, device.start_cost)
        was = float(device.running) if t == 0 else 0.0
        step = {ons[t]: 1.0} if t == 0 else {ons[t]: 1.0, ons[t - 1]: -1.0}
        programme.row({start: 1.0, **{j: -v for j, v in step.items()}}, -was, np.inf)
        for later in range(t + 1, min(mtus, t + device.min_on_mtus)):
            programme.row({ons[later]: 1.0, **{j: -v for j, v in step.items()}}, -was, np.inf)
        for later in range(t + 1, min(mtus, t + device.min_off_mtus)):
            # off[later] >= on[t-1] - on[t], with off = 1 - on
            programme.row({ons[later]: 1.0, **{j: -v for j, v in step.items()}}, -np.inf, 1.0 - was)


def _kinks(programme: Programme, powers: dict[int, float], cost: PowerCost, t: int, hours: float) -> None:
    for at, kink in zip(cost.kink_at[0, t], cost.kink[0, t], strict=True):
        if kink > 0.0:
            above = programme.column(0.0, np.inf, hours * float(kink))
            programme.row({above: 1.0, **{j: -v for j, v in powers.items()}}, -float(at), np.inf)
