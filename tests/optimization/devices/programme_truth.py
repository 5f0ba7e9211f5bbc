"""Slow, obvious twins of the programmes' oracle: all placements one by one, and a mixed-integer program for HiGHS."""

from collections.abc import Iterator, Sequence

import numpy as np

from optimization.devices import Programme
from optimization.devices.oracle import PowerCost, power_cost
from optimization.quantities import Floats, Horizon
from tests.optimization.devices.commitment_truth import Program, mtu_cost

REACH = 12
"""MTUs beyond the horizon in which the twins let a begun programme go on."""


def placements(device: Programme, horizon: Horizon, begin: range) -> Iterator[tuple[int, Floats]]:
    """Each end and (T,) power of a programme whose whole is begun in some range, or that has begun before."""
    beyond = horizon.mtus + REACH

    def place(j: int, t: int, power: Floats) -> Iterator[tuple[int, Floats]]:
        """From phase j, begun at t, to the end."""
        levels, power = device.phases[j].power_kw, power.copy()
        for i, level in enumerate(levels[: max(0, beyond - t)]):
            power[t + i] = level
        yield from later(j + 1, t + levels.size, power)

    def later(j: int, ended: int, power: Floats) -> Iterator[tuple[int, Floats]]:
        """From the pause before phase j to the end."""
        if j == len(device.phases):
            if device.progress is not None or ended <= device.end_mtu:
                yield ended, power[: horizon.mtus]
            return
        least, most = device.phases[j].min_pause_mtus, device.phases[j].max_pause_mtus
        for t in range(ended + least, min(ended + most, beyond) + 1):
            yield from place(j, t, power)

    blank = np.zeros(beyond)
    if device.progress is None:
        for t in begin:
            if device.first_mtu <= t < device.end_mtu:
                yield from place(0, t, blank)
        return
    j, elapsed, paused = device.progress.phase, device.progress.elapsed_mtus, device.progress.paused_mtus
    rest = device.phases[j].power_kw[elapsed:]
    if rest.size:
        blank[: rest.size] = rest
        yield from later(j + 1, rest.size, blank)
    elif j + 1 == len(device.phases):
        yield -paused, blank[: horizon.mtus]
    else:
        least, most = device.phases[j + 1].min_pause_mtus, device.phases[j + 1].max_pause_mtus
        allowed = [t for t in range(beyond) if least <= paused + t <= most] or [max(0, least - paused)]
        for t in allowed:
            yield from place(j + 1, t, blank)


def chain_placements(
    chain: Sequence[Programme], horizon: Horizon, begin: range, shortfall_price: float
) -> Iterator[tuple[float, tuple[Floats, ...]]]:
    """Own cost and powers of each way in which a chain can go."""
    if not chain:
        yield 0.0, ()
        return
    device, hours = chain[0], horizon.hours
    if device.progress is None:
        left_out = sum(shortfall_price * d.energy_kwh(hours) for d in chain)
        yield left_out, tuple(np.zeros(horizon.mtus) for _ in chain)
    for ended, power in placements(device, horizon, begin):
        late = hours**2 * device.waiting_cost * float(power @ np.arange(horizon.mtus))
        following = chain[1:]
        window = range(0)
        if following:
            window = range(max(0, ended + following[0].min_delay_mtus), ended + following[0].max_delay_mtus + 1)
        for own, powers in chain_placements(following, horizon, window, shortfall_price):
            yield late + own, (power, *powers)


def enumerate_chain(chain: Sequence[Programme], horizon: Horizon, cost: PowerCost, shortfall_price: float) -> float:
    """The least cost over all ways."""
    return min(
        own + float(power_cost(cost, np.sum(powers, axis=0)[None], horizon.hours)[0])
        for own, powers in chain_placements(chain, horizon, range(horizon.mtus), shortfall_price)
    )


def milp_chain(chain: Sequence[Programme], horizon: Horizon, cost: PowerCost, shortfall_price: float) -> float:
    """The least cost by HiGHS, of programmes that have not begun: a binary for each phase and MTU of its begin."""
    hours, mtus = horizon.hours, horizon.mtus
    program = Program()
    runs_before: int | None = None
    end_before: list[tuple[int, float]] = []
    for device in chain:
        runs = program.add(cost=-shortfall_price * device.energy_kwh(hours))
        if runs_before is not None:
            program.row([(runs, 1.0), (runs_before, -1.0)], upper=0.0)
        ended: list[tuple[int, float]] = []
        for j, phase in enumerate(device.phases):
            begins = []
            for t in range(device.first_mtu, device.end_mtu - phase.mtus + 1):
                spent = 0.0
                for i, level in enumerate(phase.power_kw):
                    spent += mtu_cost(cost, hours, t + i, float(level)) - mtu_cost(cost, hours, t + i, 0.0)
                    spent += hours**2 * device.waiting_cost * float(level) * (t + i)
                begins.append((t, program.add(cost=spent)))
            program.row([*((column, 1.0) for _, column in begins), (runs, -1.0)], 0.0, 0.0)
            begun = [(column, float(t)) for t, column in begins]
            if j > 0:
                pause = [*begun, *((column, -t) for column, t in ended)]
                program.row([*pause, (runs, -float(phase.min_pause_mtus))], lower=0.0)
                program.row([*pause, (runs, -float(phase.max_pause_mtus))], upper=0.0)
            elif runs_before is not None:
                delay = [*begun, *((column, -t) for column, t in end_before)]
                far = 2.0 * mtus
                program.row([*delay, (runs, -far)], lower=device.min_delay_mtus - far)
                program.row([*delay, (runs, far + device.max_delay_mtus)], upper=device.max_delay_mtus * 2 + far)
            ended = [*begun, (runs, float(phase.mtus))]
        runs_before, end_before = runs, ended
    left_out = sum(shortfall_price * device.energy_kwh(hours) for device in chain)
    return program.solve() + left_out + float(power_cost(cost, np.zeros((1, mtus)), hours)[0])
