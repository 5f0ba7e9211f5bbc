"""A database that stops: whoever asks is told so at once, and it is found again when it is back."""

import asyncio
import sqlite3
import threading
from contextlib import closing

import pytest

from controller.errors import StoreError, StoreUnavailableError
from controller.store import calls
from controller.store.database import Database


@pytest.fixture
def own_postgres(postgres):
    """The server, which runs again afterwards."""
    yield postgres
    postgres.stop()
    postgres.start()


class TestPostgreSQL:
    def test_a_server_that_stops_is_found_again(self, own_postgres):
        database = Database(own_postgres.url(own_postgres.create()))
        assert database.run(calls.next_epoch) == 1
        own_postgres.stop()
        for ask in (database.run, database.read):
            with pytest.raises(StoreUnavailableError):
                ask(calls.next_epoch)
        own_postgres.start()
        assert database.run(calls.next_epoch) == 2
        database.close()

    def test_a_connection_that_breaks_in_a_transaction_fails_its_group_and_no_other(self, postgres):
        database = Database(postgres.url(postgres.create()))

        def lose(connection):
            calls.next_epoch(connection)
            name = connection.exec_driver_sql("SELECT current_database()").scalar()
            postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
            calls.next_epoch(connection)

        with pytest.raises(StoreUnavailableError):
            database.run(lose)
        assert database.run(calls.next_epoch) == 1
        database.close()

    def test_a_second_service_does_not_start(self, postgres, monkeypatch):
        monkeypatch.setattr("controller.store.engines.LOCK_MS", 1)
        url = postgres.url(postgres.create())
        first = Database(url)
        with pytest.raises(StoreError, match="another service"):
            Database(url)
        first.close()
        Database(url).close()

    def test_no_password_is_shown(self, postgres):
        url = postgres.url("nowhere").replace("gridpact@", "gridpact:s3cret@")
        with pytest.raises(StoreError, match="nowhere") as caught:
            Database(url)
        assert "s3cret" not in str(caught.value)


class TestSQLite:
    @pytest.fixture
    def database(self, tmp_path, monkeypatch):
        monkeypatch.setattr("controller.store.engines.BUSY_MS", 1)
        database = Database(f"sqlite:///{tmp_path / 'gridpact.sqlite'}")
        yield database
        database.close()

    def test_a_file_that_another_process_holds(self, database, tmp_path):
        with closing(sqlite3.connect(tmp_path / "gridpact.sqlite")) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailableError, match="locked"):
                database.run(calls.next_epoch)
            assert database.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar()) == 1
        assert database.run(calls.next_epoch) == 1

    def test_a_full_disk(self, database):
        def fill(connection):
            connection.exec_driver_sql("PRAGMA max_page_count=1")  # no fewer than there are
            for k in range(1000):
                calls.remember(connection, "a", str(k), method="", digest=b"", response=bytes(9999), created=0)

        def make_room(connection):
            connection.exec_driver_sql("PRAGMA max_page_count=1000000")

        with pytest.raises(StoreUnavailableError, match="full"):
            database.run(fill)
        database.run(make_room)
        assert database.run(calls.next_epoch) == 1

    def test_a_full_disk_fails_the_whole_group_since_it_is_rolled_back_as_one(self, database):
        free, busy = threading.Event(), threading.Event()

        def hold(_):
            busy.set()
            free.wait()

        def fill(connection):
            connection.exec_driver_sql("PRAGMA max_page_count=1")
            calls.remember(connection, "a", "big", method="", digest=b"", response=bytes(10**6), created=0)

        async def ask():
            holding = asyncio.ensure_future(database.run_async(hold))
            await asyncio.to_thread(busy.wait)
            asked = [asyncio.ensure_future(database.run_async(s)) for s in (calls.next_epoch, fill, calls.next_epoch)]
            await asyncio.sleep(0)
            free.set()
            return await asyncio.gather(holding, *asked, return_exceptions=True)

        answers = asyncio.run(ask())
        acknowledged = [answer for answer in answers[1:] if isinstance(answer, int)]
        assert isinstance(answers[2], StoreUnavailableError)
        database.run(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count=1000000"))
        assert database.run(calls.next_epoch) == max(acknowledged, default=0) + 1

    def test_nobody_waits_for_ever(self, tmp_path):
        database = Database(f"sqlite:///{tmp_path / 'gridpact.sqlite'}", patience_s=0.01)
        free = threading.Event()
        with pytest.raises(StoreUnavailableError, match="no answer"):
            asyncio.run(database.run_async(lambda _: free.wait()))
        free.set()
        database.close()
