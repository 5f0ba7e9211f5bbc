"""Processes that answer problems, so that whoever waits for a solver holds up nobody else.

A process belongs to one question at a time. Whoever stops waiting, as its deadline has come, has the process ended: no
answer is trusted to end by itself. One that dies is replaced, and its question is asked once more.

What is urgent never waits for what is patient: where all processes are taken, a patient question loses its own, and is
asked anew when nobody is in haste any more. So that the urgent one need not wait for a process to start either, patient
questions have processes of their own.
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
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.connection import Connection, wait
from time import monotonic
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from optimization.errors import OptimizationError, SolverError

T = TypeVar("T")
Job = tuple[Callable[..., Any], tuple[Any, ...]]

NICE = 5
"""By how much these processes give way to the service: limits and drivers go before planning, where processors lack."""
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


@dataclass(slots=True, eq=False)
class _Turn:
    """The right to ask, as long as a question is with a process.

    Attributes
    ----------
    urgency, order : who goes first
    given : done when the turn has come
    process : that answers; None while there is none yet
    lost : whether somebody in haste took it away
    """

    urgency: int
    order: int
    given: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    process: _Process | None = None
    lost: bool = False

    def __lt__(self, other: "_Turn") -> bool:
        return (self.urgency, self.order) < (other.urgency, other.order)


class _TurnLostError(Exception):
    """Somebody in haste has taken the process."""


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
        self._idle: dict[int, list[_Process]] = {URGENT: [], PATIENT: []}
        self._busy: set[_Process] = set()
        self._waiting: list[_Turn] = []
        self._turns: set[_Turn] = set()
        self._order = count()
        self._closings = 0
        self._threads: ThreadPoolExecutor | None = None

    def pids(self) -> tuple[int, ...]:
        """The ids of the processes that there are."""
        processes = (*self._idle[URGENT], *self._idle[PATIENT], *self._busy)
        return tuple(process.pid for process in processes if process.pid is not None)

    async def run(self, answer: Callable[..., T], *args: object, urgency: int = PATIENT) -> T:
        """What ``answer(*args)`` returns in a process of the pool.

        Raises
        ------
        OptimizationError
            If the answer raises it, or the process ended twice, or its answer could not be read.
        """
        result: T = await self._run(lambda: (answer, args), urgency)
        return result

    async def run_within(self, answer: Callable[..., T], *args: object, seconds: float, urgency: int = PATIENT) -> T:
        """What ``answer(*args, until)`` returns, ``until`` being the ``time.monotonic`` by which it should.

        That clock is the same in all processes, so that the start of one counts too. Where others in as much haste wait
        for the same processes, what is left when the turn comes is shared with them.

        Raises
        ------
        OptimizationError
            As ``run`` does.
        """
        end = monotonic() + seconds

        def job() -> Job:
            now = monotonic()
            behind = sum(turn.urgency <= urgency for turn in self._waiting if not turn.given.done())
            rounds = 1 + -(-behind // self._workers)
            return answer, (*args, now + (end - now) / rounds)

        result: T = await self._run(job, urgency)
        return result

    async def _run(self, job: Callable[[], Job], urgency: int) -> Any:
        order = next(self._order)
        while True:
            turn = _Turn(urgency, order)
            await self._take(turn)
            try:
                return await self._answer(job, turn)
            except _TurnLostError:
                continue  # nobody sees an answer that is only half a one: it is asked anew
            finally:
                self._pass(turn)

    async def _answer(self, job: Callable[[], Job], turn: _Turn) -> Any:
        try:
            return await self._ask(job(), turn)
        except (EOFError, OSError):
            try:
                return await self._ask(job(), turn)
            except (EOFError, OSError) as err:
                raise SolverError("worker process: got its end twice, wanted an answer") from err

    async def _ask(self, job: Job, turn: _Turn) -> Any:
        process = turn.process = await self._process(turn.urgency)
        if turn.lost:
            turn.process = None
            self._idle[turn.urgency].append(process)
            raise _TurnLostError
        self._busy.add(process)
        if self._threads is None:
            # One more for each process that is being ended while its successor is asked.
            self._threads = ThreadPoolExecutor(max_workers=2 * self._workers, thread_name_prefix="solver")
        asked = self._threads.submit(process.ask, job)
        try:
            done, answer = await asyncio.wrap_future(asked)
        except BaseException as err:  # nobody waits for it any more, it has ended, or what it says makes no sense
            process.end()
            known = process in self._busy
            self._busy.discard(process)
            if isinstance(err, asyncio.CancelledError):
                raise
            if turn.lost:
                raise _TurnLostError from err
            if not known:
                raise SolverError("worker process: got its end, as the solver was closed") from err
            if isinstance(err, EOFError | OSError) or not isinstance(err, Exception):
                raise
            raise SolverError(f"worker process: got what is no answer ({type(err).__name__}: {err})") from err
        finally:
            turn.process = None
        self._busy.discard(process)
        self._idle[turn.urgency].append(process)
        if not done:
            raise answer
        return answer

    async def _process(self, urgency: int) -> _Process:
        """One that waits, or a new one."""
        if self._idle[urgency]:
            return self._idle[urgency].pop()
        closings = self._closings
        starting = asyncio.ensure_future(asyncio.to_thread(_Process, self._memory_bytes))

        def keep(started: asyncio.Future[_Process]) -> None:
            if started.cancelled() or started.exception() is not None:
                return
            if closings == self._closings:
                self._idle[urgency].append(started.result())
            else:
                started.result().end()

        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(keep)  # it is there all the same, for the next question
            raise

    async def _take(self, turn: _Turn) -> None:
        """Wait for the turn; somebody patient makes room for who is in haste."""
        if len(self._turns) < self._workers:
            self._turns.add(turn)
            return
        heapq.heappush(self._waiting, turn)
        if turn.urgency == URGENT:
            self._make_room()
        try:
            await turn.given
        except asyncio.CancelledError:
            if turn.given.done() and not turn.given.cancelled():
                self._pass(turn)
            raise

    def _make_room(self) -> None:
        """Take a process from the patient question that has had it for the shortest time."""
        patient = [turn for turn in self._turns if turn.urgency == PATIENT and not turn.lost]
        if not patient:
            return
        last = max(patient, key=lambda turn: turn.order)
        last.lost = True
        if last.process is not None:
            last.process.end()

    def _pass(self, turn: _Turn) -> None:
        """Give the turn to the most urgent who waits."""
        self._turns.discard(turn)
        while self._waiting:
            following = heapq.heappop(self._waiting)
            if not following.given.done():
                self._turns.add(following)
                following.given.set_result(None)
                return

    def close(self) -> None:
        """End all processes; the next question starts new ones."""
        self._closings += 1
        for process in (*self._idle[URGENT], *self._idle[PATIENT], *self._busy):
            process.end()
        for waiting in self._idle.values():
            waiting.clear()
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
    os.nice(NICE)
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
