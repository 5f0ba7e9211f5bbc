"""Brings a database to this version's schema; one that is newer is left as it is."""

from importlib.resources import as_file, files
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from controller.errors import InputError, StoreError
from controller.store import guards


def migrate(connection: Connection) -> None:
    """Take every step that is missing, in the connection's transaction.

    Raises
    ------
    StoreError
        If a later version of the service has made the database, or something else has.
    """
    with as_file(files("controller.store") / "migrations") as folder:
        found = MigrationContext.configure(connection).get_current_heads()
        # To read all the steps takes longer than all else that opening a database does.
        if found != (newest(folder),):
            _step(connection, found, folder)
    if connection.dialect.name == "postgresql":
        _compare_bytes(connection)
    guards.put_up(connection)


def require_newest(connection: Connection) -> None:
    """Refuse a database that is not at this version's schema.

    Raises
    ------
    InputError
        If it is not; says what it is.
    """
    with as_file(files("controller.store") / "migrations") as folder:
        wanted = newest(folder)
    found = MigrationContext.configure(connection).get_current_heads()
    if found != (wanted,):
        got = f"version {found[0]}" if found else "none"
        raise InputError(
            f"schema: got {got}, wanted version {wanted}, to which a start of this version's service brings"
        )


def newest(folder: Path) -> str:
    """The schema's version: each step's file is called by the version that it leads to, as ``0001_what.py``."""
    return max(path.name for path in (folder / "versions").glob("*.py")).partition("_")[0]


def _step(connection: Connection, found: tuple[str, ...], folder: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts.walk_revisions()}
    if strange := sorted(set(found) - known):
        raise StoreError(
            f"schema: got version {strange[0]}, wanted {scripts.get_current_head()} or one before it; "
            "a later gridpact has made this database, and a schema never goes back"
        )
    if not found and (tables := inspect(connection).get_table_names()):
        raise StoreError(f"schema: got a table {tables[0]!r} and no version, wanted an empty database or one of ours")
    command.upgrade(config, "head")


def _compare_bytes(connection: Connection) -> None:
    """Let texts sort by their bytes as in SQLite, whatever language PostgreSQL was set up for."""
    columns = connection.execute(
        text(
            "SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
            "JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_collation l ON l.oid = a.attcollation "
            "WHERE n.nspname = 'public' AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped "
            "AND a.atttypid = 'text'::regtype AND l.collname <> 'C' ORDER BY 1, 2"
        )
    ).all()
    for table, column in columns:
        connection.execute(text(f'ALTER TABLE "{table}" ALTER COLUMN "{column}" TYPE text COLLATE "C"'))
