"""Saying that kernels are being compiled, which makes the first run on a machine wait for a minute or more."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from numba.core.dispatcher import Dispatcher
from numba.core.event import Event, Listener, install_listener

COMPILING = "compiling kernels for this machine: one to three minutes, at the first time only"

EVENT = "numba:compile"
"""What numba broadcasts when a kernel is compiled, and not when it comes from the cache."""


class _Once(Listener):
    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell
        self._told = False

    def on_start(self, event: Event) -> None:
        if not self._told:
            self._told = True
            self._tell()

    def on_end(self, event: Event) -> None:
        pass


@contextmanager
def telling(tell: Callable[[], None]) -> Iterator[None]:
    """Within it ``tell`` is called when the first kernel has to be compiled, and not again."""
    with install_listener(EVENT, _Once(tell)):
        yield


def never_compiled() -> bool:
    """Whether this machine has yet to compile the kernel that every plan of a community needs.

    For those who plan in another process, and want to know beforehand. A kernel that is older than its code is
    compiled anew.
    """
    from optimization.network_simplex import network_simplex

    if not isinstance(network_simplex, Dispatcher) or network_simplex.stats.cache_path is None:
        # The environment forbids compiling, or keeping what was compiled.
        return False
    function = network_simplex.py_func
    code = Path(function.__code__.co_filename)
    cached = Path(network_simplex.stats.cache_path).glob(f"{code.stem}.{function.__name__}-*.nbi")
    return all(index.stat().st_mtime < code.stat().st_mtime for index in cached)
