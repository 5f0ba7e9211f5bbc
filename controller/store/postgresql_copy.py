"""PostgreSQL's own programs, which copy a database as it was at one instant and put it back."""

import os
import subprocess
from pathlib import Path

from sqlalchemy import URL

from controller.errors import InputError, StoreError, StoreUnavailableError

CONNECT_S = 5


def dump(url: URL, out: Path) -> None:
    """Write the database to a file.

    Raises
    ------
    StoreError
        If it cannot be, or pg_dump is not installed.
    """
    _run("pg_dump", url, "--format=custom", "--no-owner", f"--file={out}")


def put_back(url: URL, source: Path, epoch: int) -> None:
    """Fill an empty database from a file, in one transaction; it counts starts from ``epoch`` on at least.

    Raises
    ------
    InputError
        If the database is not empty.
    StoreError
        If it cannot be filled, or pg_restore is not installed.
    """
    import psycopg

    _require_empty(url)
    _run("pg_restore", url, "--no-owner", "--single-transaction", "--exit-on-error", str(source))
    try:
        with psycopg.connect(_address(url), connect_timeout=CONNECT_S) as connection:
            connection.execute("UPDATE controllers SET epoch = greatest(epoch + 1, %s)", (epoch,))
    except psycopg.Error as err:
        raise StoreError(f"database {_shown(url)}: {err}") from err


def _require_empty(url: URL) -> None:
    import psycopg

    try:
        with psycopg.connect(_address(url), connect_timeout=CONNECT_S) as connection:
            found = connection.execute(
                "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                "WHERE n.nspname = 'public' AND c.relkind = 'r' LIMIT 1"
            ).fetchone()
    except psycopg.OperationalError as err:
        raise StoreUnavailableError(f"database {_shown(url)}: {err}") from err
    if found is not None:
        raise InputError(f"database {_shown(url)}: got a table {found[0]!r}, wanted an empty database")


def _address(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=True)


def _run(program: str, url: URL, *arguments: str) -> None:
    """Let a program work; the password goes by the environment, where no list of processes shows it."""
    environment = dict(os.environ)
    if url.password is not None:
        environment["PGPASSWORD"] = str(url.password)
    open_part = url.set(drivername="postgresql", password=None).render_as_string()
    try:
        subprocess.run(
            [program, f"--dbname={open_part}", *arguments], env=environment, check=True, capture_output=True, text=True
        )
    except FileNotFoundError as err:
        raise StoreError(f"{program}: not found; it comes with PostgreSQL's client programs") from err
    except subprocess.CalledProcessError as err:
        raise StoreError(f"database {_shown(url)}: {program}: {' '.join(err.stderr.split())}") from err
