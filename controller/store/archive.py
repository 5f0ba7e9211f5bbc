"""One file that holds several, and says of each what it must be: a tar archive with its manifest first.

The manifest names every part with its size and SHA-256, so that a file that was cut short or altered is told before
anything of it is used.
"""

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from controller.errors import InputError

FORMAT = "gridpact-backup-1"
MANIFEST = "manifest.json"
MODE = 0o600


def write(out: Path, folder: Path, instant: int) -> bytes:
    """Put the files of a folder into a new file, for its owner's eyes only, on disk afterwards; returns the manifest.

    Parameters
    ----------
    out : the file
    folder : of plain files
    instant : when they were gathered, in Unix seconds
    """
    parts = {path.name: {"bytes": path.stat().st_size, "sha256": _digest(path)} for path in sorted(folder.iterdir())}
    manifest = json.dumps({"format": FORMAT, "instant": instant, "parts": parts}, sort_keys=True, indent=1).encode()
    with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "wb") as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            entry = tarfile.TarInfo(MANIFEST)
            entry.size, entry.mode = len(manifest), MODE
            archive.addfile(entry, io.BytesIO(manifest))
            for path in sorted(folder.iterdir()):
                archive.add(path, path.name, filter=_bare)
        file.flush()
        os.fsync(file.fileno())
    return manifest


def _bare(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = MODE
    return entry


def unpack(source: Path, folder: Path) -> bytes:
    """Take every part out into a folder, each as the manifest says; returns the manifest.

    Raises
    ------
    InputError
        If the file is no whole archive, or a part is missing, too many or altered.
    """
    with _reading(source) as archive:
        manifest = _first(archive)
        parts = _parts(source, manifest)
        for entry in archive:
            if entry.name == MANIFEST:
                continue
            stated = parts.pop(entry.name, None)
            content = archive.extractfile(entry) if stated is not None and entry.isreg() else None
            if stated is None or content is None:
                raise InputError(f"backup {source}: got a part {entry.name!r} that its manifest does not name")
            path = folder / entry.name
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "wb") as file:
                shutil.copyfileobj(content, file)
            if _digest(path) != stated["sha256"]:
                raise InputError(f"backup {source}: part {entry.name!r} is not what was written")
        if parts:
            raise InputError(f"backup {source}: got no part {min(parts)!r}, wanted all of its manifest")
    return manifest


def sync(path: Path) -> None:
    """Let a file, or a folder's list of files, be on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _first(archive: tarfile.TarFile) -> bytes:
    entry = archive.next()
    content = None if entry is None or entry.name != MANIFEST else archive.extractfile(entry)
    return b"" if content is None else content.read()


def _parts(source: Path, manifest: bytes) -> dict[str, Any]:
    try:
        stated = json.loads(manifest)
        form, parts = stated["format"], dict(stated["parts"])
    except (ValueError, KeyError, TypeError) as err:
        raise InputError(f"backup {source}: got no manifest, wanted that of gridpact backup first") from err
    if form != FORMAT:
        raise InputError(f"backup {source}: got format {form!r}, wanted {FORMAT!r}")
    for name in parts:
        if name != Path(name).name or name.startswith("."):
            raise InputError(f"backup {source}: got a part {name!r}, wanted plain file names")
    return parts


@contextmanager
def _reading(source: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(source, mode="r:") as archive:
            yield archive
    except (tarfile.TarError, EOFError) as err:
        raise InputError(f"backup {source}: got no whole archive, wanted one of gridpact backup: {err}") from err
    except FileNotFoundError as err:
        raise InputError(f"backup {source}: got no such file, wanted one of gridpact backup") from err


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
