"""Who is shut out although its certificate is valid: a file of the machine's owner, and what operators deny."""

import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path

from controller.access import Identity, identity

log = logging.getLogger(__name__)

SERIAL = re.compile(r"serial:([0-9a-f]{1,40})")


def subject(text: str) -> str | None:
    """A denial's subject in its one spelling, or None where it is none.

    Either an identity, ``spiffe://GRID/ROLE/ID``, or a certificate, ``serial:`` and its number in hexadecimal digits.
    """
    if identity(text) is not None:
        return text
    match = SERIAL.fullmatch(text.lower().replace("serial:0x", "serial:"))
    return None if match is None else _serial(int(match[1], 16))


def _serial(number: int) -> str:
    return f"serial:{number:x}"


class Denials:
    """All that is denied now.

    Parameters
    ----------
    path : a file with a subject on each line, ``#`` begins a comment; it is read again whenever it changes. Lines that
        are no subjects are logged and skipped; while it cannot be read, what it said last counts. None: no file.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._listed: frozenset[str] = frozenset()
        self._denied: set[tuple[str, str]] = set()

    def restore(self, denied: Iterable[tuple[str, str]]) -> None:
        """Take up the pairs of grid and subject that the store has."""
        self._denied = set(denied)

    def cover(self, caller: Identity, serial: int) -> bool:
        """Whether this caller, with this certificate, is denied."""
        self._reread()
        names = (str(caller), _serial(serial))
        return any(name in self._listed or (caller.grid, name) in self._denied for name in names)

    def _reread(self) -> None:
        if self._path is None:
            return
        try:
            found = os.stat(self._path)
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp == self._stamp:
                return
            text = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as err:
            if self._stamp is not None:  # said once, until it can be read again
                log.error("denials %s: cannot be read, what it said last counts: %s", self._path, err)  # noqa: TRY400
            self._stamp = None
            return
        self._stamp = stamp
        self._listed = frozenset(self._subjects(text))

    def _subjects(self, text: str) -> Iterable[str]:
        for number, line in enumerate(text.splitlines(), start=1):
            words = line.partition("#")[0].strip()
            if not words:
                continue
            found = subject(words)
            if found is None:
                log.error(
                    "denials %s, line %d: got %r, wanted spiffe://GRID/ROLE/ID or serial:HEX",
                    self._path,
                    number,
                    words[:80],
                )
            else:
                yield found
