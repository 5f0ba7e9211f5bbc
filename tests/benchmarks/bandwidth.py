"""This machine's memory bandwidth, and beside it what a round of ADMM costs: ``python -m tests.benchmarks.bandwidth``.

Bandwidth is that of McCalpin's triad (1995), a = b + s c over arrays far larger than the caches; as in STREAM three
transfers of 8 bytes count for each element. It is run in a process of its own, so that its arrays do not count as
another's.
"""

import argparse
import json
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numba
import numpy as np

from optimization.market import Market
from tests.benchmarks.families import family

ELEMENTS = 20_000_000
PASSES = 10

PAIR_BYTES = 8 * (2 + 1 + 2) + 2 * 4 + 8 * (2 + 1)
"""Least traffic of a round for each pair of peers: it reads the proposals of both, the pair's price, what the trade
costs each side and who they are, and writes the proposals and the price."""


@numba.njit(parallel=True)
def _triad(a: np.ndarray, b: np.ndarray, c: np.ndarray, s: float) -> None:
    for i in numba.prange(a.size):
        a[i] = b[i] + s * c[i]


def triad_gb_s(threads: int, elements: int = ELEMENTS) -> float:
    """GB/s (1e9 bytes) of the fastest of some passes with a number of threads, 1 to numba's most."""
    most = numba.get_num_threads()
    numba.set_num_threads(threads)
    try:
        a, b, c = np.zeros(elements), np.ones(elements), np.full(elements, 2.0)
        _triad(a, b, c, 3.0)
        best = np.inf
        for _ in range(PASSES):
            begin = perf_counter()
            _triad(a, b, c, 3.0)
            best = min(best, perf_counter() - begin)
    finally:
        numba.set_num_threads(most)
    if not (a == 7.0).all():
        raise ArithmeticError("triad: got wrong sums")
    return 24.0 * elements / best / 1e9


def pairs(market: Market) -> int:
    """Pairs of peers that may trade, either way or both."""
    low = np.minimum(market.links.seller, market.links.buyer)
    high = np.maximum(market.links.seller, market.links.buyer)
    return int(np.unique(low * len(market.peers) + high).size)


def round_seconds(market: Market, scheme: str, rounds: int = 40) -> float:
    """Seconds of one more round: the difference between runs of a number of rounds and of three times as many.

    So what comes before and after the rounds does not count. The tolerance is one that no run reaches.
    """
    from optimization.admm import AdmmOptions, clear

    def seconds(count: int) -> float:
        options = AdmmOptions(scheme=scheme, tolerance=1e-300, max_iterations=count)
        best = np.inf
        for _ in range(3):
            begin = perf_counter()
            clear(market, options=options)
            best = min(best, perf_counter() - begin)
        return best

    clear(market, options=AdmmOptions(scheme=scheme, tolerance=1e-300, max_iterations=2))
    return (seconds(3 * rounds) - seconds(rounds)) / (2 * rounds)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each number of threads, then one for each scheme of ADMM."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bandwidth")
    parser.add_argument("--peers", type=int, default=1000, help="of the full bipartite market of ADMM's rounds")
    parser.add_argument("--elements", type=int, default=ELEMENTS, help="of each of the triad's arrays")
    options = parser.parse_args(arguments)
    gb_s = 0.0
    for threads in range(1, numba.get_num_threads() + 1):
        gb_s = triad_gb_s(threads, options.elements)
        put({"kind": "bandwidth", "threads": threads, "gb_s": gb_s})
    market = family("bipartite", peers=options.peers, seed=1)
    count = pairs(market)
    for scheme in ("plain", "accelerated"):
        seconds = round_seconds(market, scheme)
        one_pass = PAIR_BYTES * count / (gb_s * 1e9)
        put({
            "kind": "round",
            "scheme": scheme,
            "threads": numba.get_num_threads(),
            "peers": options.peers,
            "pairs": count,
            "bytes": PAIR_BYTES * count,
            "seconds": seconds,
            "pass_seconds": one_pass,
            "passes": seconds / one_pass,
        })  # fmt: skip


def put(line: dict[str, Any]) -> None:
    """Print one line."""
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
