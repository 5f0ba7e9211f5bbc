"""Group commit: together on disk, each fails alone, in the order of the queue; and readers beside it."""

import asyncio
import threading

import pytest
from sqlalchemy import event, text

from controller.errors import ControllerError, StoreError, StoreUnavailableError
from controller.store import calls, schema


def remember(connection, number, *, fail=None):
    calls.remember(connection, "a", str(number), method="m", digest=b"", response=b"", created=0)
    if fail is not None:
        raise fail
    return number


def remembered(database):
    return database.read(
        lambda connection: [int(row.request_id) for row in connection.execute(schema.requests.select())]
    )


class Gate:
    """Holds the writer up, so that others wait behind it."""

    def __init__(self, database):
        self._free = threading.Event()
        self._busy = threading.Event()
        self._holder = threading.Thread(target=database.run, args=(self._hold,))
        self._holder.start()
        self._busy.wait()

    def _hold(self, connection):
        del connection
        self._busy.set()
        self._free.wait()

    def open(self):
        self._free.set()
        self._holder.join()


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    """A group takes all who wait, however slow the machine is."""
    monkeypatch.setattr("controller.store.writer.LONGEST_GROUP_S", 3600)


@pytest.fixture
def commits(store):
    """Grows with each commit."""
    seen = []
    event.listen(store._engine, "commit", seen.append)
    return seen


async def ask_behind_gate(store, statements):
    """What each statement is answered, all of them having waited together."""
    gate = Gate(store)
    asked = [asyncio.ensure_future(store.run_async(statement)) for statement in statements]
    await asyncio.sleep(0)
    gate.open()
    return await asyncio.gather(*asked, return_exceptions=True)


def behind_gate(store, statements):
    return asyncio.run(ask_behind_gate(store, statements))


class TestGroups:
    def test_those_who_wait_share_a_commit(self, store, commits):
        asked = [lambda connection, k=k: remember(connection, k) for k in range(20)]
        assert behind_gate(store, asked) == list(range(20))
        assert len(commits) == 1
        assert sorted(remembered(store)) == list(range(20))

    def test_each_fails_alone(self, store, commits):
        def statement(k):
            fail = ControllerError(f"no {k}") if k % 3 == 1 else None
            return lambda connection: remember(connection, k, fail=fail)

        answers = behind_gate(store, [statement(k) for k in range(9)])
        assert [str(answer) for answer in answers] == ["0", "no 1", "2", "3", "no 4", "5", "6", "no 7", "8"]
        assert sorted(remembered(store)) == [0, 2, 3, 5, 6, 8]
        assert len(commits) == 1

    def test_a_broken_rule_fails_alone(self, store):
        asked = [lambda connection, k=k: remember(connection, k) for k in (1, 1, 2)]
        one, other, third = behind_gate(store, asked)
        assert (one, third) == (1, 2)
        assert isinstance(other, StoreError)
        assert not isinstance(other, StoreUnavailableError)
        assert sorted(remembered(store)) == [1, 2]

    def test_a_rule_that_is_checked_at_the_commit_fails_alone(self, store):
        def unbalanced(connection):
            connection.execute(schema.balances.insert().values(window="w", amount_micro=5))

        asked = [lambda connection, k=k: remember(connection, k) for k in (1, 2)]
        one, broken, two = behind_gate(store, [asked[0], unbalanced, asked[1]])
        assert (one, two) == (1, 2)
        assert isinstance(broken, StoreError)
        assert sorted(remembered(store)) == [1, 2]
        assert store.read(lambda connection: connection.execute(schema.balances.select()).all()) == []

    def test_effects_have_the_order_of_the_queue(self, store):
        seen = []
        behind_gate(store, [lambda connection, k=k: seen.append(k) for k in range(50)])
        assert seen == list(range(50))

    def test_nobody_is_answered_before_the_commit(self, store):
        answered_at_commit = []

        async def ask():
            asked = [store.run_async(remember, k) for k in range(5)]
            waiting = [asyncio.ensure_future(one) for one in asked]
            event.listen(store._engine, "commit", lambda _: answered_at_commit.append([w.done() for w in waiting]))
            await asyncio.gather(*waiting)

        asyncio.run(ask())
        assert answered_at_commit
        assert not any(answered_at_commit[0])

    def test_who_gives_up_in_time_has_no_effect(self, store):
        async def give_up():
            gate = Gate(store)
            asked = asyncio.ensure_future(store.run_async(remember, 1))
            await asyncio.sleep(0)
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
            gate.open()
            await store.run_async(remember, 2)

        asyncio.run(give_up())
        assert remembered(store) == [2]

    def test_what_is_asked_after_the_end_is_refused(self, store):
        store.close()
        with pytest.raises(StoreUnavailableError):
            store.run(remember, 1)


class TestReaders:
    def test_a_reader_sees_everything_that_was_acknowledged(self, store):
        for k in range(5):
            store.run(remember, k)
            assert len(remembered(store)) == k + 1

    def test_readers_do_not_wait_for_the_writer_and_see_one_state(self, store):
        gate = Gate(store)
        assert remembered(store) == []
        gate.open()

    def test_a_reader_writes_nothing(self, store):
        with pytest.raises(StoreError):
            store.read(remember, 1)
        assert remembered(store) == []

    def test_coroutines_read_side_by_side(self, store):
        store.run(remember, 1)

        async def many():
            count = text("SELECT count(*) FROM requests")
            asked = [store.read_async(lambda connection: connection.execute(count).scalar()) for _ in range(20)]
            return await asyncio.gather(*asked)

        assert asyncio.run(many()) == [1] * 20
