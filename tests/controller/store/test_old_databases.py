"""Databases that earlier versions have made: they are brought to the newest schema with everything that is in them."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from controller.batching import BatchPolicy
from controller.errors import StoreError
from controller.store import batches, calls, evidence, market, registry, schema
from controller.store.database import Database

VECTORS = Path(__file__).parents[2] / "vectors" / "databases"
OLD = sorted(VECTORS.glob("*.sql"))


@pytest.fixture(params=OLD, ids=lambda path: path.stem)
def old(request, tmp_path):
    """The file of an old database."""
    path = tmp_path / "gridpact.sqlite"
    with closing(sqlite3.connect(path)) as plain:
        plain.executescript(request.param.read_text(encoding="utf-8"))
    return path


def contents(path):
    """The rows of each table, a dict each."""
    with closing(sqlite3.connect(path)) as plain:
        plain.row_factory = sqlite3.Row
        tables = [name for (name,) in plain.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: [dict(row) for row in plain.execute(f'SELECT * FROM "{table}"')] for table in tables}


def test_there_is_one_of_every_version_that_had_users():
    assert [path.stem for path in OLD][:3] == ["0001", "0002", "0003"]


def test_nothing_is_lost_or_changed(old):
    before = contents(old)
    Database(f"sqlite:///{old}").close()
    after = contents(old)
    assert {row["state"] for row in after["windows"]} == {"SETTLED", "DELIVERING", "OPEN"}
    assert set(schema.metadata.tables) <= set(after)
    for table, rows in before.items():
        # What was anchored window by window is anchored anew, in batches.
        if table in {"alembic_version", "anchors"}:
            continue
        known = [{name: row[name] for name in rows[0]} for row in after[table]] if rows else after[table]
        assert known == rows, table


def test_its_headers_are_batched_from_the_first_on(old):
    database = Database(f"sqlite:///{old}")
    for id_ in database.read(registry.microgrid_ids):
        kept = database.read(evidence.headers, id_)
        made = database.run(batches.form, id_, BatchPolicy(), now=1)
        assert [each for batch in made for each in batch.headers] == [header.hash for header in kept]
    database.close()


def test_the_newest_schema_is_what_is_there_then(old, tmp_path):
    def shape(path):
        with closing(sqlite3.connect(path)) as plain:
            rows = plain.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")
            columns = {
                name: [(column[1], column[2], column[3]) for column in plain.execute(f'PRAGMA table_info("{name}")')]
                for kind, name in rows.fetchall()
                if kind == "table"
            }
            return sorted(plain.execute("SELECT type, name FROM sqlite_master")), columns

    Database(f"sqlite:///{old}").close()
    Database(f"sqlite:///{tmp_path / 'new.sqlite'}").close()
    assert shape(old) == shape(tmp_path / "new.sqlite")


def test_its_books_balance_and_its_rows_are_guarded(old):
    database = Database(f"sqlite:///{old}")
    balances = database.read(
        lambda connection: [row.amount_micro for row in connection.execute(schema.balances.select())]
    )
    assert balances == [0]
    with pytest.raises(StoreError, match="append-only"):
        database.run(lambda connection: connection.execute(schema.trades.delete()))
    database.close()


def test_the_service_goes_on_with_it(old):
    database = Database(f"sqlite:///{old}")
    assert database.run(calls.next_epoch) > 1
    states = [row.state for row in database.read(market.windows, "village")]
    assert states[:2] == ["SETTLED", "DELIVERING"]
    database.close()


def test_a_migration_that_fails_leaves_the_old_database_as_it_was(old, monkeypatch):
    before = contents(old)

    def fail(_):
        raise ValueError("no room")

    monkeypatch.setattr("controller.store.guards.put_up", fail)
    with pytest.raises(StoreError, match="no room"):
        Database(f"sqlite:///{old}")
    assert contents(old) == before


def test_unbalanced_books_of_an_old_database_are_not_taken_over(tmp_path):
    path = tmp_path / "gridpact.sqlite"
    with closing(sqlite3.connect(path)) as plain:
        plain.executescript((VECTORS / "0003.sql").read_text(encoding="utf-8"))
        plain.execute("UPDATE postings SET amount_micro = amount_micro + 1 WHERE ix = 0")
        plain.commit()
    before = contents(path)
    with pytest.raises(StoreError, match=r"(?i)foreign key"):
        Database(f"sqlite:///{path}")
    assert contents(path) == before


def test_both_versions_are_named_where_a_later_one_has_made_it(old):
    Database(f"sqlite:///{old}").close()
    with closing(sqlite3.connect(old)) as later, later:
        newest = later.execute("SELECT version_num FROM alembic_version").fetchone()[0]
        later.execute("UPDATE alembic_version SET version_num = '9999'")
    before = contents(old)
    with pytest.raises(StoreError, match=f"got version 9999, wanted {newest}"):
        Database(f"sqlite:///{old}")
    assert contents(old) == before


def test_another_programs_database_is_left_alone(tmp_path):
    path = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE photos (id INTEGER)")
    with pytest.raises(StoreError, match="photos"):
        Database(f"sqlite:///{path}")
    assert set(contents(path)) == {"photos"}
