"""What a process did to its files, and what a loss of power may leave of it.

``record`` lets strace write down each system call that changes files. ``Disk`` plays such a log up to an instant and
then loses power: of what was written and not synced each sector is kept, lost, or overtaken by others, by a seeded
chance; a file that was made or removed is there or not until its folder was synced. What was synced stays.
"""

import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
CALLS = "openat,pwrite64,write,fsync,fdatasync,ftruncate,rename,unlink"
LINE = re.compile(r"(?P<pid>\d+) +(?P<call>\w+)\((?P<rest>.*)\) += (?P<result>-?\d+).*")
UNFINISHED = re.compile(r"(?P<pid>\d+) +(?P<begun>\w+\(.*) <unfinished \.\.\.>")
RESUMED = re.compile(r"(?P<pid>\d+) +<\.\.\. \w+ resumed>(?P<rest>.*)")
FILE = re.compile(r"\d+<(?P<path>[^>]*)>")
TEXT = re.compile(r'"(?P<text>[^"]*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A system call that changed a file.

    Attributes
    ----------
    kind : create, write, truncate, sync, unlink
    path : of the file
    offset, content : of a write; ``offset`` is the size of a truncation
    """

    kind: str
    path: Path
    offset: int = 0
    content: bytes = b""


def record(folder: Path, module: str) -> list[Step]:
    """What ``python -m module FOLDER`` does to the files in the folder."""
    log = folder.parent / f"{folder.name}.strace"
    command = ["strace", "-f", "-y", "-xx", "--seccomp-bpf", "-s", "1000000", "-e", f"trace={CALLS}", "-o", str(log)]
    subprocess.run([*command, sys.executable, "-m", module, str(folder)], check=True)
    with log.open(encoding="ascii") as lines:
        steps = list(_steps(lines, folder))
    log.unlink()
    return steps


def _steps(lines: Iterator[str], folder: Path) -> Iterator[Step]:
    begun: dict[str, str] = {}
    made: set[Path] = set()
    appended: dict[Path, int] = {}
    for line in lines:
        if unfinished := UNFINISHED.match(line):
            begun[unfinished["pid"]] = unfinished["begun"]
            continue
        whole = line
        if resumed := RESUMED.match(line):
            whole = f"{resumed['pid']} {begun.pop(resumed['pid'])}{resumed['rest']}"
        match = LINE.match(whole)
        if match is None or match["result"].startswith("-"):
            continue
        step = _step(match["call"], match["rest"], int(match["result"]), folder, made, appended)
        if step is not None:
            yield step


def _step(call: str, rest: str, result: int, folder: Path, made: set[Path], appended: dict[Path, int]) -> Step | None:
    assert call != "rename", f"of which this plays nothing: {rest}"
    quoted = TEXT.search(rest)
    text = b"" if quoted is None else _plain(quoted["text"])
    if call in ("unlink", "openat"):
        return _entry(call, Path(text.decode(errors="replace")), "O_CREAT" in rest, folder, made)
    named = FILE.search(rest)
    path = Path() if named is None else Path(_plain(named["path"]).decode(errors="replace"))
    if folder not in (path, path.parent):
        return None
    match call:
        case "fsync" | "fdatasync":
            return Step(kind="sync", path=path)
        case "ftruncate":
            return Step(kind="truncate", path=path, offset=int(rest.rsplit(",", 1)[1]))
        case "write":  # only what is written in a row
            offset = appended.get(path, 0)
            appended[path] = offset + result
        case _:
            offset = int(rest.rsplit(",", 1)[1])
    return Step(kind="write", path=path, offset=offset, content=text[:result])


def _entry(call: str, path: Path, making: bool, folder: Path, made: set[Path]) -> Step | None:
    """A file that appears in the folder, or vanishes."""
    if path.parent != folder:
        return None
    if call == "unlink":
        made.discard(path)
        return Step(kind="unlink", path=path)
    if path in made or not making:
        return None
    made.add(path)
    return Step(kind="create", path=path)


def _plain(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


@dataclass(slots=True)
class _File:
    """What is surely on disk, and what may be."""

    content: bytearray = field(default_factory=bytearray)
    pending: list[Step] = field(default_factory=list)


class Disk:
    """Files as a machine has them that may lose power at any instant."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[Path, _File] = {}
        self._entries: dict[Path, _File] = {}

    def take(self, step: Step) -> None:
        """Let a system call happen."""
        match step.kind:
            case "create":
                self._files[step.path] = _File()
            case "unlink":
                self._files.pop(step.path, None)
            case "sync" if step.path == self._folder:
                self._entries = dict(self._files)
            case "sync":
                file = self._files[step.path]
                for pending in file.pending:
                    _apply(file.content, pending)
                file.pending.clear()
            case _:
                self._files.setdefault(step.path, _File()).pending.append(step)

    def lose_power(self, chance: random.Random) -> dict[str, bytes]:
        """What is there when power is back."""
        left = {}
        for path in sorted({*self._files, *self._entries}):
            made, kept = self._files.get(path), self._entries.get(path)
            file = made if made is kept or chance.random() < 0.5 else kept
            if file is not None:
                left[path.name] = _torn(file, chance)
        return left


def _torn(file: _File, chance: random.Random) -> bytes:
    """The file's surest content with what chance keeps of the rest."""
    content = bytearray(file.content)
    mood = chance.choice(("none", "all", "prefix", "any", "any", "reordered"))
    pending: Sequence[Step] = file.pending
    if mood == "none":
        return bytes(content)
    if mood == "prefix":
        pending = pending[: chance.randrange(len(pending) + 1)]
    sectors = [sector for step in pending for sector in _sectors(step)]
    if mood in ("any", "reordered"):
        share = chance.random()
        sectors = [sector for sector in sectors if chance.random() < share]
    elif mood == "prefix" and sectors:
        sectors = sectors[: max(0, len(sectors) - chance.randrange(9))]
    if mood == "reordered":
        chance.shuffle(sectors)
    for sector in sectors:
        _apply(content, sector)
    return bytes(content)


def _sectors(step: Step) -> Iterator[Step]:
    """A write as the sectors that a disk writes whole."""
    if step.kind == "truncate":
        yield step
        return
    start, end = step.offset, step.offset + len(step.content)
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        part = step.content[start - step.offset : stop - step.offset]
        yield Step(kind="write", path=step.path, offset=start, content=part)
        start = stop


def _apply(content: bytearray, step: Step) -> None:
    if step.kind == "truncate":
        del content[step.offset :]
        content.extend(bytes(step.offset - len(content)))
        return
    content.extend(bytes(max(0, step.offset - len(content))))
    content[step.offset : step.offset + len(step.content)] = step.content
