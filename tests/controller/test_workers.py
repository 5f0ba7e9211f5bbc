"""Processes that die, hang, take too much memory or are asked too much at a time."""

import asyncio
import os
import signal
import time
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
