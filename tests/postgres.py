"""A PostgreSQL server of the tests' own: in a temporary folder, on a Unix socket, as a user without rights."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

USER = "gridpact"
READY_S = 30


def binaries() -> Path | None:
    """Where PostgreSQL's newest programs are; None where there are none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return None if initdb is None else Path(initdb).resolve().parent


class Postgres:
    """A running server.

    Parameters
    ----------
    programs : folder of its programs
    """

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="gridpact-postgres-"))
        self._as = []
        if os.geteuid() == 0:  # which PostgreSQL refuses
            account = next(a for a in map(_account, ("postgres", "nobody")) if a is not None)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            self._as = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
        data = self.folder / "data"
        self._run("initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        self._count = 0
        self._process: subprocess.Popen | None = None
        self.start()

    def start(self) -> None:
        """Let it run, and answer."""
        # Without fsync: tests end services, not machines.
        self._process = subprocess.Popen(
            [
                *self._as,
                self._programs / "postgres",
                *("-D", self.folder / "data", "-k", self.folder, "-c", "listen_addresses=", "-c", "fsync=off"),
                *("-c", "max_connections=60", "-c", "shared_buffers=16MB"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "log").open("ab"),
            cwd="/",
        )
        ends = time.monotonic() + READY_S
        while True:
            try:
                psycopg.connect(self._address("postgres"), autocommit=True).close()
            except psycopg.OperationalError:
                if time.monotonic() > ends or self._process.poll() is not None:
                    raise
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """End it at once, as a loss of power does; everybody's connection breaks."""
        if self._process is not None:
            # PostgreSQL's own immediate stop: no checkpoint, recovery at the next start.
            self._run("pg_ctl", "stop", "-m", "immediate", "-D", self.folder / "data")
            self._process.wait(READY_S)
            self._process = None

    def create(self, *, template: str = "template0") -> str:
        """The name of a new database, empty or as the template is."""
        self._count += 1
        name = f"gridpact_{self._count}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def execute(self, statement: str) -> None:
        """Let the server do something."""
        with psycopg.connect(self._address("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def url(self, name: str) -> str:
        """SQLAlchemy's URL of a database."""
        return f"postgresql://{USER}@/{name}?host={self.folder}"

    def close(self) -> None:
        """Stop, and leave nothing."""
        self.stop()
        shutil.rmtree(self.folder)

    def _address(self, name: str) -> str:
        return f"host={self.folder} user={USER} dbname={name} connect_timeout=5"

    def _run(self, program: str, *arguments) -> None:
        subprocess.run([*self._as, self._programs / program, *arguments], check=True, capture_output=True, cwd="/")


def _account(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None
