import asyncio
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text

from controller.errors import ControllerError, StoreError
from controller.store import calls, migrating, schema
from controller.store.database import Database


@pytest.fixture
def database(tmp_path):
    """A fresh one."""
    database = Database(f"sqlite:///{tmp_path / 'gridpact.sqlite'}")
    yield database
    database.close()


class TestMigrations:
    def test_they_give_exactly_the_tables_of_the_schema(self, database):
        def differences(connection):
            context = MigrationContext.configure(
                connection, opts={"compare_type": True, "compare_server_default": True}
            )
            return compare_metadata(context, schema.metadata)

        assert database.run(differences) == []

    def test_they_give_exactly_its_keys_and_checks(self, database, tmp_path):
        """Alembic does not compare these, so they are held against tables that the schema itself makes."""

        def shape(connection):
            inspector = inspect(connection)
            return {
                name: {
                    "primary": inspector.get_pk_constraint(name),
                    "foreign": sorted(inspector.get_foreign_keys(name), key=lambda key: str(key["name"])),
                    "unique": sorted(inspector.get_unique_constraints(name), key=lambda key: str(key["name"])),
                    "checks": sorted(
                        (check["name"], check["sqltext"]) for check in inspector.get_check_constraints(name)
                    ),
                    "columns": [(c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(name)],
                }
                for name in inspector.get_table_names()
                if name != "alembic_version"
            }

        engine = create_engine(f"sqlite:///{tmp_path / 'schema.sqlite'}")
        schema.metadata.create_all(engine)
        with engine.connect() as connection:
            wanted = shape(connection)
        assert database.run(shape) == wanted
        assert set(wanted) == set(schema.metadata.tables)

    def test_they_are_a_chain_in_the_order_of_their_files(self):
        """By which a database is known to be at the newest version without reading them."""
        folder = Path(migrating.__file__).parent / "migrations"
        config = Config()
        config.set_main_option("script_location", str(folder))
        scripts = ScriptDirectory.from_config(config)
        chain = [script.revision for script in scripts.walk_revisions()][::-1]
        assert chain == sorted(path.name[:4] for path in (folder / "versions").glob("*.py"))
        assert scripts.get_heads() == [chain[-1]] == [migrating.newest(folder)]

    def test_every_table_is_strict(self, database):
        rows = database.run(lambda connection: connection.execute(text("PRAGMA table_list")).mappings().all())
        loose = {row["name"] for row in rows if not row["strict"]} - {"alembic_version"}
        assert {name for name in loose if not name.startswith("sqlite_")} == set()

    def test_opening_again_keeps_what_is_there(self, tmp_path):
        url = f"sqlite:///{tmp_path / 'gridpact.sqlite'}"
        for epoch in (1, 2, 3):
            database = Database(url)
            assert database.run(calls.next_epoch) == epoch
            database.close()


class TestConnections:
    def test_a_commit_survives_the_loss_of_power(self, database):
        def pragma(connection, name):
            return connection.execute(text(f"PRAGMA {name}")).scalar()

        assert database.run(pragma, "journal_mode") == "wal"
        assert database.run(pragma, "synchronous") == 2  # FULL
        assert database.run(pragma, "foreign_keys") == 1

    def test_a_failing_transaction_leaves_nothing(self, database):
        def half(connection):
            calls.next_epoch(connection)
            raise ControllerError("no")

        with pytest.raises(ControllerError, match="no"):
            database.run(half)
        assert database.run(lambda connection: connection.execute(schema.controllers.select()).all()) == []

    def test_a_transaction_begins_by_taking_the_writers_place(self, database, tmp_path):
        """Else two readers who both mean to write could end in a deadlock."""

        def other(connection):
            with (
                closing(sqlite3.connect(tmp_path / "gridpact.sqlite", timeout=0)) as second,
                pytest.raises(sqlite3.OperationalError, match="locked"),
            ):
                second.execute("BEGIN IMMEDIATE")

        database.run(other)

    def test_coroutines_write_one_after_the_other(self, database):
        async def many():
            return await asyncio.gather(*(database.run_async(calls.next_epoch) for _ in range(20)))

        assert sorted(asyncio.run(many())) == list(range(1, 21))

    def test_a_broken_statement_is_a_store_error(self, database):
        with pytest.raises(StoreError, match="nowhere"):
            database.run(lambda connection: connection.execute(text("SELECT * FROM nowhere")))


class TestUnopenable:
    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://operator:s3cret@localhost:notaport/gridpact",
            "postgresql://operator:s3cret@localhost:1/gridpact?connect_timeout=1",
            "postgresql+pg8000://operator:s3cret@localhost:1/gridpact",
            "postgresql+nodriver://operator:s3cret@localhost/gridpact",
            "nonsense://operator:s3cret@localhost/gridpact",
            "operator:s3cret@localhost",
            "operator:s3@cret@localhost",
            "",
        ],
    )
    def test_a_url_that_leads_nowhere_is_a_store_error_without_its_password(self, url):
        with pytest.raises(StoreError) as caught:
            Database(url)
        assert "s3cret" not in str(caught.value)
        assert "cret@" not in str(caught.value)

    def test_a_folder_is_no_database(self, tmp_path):
        with pytest.raises(StoreError, match="cannot be opened"):
            Database(f"sqlite:///{tmp_path}")

    def test_a_file_in_place_of_the_folder_is_named(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreError, match="file"):
            Database(f"sqlite:///{tmp_path / 'file' / 'gridpact.sqlite'}")

    def test_another_kind_of_file_is_no_database(self, tmp_path):
        path = tmp_path / "gridpact.sqlite"
        path.write_text("certainly not a database, and long enough to be taken for none" * 20)
        with pytest.raises(StoreError, match="cannot be opened"):
            Database(f"sqlite:///{path}")
        assert path.read_text().startswith("certainly")

    def test_a_database_of_a_later_version_is_left_alone(self, tmp_path):
        path = tmp_path / "gridpact.sqlite"
        Database(f"sqlite:///{path}").close()
        with closing(sqlite3.connect(path)) as later, later:
            later.execute("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(StoreError, match="9999"):
            Database(f"sqlite:///{path}")

    def test_a_missing_folder_is_made(self, tmp_path):
        Database(f"sqlite:///{tmp_path / 'a' / 'b' / 'gridpact.sqlite'}").close()
        assert (tmp_path / "a" / "b" / "gridpact.sqlite").exists()


def test_its_files_are_their_owners_alone_those_of_earlier_versions_too(tmp_path):
    files = [tmp_path / f"own.sqlite{suffix}" for suffix in ("", "-wal", "-shm")]
    for earlier in (False, True):
        if earlier:
            files[0].chmod(0o644)
        database = Database(f"sqlite:///{files[0]}")
        assert [file.stat().st_mode & 0o777 for file in files] == [0o600] * 3
        database.close()


def test_another_kind_of_database_is_refused_as_such():
    with pytest.raises(
        StoreError, match=r"^database host/name: cannot be opened: got mysql, wanted sqlite or postgresql$"
    ):
        Database("mysql://me:secret@host/name")


def test_a_missing_driver_of_postgresql_says_which_extra_has_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"cannot be opened: .*psycopg.*; pip install 'gridpact\[postgres\]'$"):
        Database("postgresql://host/name")
