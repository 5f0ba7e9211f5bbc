"""Processes that answer problems, so that whoever waits for a solver holds up nobody else.

A process belongs to one question at a time. Whoever stops waiting, as its deadline has come, has the process ended: no
answer is trusted to end by itself. One that dies is replaced, and its question is asked once more.
"""

import asyncio
import heapq
import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from optimization.errors import OptimizationError, SolverError

T = TypeVar("T")
Job = tuple[Callable[..., Any], tuple[Any, ...]]

URGENT, PATIENT = 0, 1
"""Who is answered first where more ask than there are processes: clearings before plans that bind nobody."""


class _Process:
    """One process, started with the first question."""

    def __init__(self, memory_bytes: int | None) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, memory_bytes), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int | None:
        """The process's id."""
        return self._process.pid

    def ask(self, job: Job) -> tuple[bool, Any]:
        """Whether there is an answer, and it or the error; waits in the calling thread.

        Raises
        ------
        EOFError, OSError
            If the process ends meanwhile.
        """
        self._pipe.send(job)
        done, answer = self._pipe.recv()
        return bool(done), answer

    def end(self) -> None:
        """End it at once, whatever it is doing."""
        self._process.kill()
        self._process.join()  # whoever reads from its pipe learns of the end; the pipe is closed with its last reader


class WorkerPool:
    """A few processes, each started when it is first needed.

    Parameters
    ----------
    workers : how many questions are answered at a time
    memory_bytes : address space that each process may take; None for no limit
    """

    def __init__(self, *, workers: int = 1, memory_bytes: int | None = None) -> None:
        self._workers = workers
        self._memory_bytes = memory_bytes
        self._idle: list[_Process] = []
        self._busy: set[_Process] = set()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()
        self._taken = 0
        self._threads: ThreadPoolExecutor | None = None

    def pids(self) -> tuple[int, ...]:
        """The ids of the processes that there are."""
        return tuple(process.pid for process in (*self._idle, *self._busy) if process.pid is not None)

    async def run(self, answer: Callable[..., T], *args: object, urgency: int = PATIENT) -> T:
        """What ``answer(*args)`` returns in a process of the pool.

        Raises
        ------
        OptimizationError
            If the answer raises it, or the process ended twice.
        """
        await self._take_turn(urgency)
        try:
            try:
                result: T = await self._ask((answer, args))
            except (EOFError, OSError):
                result = await self._ask_again((answer, args))
            return result
        finally:
            self._pass_turn()

    async def _ask_again(self, job: Job) -> Any:
        try:
            return await self._ask(job)
        except (EOFError, OSError) as err:
            raise SolverError("worker process: got its end twice, wanted an answer") from err

    async def _ask(self, job: Job) -> Any:
        process = self._idle.pop() if self._idle else await asyncio.to_thread(_Process, self._memory_bytes)
        self._busy.add(process)
        if self._threads is None:
            self._threads = ThreadPoolExecutor(max_workers=self._workers, thread_name_prefix="solver")
        asked = self._threads.submit(process.ask, job)
        try:
            done, answer = await asyncio.wrap_future(asked)
        except BaseException as err:  # nobody waits for it any more, or it has ended
            process.end()
            if process not in self._busy and isinstance(err, EOFError | OSError):
                raise SolverError("worker process: got its end, as the solver was closed") from err
            self._busy.discard(process)
            raise
        self._busy.discard(process)
        self._idle.append(process)
        if not done:
            raise answer
        return answer

    async def _take_turn(self, urgency: int) -> None:
        if self._free():
            self._taken += 1
            return
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (urgency, next(self._order), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_turn()
            raise

    def _free(self) -> bool:
        return self._taken < self._workers

    def _pass_turn(self) -> None:
        """Give the turn to the most urgent who waits; keep it where nobody does."""
        while self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._taken -= 1

    def close(self) -> None:
        """End all processes; the next question starts new ones."""
        for process in (*self._idle, *self._busy):
            process.end()
        self._idle.clear()
        self._busy.clear()
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
            self._threads = None


def _serve(pipe: Connection, memory_bytes: int | None) -> None:
    """Answer until nobody asks any more.

    Matrices are too small for several threads to pay: they would spin, and take processors from the kernels that share
    their work themselves.
    """
    # numba makes a lock for processes. Under "spawn" it would have a name that outlives a process which is killed.
    multiprocessing.set_start_method("fork", force=True)
    threadpool_limits(limits=1, user_api="blas")
    # A person's interrupt reaches the whole group: the service answers it, and ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            answer, args = pipe.recv()
        except EOFError:
            return
        pipe.send(_outcome(answer, args))


def _end_with_parent() -> None:
    """A process that nobody is there to end any more ends by itself."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _outcome(answer: Callable[..., Any], args: tuple[Any, ...]) -> tuple[bool, Any]:
    """An answer; whatever it raises is an error of ours, so that it can leave the process."""
    try:
        return True, answer(*args)
    except OptimizationError as err:
        return False, err
    except Exception as err:
        return False, SolverError(f"{type(err).__name__}: {err}")
