"""The folder in which everything of a service lasts: one service at a time, and a secret of its own."""

import fcntl
import logging
import os
import secrets
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

from controller.errors import InputError

LOCK = "serve.lock"
SECRET = "secret"
SECRET_BYTES = 32
FOLDER_MODE = 0o700
SECRET_MODE = 0o600

log = logging.getLogger(__name__)


class DataFolder:
    """A folder that this process alone works in, from entering to leaving.

    Parameters
    ----------
    path : the folder; made where it is missing
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def __enter__(self) -> Self:
        """Take the folder.

        Raises
        ------
        InputError
            If it cannot be used, or another process has it; names that process.
        """
        try:
            self.path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, SECRET_MODE)
        except OSError as err:
            raise InputError(f"data {self.path}: cannot be used: {err.strerror or err}") from err
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            holder = os.pread(lock, 100, 0).decode(errors="replace").strip() or "another process"
            os.close(lock)
            raise InputError(f"data {self.path}: got a folder that {holder} is working in, wanted a free one") from err
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()}\n".encode(), 0)
        self._lock = lock
        mode = stat.S_IMODE(self.path.stat().st_mode)
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            log.warning("data %s: got mode %04o, wanted its owner's alone; chmod 700 %s", self.path, mode, self.path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The file stays: unlinking would let two processes hold locks of one name.
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    def secret(self) -> bytes:
        """The folder's secret: drawn at the first start, the same ever after.

        Salts of records and the key of the embedded chain follow from it. Who knows it can guess what records say;
        without it nothing that was written is lost.

        Raises
        ------
        InputError
            If it cannot be kept, or is not what was kept.
        """
        path = self.path / SECRET
        try:
            if not path.exists():
                keep(path, secrets.token_bytes(SECRET_BYTES))
            found = path.read_bytes()
        except OSError as err:
            raise InputError(f"{path}: cannot be kept: {err.strerror or err}") from err
        if len(found) != SECRET_BYTES:
            raise InputError(f"{path}: got {len(found)} bytes, wanted {SECRET_BYTES}")
        return found


def keep(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, loss of power included, and that only its owner can read."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET_MODE), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
