"""The batch of uninterruptible cycles, those that follow on each other together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from optimization.devices.oracle import Integers, PowerCost, Response, power_cost
from optimization.devices.power_step import kernel_arguments
from optimization.devices.programme import Programme
from optimization.devices.sequence_dp import Chains, cheapest_sequence
from optimization.errors import ProblemError
from optimization.peer_to_peer.chunks import SMALL
from optimization.quantities import Floats, Horizon


@dataclass(frozen=True, slots=True, kw_only=True)
class Programmes:
    """Programmes, a block each or a block for each chain. Exact.

    A programme that follows another but has itself begun has nothing left to wait for: it heads a block of its own.

    Attributes
    ----------
    devices : R programmes, those of a chain one after the other, first one first
    horizon : the MTUs
    block : (R,) the chain of each
    chains : the same in arrays
    """

    devices: tuple[Programme, ...]
    horizon: Horizon
    block: Integers
    chains: Chains

    @classmethod
    def of(cls, devices: Sequence[Programme], horizon: Horizon, shortfall_price: float) -> "Programmes":
        """The batch of these programmes, chains in the order of their first ones.

        Raises
        ------
        ProblemError
            If a programme follows one that is not among them, that another follows too, or itself in a ring.
        """
        chains = _chains_of(devices)
        ordered = tuple(device for chain in chains for device in chain)
        sizes = [len(chain) for chain in chains]
        return cls(
            devices=ordered,
            horizon=horizon,
            block=np.repeat(np.arange(len(chains)), sizes),
            chains=_packed(ordered, sizes, horizon, shortfall_price),
        )

    def respond(self, cost: PowerCost, blocks: Integers | None = None) -> Response:
        """The cheapest schedules; see ``oracle.Batch``."""
        blocks = self._blocks(blocks)
        row = self._rows(blocks)
        power = np.empty((int(row[-1]), self.horizon.mtus))
        kernel = _run_in_parallel if power.size * 100 > SMALL else _run
        kernel(
            *kernel_arguments(cost), self.horizon.hours,
            blocks, row, self.chains, power,
        )  # fmt: skip
        own = self.own_cost(power, blocks)
        together = np.add.reduceat(power, row[:-1], axis=0)
        return Response(power_kw=power, own_cost=own, bound=own + power_cost(cost, together, self.horizon.hours))

    def own_cost(self, power_kw: Floats, blocks: Integers | None = None) -> Floats:
        """(B,) currency of waiting and of what is left out of feasible schedules."""
        blocks = self._blocks(blocks)
        row = self._rows(blocks)
        of_row = np.repeat(self.chains.chain[blocks] - row[:-1], np.diff(row)) + np.arange(row[-1])
        left_out = (self.chains.programme[of_row, 5] < 0) & ~(power_kw > 0.0).any(axis=1)
        late = self.chains.price_later[of_row] * (power_kw @ np.arange(self.horizon.mtus))
        return np.asarray(np.add.reduceat(late + self.chains.left_out_cost[of_row] * left_out, row[:-1]))

    def _blocks(self, blocks: Integers | None) -> Integers:
        return np.arange(self.chains.chain.size - 1) if blocks is None else blocks

    def _rows(self, blocks: Integers) -> Integers:
        """(B + 1,) the first row of each of some blocks in an answer of theirs, and the number of rows."""
        sizes = self.chains.chain[blocks + 1] - self.chains.chain[blocks]
        return np.concatenate([[0], np.cumsum(sizes)])


def _chains_of(devices: Sequence[Programme]) -> list[list[Programme]]:
    known = {device.id for device in devices}
    followers: dict[str, Programme] = {}
    heads = []
    for device in devices:
        if device.follows is None or device.progress is not None:
            heads.append(device)
        elif device.follows not in known:
            raise ProblemError(f"{device.id}.follows: got {device.follows}, wanted it among the programmes")
        elif device.follows in followers:
            raise ProblemError(f"{device.follows}: got followers {followers[device.follows].id} and {device.id}")
        else:
            followers[device.follows] = device
    chains = []
    for head in heads:
        chain = [head]
        while (follower := followers.pop(chain[-1].id, None)) is not None:
            chain.append(follower)
        chains.append(chain)
    if followers:
        raise ProblemError(f"{min(followers)}: got a ring of programmes, wanted a first one")
    return chains


def _packed(devices: Sequence[Programme], sizes: Sequence[int], horizon: Horizon, shortfall_price: float) -> Chains:
    phases = [phase for device in devices for phase in device.phases]
    lengths = np.concatenate([[0], np.cumsum([phase.mtus for phase in phases])])
    pauses = [(phase.min_pause_mtus, phase.max_pause_mtus) for phase in phases]
    first_phase = np.concatenate([[0], np.cumsum([len(device.phases) for device in devices])])
    left_out = [0.0 if d.progress else shortfall_price * d.energy_kwh(horizon.hours) for d in devices]
    return Chains(
        level_kw=np.concatenate([phase.power_kw for phase in phases]),
        phase=np.column_stack([lengths, [*pauses, (0, 0)]]),
        programme=np.column_stack([first_phase, [*(_rules(device, horizon) for device in devices), (0,) * 7]]),
        price_later=horizon.hours**2 * np.array([device.waiting_cost for device in devices]),
        left_out_cost=np.array(left_out),
        chain=np.concatenate([[0], np.cumsum(sizes)]),
    )


def _rules(device: Programme, horizon: Horizon) -> tuple[int, ...]:
    """Columns 1 to 7 of a programme in ``Chains``."""
    window = (device.first_mtu, min(device.end_mtu, horizon.mtus), device.min_delay_mtus, device.max_delay_mtus)
    if device.progress is None:
        return (*window, -1, 0, 0)
    return (*window, device.progress.phase, device.progress.elapsed_mtus, device.progress.paused_mtus)


@njit(cache=True)
def _run(price, kink_at, kink, target, weight, hours, blocks, row, chains, power):  # type: ignore[no-untyped-def]
    for i in range(blocks.size):
        cheapest_sequence(
            blocks[i], chains, hours, price[i], kink_at[i], kink[i], target[i], weight, power[row[i] : row[i + 1]]
        )


@njit(cache=True, parallel=True)
def _run_in_parallel(price, kink_at, kink, target, weight, hours, blocks, row, chains, power):  # type: ignore[no-untyped-def]
    for i in prange(blocks.size):
        cheapest_sequence(
            blocks[i], chains, hours, price[i], kink_at[i], kink[i], target[i], weight, power[row[i] : row[i + 1]]
        )
