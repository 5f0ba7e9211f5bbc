"""Copies of everything that a service keeps: made while it runs, checked, and put back where it shall go on.

The database is copied before the files beside it. The limits' journal may then know more than the copied database,
never less, and the database catches up with it at the next start.
"""

import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url

from controller.errors import InputError, StoreError
from controller.store import archive, postgresql_copy

SQLITE = "gridpact.sqlite"
DUMP = "postgresql.dump"
PASSING = frozenset({"serve.lock"})
"""Files of a data folder that say something about a running process, and nothing that lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a backup holds.

    Attributes
    ----------
    parts : name of each part, and its size in bytes
    digest : SHA-256 of the manifest, which has the digests of all parts
    """

    parts: Mapping[str, int]
    digest: str


def back_up(data: Path, url: str, out: Path, *, instant: int) -> Summary:
    """Write everything in the folder and the database to a file; the service may run meanwhile.

    Parameters
    ----------
    data : the service's folder
    url : of its database
    out : the file, which must not exist; it appears whole or not at all
    instant : now, in Unix seconds

    Raises
    ------
    InputError
        If there is nothing to back up, or something in the file's place.
    StoreError
        If it cannot be read or written.
    """
    if not data.is_dir():
        raise InputError(f"--data {data}: got no folder, wanted a service's")
    if out.exists():
        raise InputError(f"--out {out}: got a file that is there already, wanted a new one")
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: got no folder {out.parent}, wanted one that is there")
    parsed = make_url(url)
    try:
        with tempfile.TemporaryDirectory(prefix=".gridpact-backup-", dir=out.parent) as scratch:
            folder = Path(scratch) / "parts"
            folder.mkdir(mode=0o700)
            _copy_database(parsed, folder)
            _copy_files(data, folder, _sqlite_file(parsed))
            part = Path(scratch) / "backup"
            manifest = archive.write(part, folder, instant)
            os.link(part, out)  # unlike a renaming it replaces nothing
            archive.sync(out.parent)
    except OSError as err:
        raise StoreError(f"backup {out}: cannot be made: {err}") from err
    return _summary(manifest)


def restore(backup: Path, data: Path, url: str, *, instant: int) -> Summary:
    """Put a backup into an empty folder and an empty database, where a service goes on from it.

    The epoch is raised to the instant at least: what the service commanded after the backup, from whichever start, is
    older than what it will command from now on.

    Raises
    ------
    InputError
        If the file is no whole backup, or the folder or the database is not empty; nothing is changed then.
    StoreError
        If it cannot be written.
    """
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise InputError(f"--data {data}: got a folder with something in it, wanted an empty or a new one")
    try:
        data.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".gridpact-restore-", dir=data.parent) as scratch:
            folder = Path(scratch) / "parts"
            folder.mkdir(mode=0o700)
            manifest = archive.unpack(backup, folder)
            _put_database(make_url(url), folder, data, instant)
            for path in sorted(folder.iterdir()):
                archive.sync(path)
            if data.exists():
                data.rmdir()
            folder.rename(data)
            archive.sync(data.parent)
    except OSError as err:
        raise StoreError(f"data {data}: cannot be restored: {err}") from err
    return _summary(manifest)


def _sqlite_file(url: URL) -> Path | None:
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def _copy_files(data: Path, folder: Path, database: Path | None) -> None:
    """Files beside the database: the secret, journals. They only grow, or never change."""
    own = {SQLITE} if database is None else {database.name + suffix for suffix in ("", "-wal", "-shm", "-journal")}
    for path in sorted(data.iterdir()):
        if path.is_file() and path.name not in own | PASSING and not path.name.startswith("."):
            shutil.copyfile(path, folder / path.name)


def _copy_database(url: URL, folder: Path) -> None:
    file = _sqlite_file(url)
    if file is None:
        postgresql_copy.dump(url, folder / DUMP)
        return
    if not file.exists():
        raise InputError(f"database {file}: got none, wanted the service's")
    try:
        with (
            closing(sqlite3.connect(f"file:{file}?mode=rw", uri=True)) as source,
            closing(sqlite3.connect(folder / SQLITE)) as copy,
        ):
            # All pages in one step: a read transaction, beside which the service goes on writing.
            source.backup(copy, pages=-1)
            # One file: whoever restores it needs no log beside it.
            copy.execute("PRAGMA journal_mode=DELETE")
            found = copy.execute("PRAGMA integrity_check").fetchone()
    except sqlite3.Error as err:
        raise StoreError(f"database {file}: cannot be copied: {err}") from err
    if found != ("ok",):
        raise StoreError(f"database {file}: got a damaged copy, wanted a sound one: {found}")


def _put_database(url: URL, folder: Path, data: Path, epoch: int) -> None:
    """Let the database be in its place, or in the folder where that is its place."""
    file = _sqlite_file(url)
    if file is None:
        if not (folder / DUMP).exists():
            raise InputError("backup: got one of SQLite, wanted one of PostgreSQL for this database")
        postgresql_copy.put_back(url, folder / DUMP, epoch)
        (folder / DUMP).unlink()
        return
    if not (folder / SQLITE).exists():
        raise InputError("backup: got one of PostgreSQL, wanted one of SQLite for this database")
    if file.exists():
        raise InputError(f"database {file}: got a file that is there already, wanted none")
    _raise_epoch(folder / SQLITE, epoch)
    if file.absolute() != (data / SQLITE).absolute():
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder / SQLITE, file)
        archive.sync(file)
        archive.sync(file.parent)


def _raise_epoch(file: Path, epoch: int) -> None:
    try:
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("UPDATE controllers SET epoch = max(epoch + 1, ?)", (epoch,))
    except sqlite3.Error as err:
        raise InputError(f"backup: got a database that cannot be read, wanted a service's: {err}") from err


def _summary(manifest: bytes) -> Summary:
    parts = json.loads(manifest)["parts"]
    return Summary(
        parts={name: part["bytes"] for name, part in parts.items()}, digest=hashlib.sha256(manifest).hexdigest()
    )
