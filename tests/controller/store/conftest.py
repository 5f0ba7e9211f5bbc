"""Databases of both kinds, each test with its own."""

import shutil

import psycopg
import pytest

from controller.microgrid import Member
from controller.store import registry, schema
from controller.store.database import Database
from controller.wire.flexibility import read_device
from tests.controller.village import MTU_S, SECTIONS, calendar, flexibilities


class Stores:
    """Makes databases of one kind, empty or with the village in it.

    Parameters
    ----------
    folder : where SQLite's files are
    server : PostgreSQL; None for SQLite
    """

    def __init__(self, folder, server=None):
        self.folder, self.server = folder, server
        self._urls = {}
        self._count = 0

    def url(self, fill=None):
        """The URL of a database that holds what ``fill`` has put there, and nothing else."""
        if self.server is None:
            return f"sqlite:///{self._copy(self._made(fill, f'sqlite:///{self.folder}/{self._next()}.sqlite'))}"
        # To make a database costs PostgreSQL far more than to put the rows of one back.
        known = fill in self._urls
        url = self._made(fill, None if known else self.server.url(self.server.create()))
        if known:
            self._restore(url)
        else:
            self._save(url)
        return url

    def _made(self, fill, url):
        if fill not in self._urls:
            database = Database(url)
            if fill is not None:
                database.run(fill)
            database.close()
            self._urls[fill] = url
        return self._urls[fill]

    def _next(self):
        self._count += 1
        return self._count

    def _copy(self, url):
        return shutil.copy(url.removeprefix("sqlite:///"), self.folder / f"{self._next()}.sqlite")

    def _save(self, url):
        tables = schema.metadata.tables
        self._execute(url, "CREATE SCHEMA saved", *(f'CREATE TABLE saved."{t}" AS TABLE "{t}"' for t in tables))

    def _restore(self, url):
        tables = schema.metadata.tables
        self._execute(
            url,
            "SET session_replication_role = replica",
            *(f'DELETE FROM "{t}"; INSERT INTO "{t}" SELECT * FROM saved."{t}"' for t in tables),
        )

    def _execute(self, url, *statements):
        with psycopg.connect(url) as connection:
            connection.execute(";".join(statements))


def _settle(connection):
    """Three members and their devices."""
    registry.add_microgrid(connection, calendar("village"))
    for member, section in SECTIONS.items():
        registry.add_member(connection, "village", Member(id=member, section=section))
    for message in flexibilities("village"):
        registry.put_device(connection, "village", read_device(message, mtu_seconds=MTU_S)[1])


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def stores(request, tmp_path_factory):
    """Makes databases, once of each kind."""
    server = None if request.param == "sqlite" else request.getfixturevalue("postgres")
    return Stores(tmp_path_factory.mktemp("stores"), server)


@pytest.fixture
def village_store(stores):
    """A database with the village in it."""
    database = Database(stores.url(_settle))
    yield database
    database.close()


@pytest.fixture
def store(stores):
    """An empty database."""
    database = Database(stores.url())
    yield database
    database.close()
