"""Processes that die, hang, take too much memory or are asked too much at a time."""

import asyncio
import gc
import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from controller.workers import PATIENT, URGENT, WorkerPool
from optimization.errors import ProblemError, SolverError

pytestmark = pytest.mark.slow


def double(number: int) -> int:
    return 2 * number


def complain() -> None:
    raise ProblemError("no way")


def stumble() -> None:
    raise KeyError("lost")


def hang(begun: str) -> None:
    Path(begun).touch()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(3600)


def die(marks: str, times: int) -> int:
    """Ends its process without a word, so often; then says how often."""
    died = len(os.listdir(marks))
    if died < times:
        (Path(marks) / str(died)).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return died


def linger(marks: str) -> int:
    """Hangs the first time; then says how often it was asked."""
    asked = len(os.listdir(marks))
    (Path(marks) / str(asked)).touch()
    if asked == 0:
        time.sleep(3600)
    return asked + 1


def babble() -> None:
    """Says what is no answer, in the place of one."""
    for thing in gc.get_objects():
        if isinstance(thing, Connection) and thing.writable:
            thing.send_bytes(b"\x80\x05no pickle")
    time.sleep(3600)


def left(until: float) -> float:
    return until - time.monotonic()


def devour(size: int) -> int:
    return len(bytearray(size))


def note(path: str, text: str) -> None:
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(text)


@pytest.fixture
def make_pool():
    pools = []

    def make(**options) -> WorkerPool:
        pools.append(WorkerPool(**options))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


async def begun(path: Path) -> None:
    def watch() -> None:
        while not path.exists():
            time.sleep(0.01)

    await asyncio.to_thread(watch)


def test_it_answers_and_raises_what_the_answer_raises(make_pool):
    pool = make_pool()
    assert asyncio.run(pool.run(double, 21)) == 42
    with pytest.raises(ProblemError, match="no way"):
        asyncio.run(pool.run(complain))
    with pytest.raises(SolverError, match="KeyError: 'lost'"):
        asyncio.run(pool.run(stumble))
    assert len(pool.pids()) == 1


def test_it_gives_way_to_the_service(make_pool):
    """On a machine without a processor to spare limits and drivers go before planning."""
    assert asyncio.run(make_pool().run(os.getpriority, os.PRIO_PROCESS, 0)) > os.getpriority(os.PRIO_PROCESS, 0)


def test_a_process_that_dies_once_is_asked_again(make_pool, tmp_path):
    assert asyncio.run(make_pool().run(die, str(tmp_path), 1)) == 1


def test_one_that_dies_again_is_an_error_and_the_next_question_is_answered(make_pool, tmp_path):
    pool = make_pool()
    with pytest.raises(SolverError, match="got its end twice"):
        asyncio.run(pool.run(die, str(tmp_path), 5))
    assert len(list(tmp_path.iterdir())) == 2
    assert asyncio.run(pool.run(double, 4)) == 8


def test_who_stops_waiting_ends_a_process_that_hangs(make_pool, tmp_path):
    pool = make_pool()

    async def ask():
        asked = asyncio.create_task(pool.run(hang, str(tmp_path / "begun")))
        await begun(tmp_path / "begun")
        (worker,) = pool.pids()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        return worker, await pool.run(double, 3)

    worker, answer = asyncio.run(ask())
    assert answer == 6
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_one_that_hangs_holds_up_no_other(make_pool, tmp_path):
    pool = make_pool(workers=2)

    async def ask():
        stuck = asyncio.create_task(pool.run(hang, str(tmp_path / "begun")))
        await begun(tmp_path / "begun")
        answers = [await pool.run(double, number) for number in range(3)]
        stuck.cancel()
        return answers

    assert asyncio.run(ask()) == [0, 2, 4]


def test_who_is_in_haste_goes_first(make_pool, tmp_path):
    pool, heard = make_pool(), str(tmp_path / "heard")

    async def ask():
        stuck = asyncio.create_task(pool.run(hang, str(tmp_path / "begun")))
        await begun(tmp_path / "begun")
        asked = [
            asyncio.create_task(pool.run(note, heard, text, urgency=urgency))
            for text, urgency in [("a", PATIENT), ("b", PATIENT), ("c", URGENT)]
        ]
        await asyncio.sleep(0)
        asked[0].cancel()
        stuck.cancel()
        return await asyncio.gather(*asked, stuck, return_exceptions=True)

    gone, *others, stuck = asyncio.run(ask())
    assert isinstance(gone, asyncio.CancelledError)
    assert isinstance(stuck, asyncio.CancelledError)
    assert others == [None, None]
    assert Path(heard).read_text(encoding="utf-8") == "cb"


def test_who_is_in_haste_takes_the_process_of_who_can_wait(make_pool, tmp_path):
    pool = make_pool()

    async def ask():
        patient = asyncio.create_task(pool.run(linger, str(tmp_path)))
        await begun(tmp_path / "0")
        urgent = await asyncio.gather(*(pool.run(double, number, urgency=URGENT) for number in (1, 2)))
        return urgent, await patient

    # The patient one is asked again, when nobody is in haste any more.
    assert asyncio.run(ask()) == ([2, 4], 2)
    assert len(pool.pids()) == 2  # one for each kind, so that haste never waits for a start


def test_who_is_in_haste_does_not_wait_for_a_process_to_start_that_is_not_for_it(make_pool, tmp_path):
    pool = make_pool()

    async def ask():
        patient = asyncio.create_task(pool.run(linger, str(tmp_path)))
        await asyncio.sleep(0)  # its process is about to start
        answer = await pool.run(double, 3, urgency=URGENT)
        patient.cancel()
        return answer

    assert asyncio.run(ask()) == 6


def test_time_that_is_left_is_shared_by_those_who_wait_for_it(make_pool):
    pool = make_pool()

    async def ask():
        patient = pool.run_within(left, seconds=1000.0)
        urgent = [pool.run_within(left, seconds=1000.0, urgency=URGENT) for _ in range(4)]
        return await asyncio.gather(*urgent, patient)

    shares = asyncio.run(ask())
    # Nobody waited yet when the first began; then three did, two, and none but who can wait.
    assert [round(share / 100) for share in shares] == [10, 3, 5, 10, 10]


def test_what_is_no_answer_is_an_error_and_the_next_question_is_answered(make_pool):
    pool = make_pool()
    with pytest.raises(SolverError, match="what is no answer"):
        asyncio.run(pool.run(babble))
    assert asyncio.run(pool.run(double, 2)) == 4


def test_a_process_that_nobody_waits_for_any_more_when_it_starts_is_kept(make_pool):
    pool = make_pool()

    async def ask():
        asked = asyncio.create_task(pool.run(double, 1))
        for _ in range(3):
            await asyncio.sleep(0)  # its process is about to start
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        return await pool.run(double, 2)

    assert asyncio.run(ask()) == 4
    pool.close()
    assert pool.pids() == ()


def test_one_that_takes_too_much_memory_is_an_error(make_pool):
    pool = make_pool(memory_bytes=2**32)
    with pytest.raises(SolverError, match="MemoryError"):
        asyncio.run(pool.run(devour, 2**33))
    assert asyncio.run(pool.run(devour, 2**20)) == 2**20


def test_closing_ends_what_hangs(make_pool, tmp_path):
    pool = make_pool()

    async def ask():
        asked = asyncio.create_task(pool.run(hang, str(tmp_path / "begun")))
        await begun(tmp_path / "begun")
        pool.close()
        await asked

    with pytest.raises(SolverError, match="closed"):
        asyncio.run(ask())
    assert pool.pids() == ()
