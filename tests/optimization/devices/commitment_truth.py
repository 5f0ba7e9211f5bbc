"""Slow, obvious twins of the on/off oracles: all schedules one by one, and a mixed-integer program for HiGHS.

Both are written from the devices' rules and share nothing with the oracles.
"""

from collections.abc import Iterator
from itertools import pairwise, product

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp, minimize_scalar

from optimization.devices import Generator, Interruptible
from optimization.devices.oracle import PowerCost, power_cost
from optimization.quantities import Floats, Horizon


def at_level(cost: PowerCost, hours: float, level: float) -> Floats:
    """(T,) currency by which each MTU at a level costs more than at none."""
    mtus = cost.price.shape[1]
    return np.array([mtu_cost(cost, hours, t, level) - mtu_cost(cost, hours, t, 0.0) for t in range(mtus)])


def mtu_cost(cost: PowerCost, hours: float, t: int, power: float) -> float:
    kinked = sum(k * max(0.0, power - at) for k, at in zip(cost.kink[0, t], cost.kink_at[0, t], strict=True))
    return hours * (cost.price[0, t] * power + kinked + 0.5 * cost.weight * (power - cost.target[0, t]) ** 2)


def runs_of(on: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Half-open runs of a schedule."""
    t = 0
    while t < len(on):
        if on[t]:
            end = t
            while end < len(on) and on[end]:
                end += 1
            yield t, end
            t = end
        t += 1


def appliance_may(device: Interruptible, horizon: Horizon, on: tuple[int, ...]) -> bool:
    """Whether a schedule keeps the rules of an appliance."""
    forced = min(device.forced_mtus, horizon.mtus)
    outside = any(on[t] and t >= forced and not device.first_mtu <= t < device.end_mtu for t in range(horizon.mtus))
    if outside or not all(on[:forced]) or any(on[: device.resting_mtus]) or sum(on) > device.max_on_mtus:
        return False
    starts = {0: device.starts_today}
    previous_end = 0 if device.running and not on[0] else None
    for begin, end in runs_of(on):
        if begin > 0 or not device.running:
            rested = previous_end is None or begin - previous_end >= device.min_off_mtus
            day = horizon.day[begin]
            starts[day] = starts.get(day, 0) + 1
            allowed = device.max_starts is None or starts[day] <= device.max_starts
            if not (rested and allowed and end - begin >= device.min_on_mtus):
                return False
        previous_end = end
    return True


def generator_may(device: Generator, horizon: Horizon, up: tuple[int, ...]) -> bool:
    """Whether a commitment keeps the minimum times of a generator."""
    before = device.elapsed_mtus if device.elapsed_mtus is not None else 10**6
    state, length = int(device.running), before
    for now in up:
        if now == state:
            length += 1
            continue
        if length < (device.min_up_mtus if state else device.min_down_mtus):
            return False
        state, length = now, 1
    return len(up) == horizon.mtus


def starts_of(on: tuple[int, ...], running: bool) -> int:
    return sum(now and not before for before, now in zip((int(running), *on), on, strict=False))


def enumerate_appliance(device: Interruptible, horizon: Horizon, cost: PowerCost, shortfall_price: float) -> float:
    """The least cost over all schedules."""
    best, hours = np.inf, horizon.hours
    for on in product((0, 1), repeat=horizon.mtus):
        if appliance_may(device, horizon, on):
            power = device.power_kw * np.array(on, dtype=float)
            late = hours**2 * device.waiting_cost * sum(t * p for t, p in enumerate(power))
            missing = max(0, device.required_mtus - sum(on)) * shortfall_price * device.power_kw * hours
            own = late + missing + device.start_cost * starts_of(on, device.running)
            best = min(best, own + float(power_cost(cost, power[None], hours)[0]))
    return best


def fuel(device: Generator, hours: float, output: float) -> float:
    return hours * (0.5 * device.quadratic_cost * output**2 + device.linear_cost * output + device.running_cost)


def enumerate_generator(device: Generator, horizon: Horizon, cost: PowerCost) -> float:
    """The least cost over all commitments, each output by search between the kinks."""
    hours, mtus = horizon.hours, horizon.mtus
    while_up, down = [], []
    for t in range(mtus):

        def whole(output: float, t: int = t) -> float:
            return mtu_cost(cost, hours, t, -output) + fuel(device, hours, output)

        corners = sorted({device.min_kw, device.max_kw, *np.clip(-cost.kink_at[0, t], device.min_kw, device.max_kw)})
        values = [whole(corner) for corner in corners]
        for low, high in pairwise(corners):
            found = minimize_scalar(whole, bounds=(low, high), method="bounded", options={"xatol": 1e-10})
            values.append(float(found.fun))
        while_up.append(min(values))
        down.append(mtu_cost(cost, hours, t, 0.0))
    best = np.inf
    for up in product((0, 1), repeat=mtus):
        if generator_may(device, horizon, up):
            total = sum(while_up[t] if up[t] else down[t] for t in range(mtus))
            best = min(best, total + device.start_cost * starts_of(up, device.running))
    return best


class Program:
    """A mixed-integer program, column by column and row by row."""

    def __init__(self) -> None:
        self.cost: list[float] = []
        self.lower: list[float] = []
        self.upper: list[float] = []
        self.whole: list[int] = []
        self.rows: list[tuple[dict[int, float], float, float]] = []

    def add(self, cost: float = 0.0, lower: float = 0.0, upper: float = 1.0, whole: bool = True) -> int:
        self.cost.append(cost)
        self.lower.append(lower)
        self.upper.append(upper)
        self.whole.append(int(whole))
        return len(self.cost) - 1

    def row(self, terms: list[tuple[int, float]], lower: float = -np.inf, upper: float = np.inf) -> None:
        summed: dict[int, float] = {}
        for column, factor in terms:
            summed[column] = summed.get(column, 0.0) + factor
        self.rows.append((summed, lower, upper))

    def solve(self) -> float:
        matrix = np.zeros((len(self.rows), len(self.cost)))
        for i, (terms, _, _) in enumerate(self.rows):
            for column, factor in terms.items():
                matrix[i, column] = factor
        lower, upper = [row[1] for row in self.rows], [row[2] for row in self.rows]
        # With presolve, HiGHS in scipy 1.17.1 calls -1.35 optimal for a generator of six MTUs that can have -1.575.
        answer = milp(
            self.cost,
            integrality=self.whole,
            bounds=Bounds(self.lower, self.upper),
            constraints=LinearConstraint(matrix, lower, upper),
            options={"mip_rel_gap": 0.0, "presolve": False},
        )
        assert answer.status == 0, answer.message
        return float(answer.fun)


def add_switches(
    program: Program, horizon: Horizon, *, cost: Floats, start_cost: float, min_on: int, min_off: int, running: bool,
    elapsed: int | None,
) -> tuple[list[int], list[int]]:  # fmt: skip
    """Columns of on and of starts, with minimum times."""
    mtus = horizon.mtus
    on = [program.add(cost=float(c)) for c in cost]
    start = [program.add(cost=start_cost) for _ in range(mtus)]
    stop = [program.add() for _ in range(mtus)]
    for t in range(mtus):
        before = [] if t == 0 else [(on[t - 1], -1.0)]
        was = float(running) if t == 0 else 0.0
        program.row([(on[t], 1.0), *before, (start[t], -1.0), (stop[t], 1.0)], was, was)
        program.row([*((start[s], 1.0) for s in range(max(0, t - min_on + 1), t + 1)), (on[t], -1.0)], upper=0.0)
        program.row([*((stop[s], 1.0) for s in range(max(0, t - min_off + 1), t + 1)), (on[t], 1.0)], upper=1.0)
    if elapsed is not None:
        for t in range(min(mtus, max(0, (min_on if running else min_off) - elapsed))):
            program.row([(on[t], 1.0)], float(running), float(running))
    return on, start


def milp_appliance(device: Interruptible, horizon: Horizon, cost: PowerCost, shortfall_price: float) -> float:
    """The least cost by HiGHS."""
    hours, mtus = horizon.hours, horizon.mtus
    each = at_level(cost, hours, device.power_kw)
    late = hours**2 * device.waiting_cost * device.power_kw * np.arange(mtus)
    program = Program()
    on, start = add_switches(
        program, horizon, cost=each + late, start_cost=device.start_cost, min_on=device.min_on_mtus,
        min_off=device.min_off_mtus, running=device.running, elapsed=device.elapsed_mtus,
    )  # fmt: skip
    short = program.add(cost=shortfall_price * device.power_kw * hours, upper=float(device.required_mtus), whole=False)
    program.row([*((column, 1.0) for column in on), (short, 1.0)], lower=device.required_mtus)
    program.row([(column, 1.0) for column in on], upper=device.max_on_mtus)
    for t in range(mtus):
        if t >= device.forced_mtus and not device.first_mtu <= t < device.end_mtu:
            program.upper[on[t]] = 0.0
        if t + device.min_on_mtus > device.end_mtu:
            program.upper[start[t]] = 0.0
    if device.max_starts is not None:
        for day in range(int(horizon.day[-1]) + 1):
            used = device.starts_today if day == 0 else 0
            columns = [(start[t], 1.0) for t in range(mtus) if horizon.day[t] == day]
            program.row(columns, upper=max(0, device.max_starts - used))
    return program.solve() + float(power_cost(cost, np.zeros((1, mtus)), hours)[0])


def milp_generator(device: Generator, horizon: Horizon, cost: PowerCost) -> float:
    """The least cost by HiGHS; without quadratic terms."""
    hours, mtus = horizon.hours, horizon.mtus
    program = Program()
    up, _ = add_switches(
        program, horizon, cost=np.full(mtus, hours * device.running_cost), start_cost=device.start_cost,
        min_on=device.min_up_mtus, min_off=device.min_down_mtus, running=device.running, elapsed=device.elapsed_mtus,
    )  # fmt: skip
    for t in range(mtus):
        slope = hours * (device.linear_cost - float(cost.price[0, t]))
        output = program.add(cost=slope, upper=device.max_kw, whole=False)
        program.row([(output, 1.0), (up[t], -device.max_kw)], upper=0.0)
        program.row([(output, 1.0), (up[t], -device.min_kw)], lower=0.0)
        for at, kink in zip(cost.kink_at[0, t], cost.kink[0, t], strict=True):
            above = program.add(cost=hours * float(kink), upper=np.inf, whole=False)
            program.row([(above, 1.0), (output, 1.0)], lower=-float(at))
    return program.solve()
