"""The limits' own journal: one line a record, on disk before anybody hears of it.

Each line is ``CRC32 SHA256-of-the-line-before JSON``: a line that was torn by a loss of power is told from one that was
altered. Only the last one can be torn, as each is synced before the next is written; it was never acknowledged and is
cut off. Anything else that does not fit is damage, and is refused by its number.
"""

import hashlib
import json
import logging
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

from controller.errors import StoreError

Record = Mapping[str, Any]
START = "0" * 64

log = logging.getLogger(__name__)


class Journal(Protocol):
    """Keeps records in order."""

    def records(self) -> Sequence[Record]:
        """All records, in order."""

    def append(self, record: Record) -> None:
        """Keep a record; it is on disk afterwards.

        Raises
        ------
        StoreError
            If it cannot be; it is not kept then.
        """

    def close(self) -> None:
        """Let go of it."""


class MemoryJournal:
    """For a service that need not outlive its process."""

    def __init__(self) -> None:
        self._records: list[Record] = []

    def records(self) -> Sequence[Record]:
        """All records, in order."""
        return tuple(self._records)

    def append(self, record: Record) -> None:
        """Keep a record."""
        self._records.append(json.loads(json.dumps(record)))

    def close(self) -> None:
        """Nothing to let go of."""


class TimedJournal:
    """A journal whose appends are timed.

    Parameters
    ----------
    journal : keeps the records
    told : hears how many seconds each took until it was on disk
    """

    def __init__(self, journal: Journal, told: Callable[[float], None]) -> None:
        self._journal = journal
        self._told = told

    def records(self) -> Sequence[Record]:
        """All records, in order."""
        return self._journal.records()

    def append(self, record: Record) -> None:
        """Keep a record."""
        began = perf_counter()
        self._journal.append(record)
        self._told(perf_counter() - began)

    def close(self) -> None:
        """Let go of it."""
        self._journal.close()


class FileJournal:
    """A journal in a file of its own.

    Parameters
    ----------
    path : the file; made with its folder where there is none

    Raises
    ------
    StoreError
        If it cannot be opened, or is damaged; names the line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._failed: str | None = None
        self._open = True
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            new = not path.exists()
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if new:
                _sync_folder(path.parent)
            raw = path.read_bytes()
        except OSError as err:
            raise StoreError(f"limits journal {path}: cannot be opened: {err}") from err
        try:
            self._records, self._size, digests = _read(raw, path)
            self._digest = digests[-1] if digests else START
            if self._size < len(raw):
                log.warning(
                    "limits journal %s: the last %d bytes are no whole record, torn by a loss of power or damaged; "
                    "they are cut off",
                    path,
                    len(raw) - self._size,
                )
                os.ftruncate(self._file, self._size)
                os.fsync(self._file)
        except OSError as err:
            os.close(self._file)
            raise StoreError(f"limits journal {path}: cannot be mended: {err}") from err
        except StoreError:
            os.close(self._file)
            raise

    def records(self) -> Sequence[Record]:
        """All records, in order."""
        return tuple(self._records)

    def append(self, record: Record) -> None:
        """Keep a record; it is on disk afterwards.

        Raises
        ------
        StoreError
            If it cannot be. After a sync that failed nobody knows what is on disk, so that nothing is taken any more
            until the file is opened anew.
        """
        if self._failed is not None:
            raise StoreError(f"limits journal {self._path}: takes nothing since it failed: {self._failed}")
        line = _line(record, self._digest)
        try:
            _write_at(self._file, line, self._size)
        except OSError as err:
            self._retract(err)
            raise StoreError(f"limits journal {self._path}: cannot be written: {err}") from err
        try:
            os.fsync(self._file)
        except OSError as err:
            self._failed = str(err)
            raise StoreError(f"limits journal {self._path}: cannot be synced: {err}") from err
        self._size += len(line)
        self._digest = hashlib.sha256(line).hexdigest()
        self._records.append(json.loads(json.dumps(record)))

    def close(self) -> None:
        """Let go of the file, once: its number may be another file's afterwards. Nothing is taken from then on."""
        if self._open:
            self._open = False
            self._failed = "it is closed"
            os.close(self._file)

    def _retract(self, cause: OSError) -> None:
        """Cut off what was written of a record that did not fit."""
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            self._failed = str(cause)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """What a journal's file holds.

    Attributes
    ----------
    records : all that are whole, in order
    digests : SHA-256 of each one's line, in hexadecimal digits
    rest : bytes after them: a line that is being written, or that a loss of power tore
    """

    records: Sequence[Record]
    digests: Sequence[str]
    rest: int


def inspect(path: Path) -> Inspected:
    """What a journal's file holds; changes nothing. One that is not there holds nothing.

    Raises
    ------
    StoreError
        If it cannot be read, or is damaged; names the line. The last line too, where it is there to its end.
    """
    if not path.exists():
        return Inspected(records=(), digests=(), rest=0)
    try:
        raw = path.read_bytes()
    except OSError as err:
        raise StoreError(f"limits journal {path}: cannot be read: {err.strerror or err}") from err
    records, size, digests = _read(raw, path)
    if size < len(raw) and raw.endswith(b"\n"):
        raise StoreError(f"limits journal {path}: line {len(records) + 1} is damaged")
    return Inspected(records=records, digests=digests, rest=len(raw) - size)


def _write_at(file: int, line: bytes, offset: int) -> None:
    written = 0
    while written < len(line):
        written += os.pwrite(file, line[written:], offset + written)


def _line(record: Record, before: str) -> bytes:
    body = f"{before} {json.dumps(record, sort_keys=True, separators=(',', ':'))}".encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _read(raw: bytes, path: Path) -> tuple[list[Record], int, list[str]]:
    """Records, the length of the part that is whole, and the digest of each of its lines."""
    records: list[Record] = []
    digests: list[str] = []
    size = 0
    lines = raw.split(b"\n")
    for number, line in enumerate(lines, 1):
        whole = line + b"\n"
        record = _parse(line, digests[-1] if digests else START) if size + len(whole) <= len(raw) else None
        if record is None:
            if any(_sound(later) for later in lines[number:]):
                raise StoreError(f"limits journal {path}: line {number} is damaged, and others follow it")
            break
        records.append(record)
        digests.append(hashlib.sha256(whole).hexdigest())
        size += len(whole)
    return records, size, digests


def _sound(line: bytes) -> bool:
    checksum, _, body = line.partition(b" ")
    return bool(body) and checksum == b"%08x" % zlib.crc32(body)


def _parse(line: bytes, before: str) -> Record | None:
    if not _sound(line):
        return None
    digest, _, text = line.partition(b" ")[2].partition(b" ")
    if digest != before.encode():
        return None
    found = json.loads(text)
    return found if isinstance(found, dict) else None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
