"""An event loop whose time passes only while everybody waits: hours of a driver in a moment, the same each time."""

import asyncio
import selectors


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs by a clock that it moves on itself whenever nothing is left to do at this instant.

    Parameters
    ----------
    clock : SimulatedClock
        The loop's, and everybody's who is given it.
    """

    def __init__(self, clock):
        super().__init__(_Waiting(clock))
        self._virtual = clock

    def time(self):
        return self._virtual.now()

    def run_in_executor(self, executor, func, *args):
        """At once: a thread would take time that nobody counts."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as err:
            future.set_exception(err)
        return future


class _Waiting(selectors.DefaultSelector):
    def __init__(self, clock):
        super().__init__()
        self._clock = clock

    def select(self, timeout=None):
        found = super().select(0)
        if not found and timeout is None:
            raise RuntimeError("everybody waits, and nobody for an instant: nothing will ever happen")
        if not found and timeout > 0:
            self._clock.advance(timeout)
        return found
