"""A witness's file: the headers that a service has shown, one a line, appended and never changed."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from contracts.checks import check_first_header, check_headers
from contracts.evidence import StatedHeader
from contracts.hashing import to_hex
from contracts.strict_json import render
from contracts.witness import check_seen, read_seen
from controller.errors import InputError

SECRET_MODE = 0o600


class SplitViewError(Exception):
    """The service shows other headers than it has shown."""


class WitnessFile:
    """Keeps what was seen, on disk before more is asked for.

    Parameters
    ----------
    path : JSON Lines as ``headers.jsonl`` of evidence has them; made where there is none

    Raises
    ------
    InputError
        If the file cannot be read, or is not one chain of headers.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._repair()
        self._seen = list(read_seen(path)) if path.exists() else []
        check = check_seen(self._seen)
        if check.failures:
            raise InputError(f"{path}: is no chain of headers: {check.failures[0]}")
        self._runs = Counter(each.header.window for each in self._seen)

    @property
    def seen(self) -> Sequence[StatedHeader]:
        """All headers so far, in order."""
        return self._seen

    def take(self, first: int, headers: Sequence[StatedHeader]) -> int:
        """Keep what a service shows from a place on; returns how many headers are new.

        Parameters
        ----------
        first : place of the first of them among all of the microgrid
        headers : in order; what was seen already must be the same

        Raises
        ------
        SplitViewError
            If a header is another than was seen, is missing, or does not follow the one before; nothing is kept then.
        InputError
            If the file cannot be written.
        """
        known = self._seen[first:]
        if len(headers) < len(known):
            raise SplitViewError(f"header {first + len(headers)} was seen, and the service has it no more")
        for position, (stated, seen) in enumerate(zip(headers, known, strict=False), start=first):
            if stated.header != seen.header:
                got, wanted = to_hex(stated.header.hash), to_hex(seen.header.hash)
                raise SplitViewError(
                    f"header {position}: the service shows {got} for window {stated.header.window}, "
                    f"{wanted} was seen for window {seen.header.window}"
                )
        new = headers[len(known) :]
        if not new:
            return 0
        # With the one before: what is kept holds already.
        check = check_headers([*self._seen[-1:], *new])
        failures = [*check_first_header(new).failures] if not self._seen else []
        for header in (each.header for each in new):
            if header.run != self._runs[header.window]:
                failures.append(f"window {header.window}: run: got {header.run}, wanted {self._runs[header.window]}")
            self._runs[header.window] += 1
        if failures := [*failures, *check.failures]:
            raise SplitViewError(failures[0])
        self._append(new)
        return len(new)

    def _append(self, new: Sequence[StatedHeader]) -> None:
        lines = [render({**each.header.to_json(), "hash": to_hex(each.hash)}) + "\n" for each in new]
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, SECRET_MODE)
            with os.fdopen(handle, "ab") as file:
                file.write("".join(lines).encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as err:
            raise InputError(f"{self._path}: cannot be written: {err.strerror or err}") from err
        self._seen += new

    def _repair(self) -> None:
        """Cut off what a loss of power left of a last line."""
        try:
            if not self._path.exists():
                return
            with self._path.open("r+b") as file:
                content = file.read()
                whole = content.rfind(b"\n") + 1
                if whole < len(content):
                    file.truncate(whole)
        except OSError as err:
            raise InputError(f"{self._path}: cannot be read: {err.strerror or err}") from err
