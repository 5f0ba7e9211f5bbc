"""The server's credentials, read again when their files change."""

import logging
from pathlib import Path

from controller.errors import InputError
from controller.pki import Credentials
from controller.pki_files import ServerFiles, read_server

log = logging.getLogger(__name__)

NAMES = ("ca.pem", "server.pem", "server.key")

Stamp = tuple[tuple[int, int, int], ...]


class ReloadedCredentials:
    """What a folder holds, and whether it changed.

    Parameters
    ----------
    folder : as `pki_files.read_server` wants it

    Raises
    ------
    InputError
        If it does not hold what is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stamp = self._look()
        self.first: ServerFiles = read_server(folder)

    def __call__(self) -> tuple[Credentials, bytes] | None:
        """The new credentials where the files changed and are valid; else None, and the last ones go on."""
        stamp = self._look()
        if stamp == self._stamp:
            return None
        # A half-written change is looked at again with its other half: that changes the stamp anew.
        self._stamp = stamp
        try:
            found = read_server(self._folder)
        except InputError as err:
            log.error("credentials: the last ones stay: %s", err)  # noqa: TRY400  # a person's file, no fault of ours
            return None
        log.info("credentials: read anew from %s", self._folder)
        return found.own, found.authority

    def _look(self) -> Stamp:
        return tuple(_mark(self._folder / name) for name in NAMES)


def _mark(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_size, found.st_ino
