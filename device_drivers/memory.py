"""A small file for each device that is on disk before the device is switched.

A file that is missing, torn or foreign is no memory: the guard then counts with the worst.
"""

import json
import logging
import math
import os
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from device_drivers.errors import InvalidValueError
from device_drivers.switching import Memory

log = logging.getLogger(__name__)

VERSION = 1


def boot_id() -> str:
    """What tells one start of this machine from another; never the same twice where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return os.urandom(16).hex()


class MemoryFile:
    """Where the memory of one device is kept.

    Parameters
    ----------
    folder : Path
        Made where it is missing.
    name : str
        Of the device.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._path = folder / f"{quote(name, safe='')}.json"

    def load(self) -> Memory | None:
        """What was kept last; None where that cannot be told."""
        try:
            record = json.loads(self._path.read_text("utf-8"))
            return _read(record)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as err:
            log.warning("%s: got a memory that cannot be used (%s): counting as just switched", self._path, err)
            return None

    def save(self, memory: Memory) -> None:
        """Keep it; on disk when this returns.

        Raises
        ------
        OSError
            If it cannot be kept: then the device must not be switched.
        """
        body = asdict(memory) | {"starts": list(memory.starts)}
        text = json.dumps({"version": VERSION, "memory": body, "crc32": _sum(body)})
        self._folder.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_suffix(".new")
        with open(beside, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _sum(body: Any) -> int:
    return zlib.crc32(json.dumps(body, sort_keys=True).encode())


def _read(record: dict[str, Any]) -> Memory:
    body = record["memory"]
    if record["version"] != VERSION or record["crc32"] != _sum(body):
        raise InvalidValueError(f"memory: got version {record['version']} or a wrong checksum, wanted {VERSION}")
    on, day_starts, starts = body["on"], body["day_starts"], body["starts"]
    instants = [body["since"], body["day_ends_at"], *starts]
    if not all(isinstance(one, int | float) and math.isfinite(one) for one in instants):
        raise InvalidValueError(f"instants: got {instants}, wanted finite numbers")
    if on not in (True, False, None) or not isinstance(day_starts, int) or not isinstance(body["boot_id"], str):
        raise InvalidValueError(f"memory: got {body}, wanted its fields")
    return Memory(
        boot_id=body["boot_id"],
        on=on,
        since=float(body["since"]),
        starts=tuple(float(one) for one in starts),
        day_starts=day_starts,
        day_ends_at=float(body["day_ends_at"]),
    )
