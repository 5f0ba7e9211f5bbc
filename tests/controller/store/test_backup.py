"""Backup and restore: what comes back is what was there, and what is no backup changes nothing."""

import sqlite3
import tarfile
import threading
from contextlib import closing

import pytest

from controller.cli import main
from controller.errors import InputError, StoreError
from controller.store import calls, schema
from controller.store.backup import back_up, restore
from controller.store.database import Database

NOW = 1_800_000_000


@pytest.fixture
def data(tmp_path):
    """A service's folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "secret").write_bytes(b"s" * 32)
    (folder / "limits.journal").write_bytes(b"one\ntwo\n")
    (folder / "serve.lock").write_text("process 1\n")
    return folder


@pytest.fixture
def url(stores, data):
    """Of its database, in which there are two starts and a call."""
    address = stores.url() if stores.server is not None else f"sqlite:///{data / 'gridpact.sqlite'}"
    database = Database(address)
    for _ in range(2):
        database.run(calls.next_epoch)
    database.run(remember, 1)
    database.close()
    return address


@pytest.fixture
def other(stores, tmp_path):
    """Where a database may be restored."""
    if stores.server is not None:
        return stores.server.url(stores.server.create())
    return f"sqlite:///{tmp_path / 'again' / 'gridpact.sqlite'}"


def remember(connection, number):
    calls.remember(connection, "a", str(number), method="m", digest=b"", response=b"x" * 5000, created=0)


def remembered(url):
    database = Database(url)
    rows = database.read(lambda connection: [int(r.request_id) for r in connection.execute(schema.requests.select())])
    database.close()
    return sorted(rows)


def test_what_comes_back_is_what_was_there(tmp_path, data, url, other):
    out = tmp_path / "one.backup"
    made = back_up(data, url, out, instant=NOW)
    assert out.stat().st_mode & 0o077 == 0
    assert set(made.parts) >= {"secret", "limits.journal"}
    assert "serve.lock" not in made.parts
    assert restore(out, tmp_path / "again", other, instant=NOW) == made
    assert (tmp_path / "again" / "secret").read_bytes() == b"s" * 32
    assert (tmp_path / "again" / "limits.journal").read_bytes() == b"one\ntwo\n"
    assert remembered(other) == [1]


def test_a_restored_service_is_newer_than_any_before(tmp_path, data, url, other):
    back_up(data, url, tmp_path / "one.backup", instant=NOW)
    restore(tmp_path / "one.backup", tmp_path / "again", other, instant=NOW)
    database = Database(other)
    assert database.run(calls.next_epoch) == NOW + 1
    database.close()


def test_it_is_made_beside_a_service_that_writes(tmp_path, data, url, other):
    database = Database(url)
    stop = threading.Event()
    written = []

    def write():
        while not stop.is_set():
            database.run(remember, len(written) + 2)
            written.append(len(written) + 2)

    writer = threading.Thread(target=write)
    writer.start()
    while len(written) < 5:
        pass
    before = list(written)
    back_up(data, url, tmp_path / "one.backup", instant=NOW)
    stop.set()
    writer.join()
    database.close()
    restore(tmp_path / "one.backup", tmp_path / "again", other, instant=NOW)
    found = remembered(other)
    assert found == list(range(1, len(found) + 1))
    assert len(found) > len(before)


class TestRefused:
    @pytest.fixture
    def backup(self, tmp_path, data, url):
        back_up(data, url, tmp_path / "one.backup", instant=NOW)
        return tmp_path / "one.backup"

    def refuse(self, backup, place, other, match):
        with pytest.raises(InputError, match=match):
            restore(backup, place, other, instant=NOW)
        assert remembered(other) == []

    def test_a_folder_with_something_in_it(self, backup, tmp_path, data, other):
        with pytest.raises(InputError, match="something in it"):
            restore(backup, data, other, instant=NOW)
        assert (data / "secret").exists()

    def test_a_database_with_something_in_it(self, backup, tmp_path, url):
        with pytest.raises(InputError, match=r"empty database|there already"):
            restore(backup, tmp_path / "again", url, instant=NOW)
        assert remembered(url) == [1]
        assert not (tmp_path / "again").exists()

    @pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9])
    def test_a_file_that_was_cut_short(self, backup, tmp_path, other, share):
        content = backup.read_bytes().rstrip(b"\0")
        backup.write_bytes(content[: int(len(content) * share)])
        self.refuse(backup, tmp_path / "again", other, "backup")

    def test_a_file_that_was_altered(self, backup, tmp_path, other):
        content = bytearray(backup.read_bytes())
        place = content.rindex(b"s" * 32)
        content[place] ^= 1
        backup.write_bytes(content)
        self.refuse(backup, tmp_path / "again", other, "not what was written")

    def test_a_part_outside_of_the_folder(self, tmp_path, other):
        path = tmp_path / "evil.backup"
        with tarfile.open(path, "w") as archive:
            (tmp_path / "manifest.json").write_text(
                '{"format": "gridpact-backup-1", "parts": {"../evil": {"sha256": ""}}}'
            )
            archive.add(tmp_path / "manifest.json", "manifest.json")
        self.refuse(path, tmp_path / "again", other, "plain file names")

    def test_no_file_at_all(self, tmp_path, other):
        self.refuse(tmp_path / "none", tmp_path / "again", other, "no such file")

    def test_a_backup_in_place_of_another(self, backup, data, url):
        content = backup.read_bytes()
        with pytest.raises(InputError, match="there already"):
            back_up(data, url, backup, instant=NOW)
        assert backup.read_bytes() == content


def test_a_backup_of_another_kind_of_database_is_refused(tmp_path, data, url, stores, postgres):
    back_up(data, url, tmp_path / "one.backup", instant=NOW)
    wrong = f"sqlite:///{tmp_path}/again/g.sqlite" if stores.server else postgres.url(postgres.create())
    with pytest.raises(InputError, match="wanted one of"):
        restore(tmp_path / "one.backup", tmp_path / "again", wrong, instant=NOW)
    assert not (tmp_path / "again").exists()


def test_missing_programs_are_named(tmp_path, data, postgres, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StoreError, match="pg_dump: not found"):
        back_up(data, postgres.url("gridpact_1"), tmp_path / "one.backup", instant=NOW)


class TestCommand:
    def test_it_says_what_it_wrote_and_goes_back(self, tmp_path, data, capsys):
        database = Database(f"sqlite:///{data / 'gridpact.sqlite'}")
        database.run(calls.next_epoch)
        assert main(["backup", "--data", str(data), "--out", str(tmp_path / "one.backup")]) == 0
        database.close()
        said = capsys.readouterr().out.splitlines()
        assert "gridpact.sqlite" in said[0]
        assert main(["restore", str(tmp_path / "one.backup"), "--data", str(tmp_path / "again")]) == 0
        assert capsys.readouterr().out.split()[-1] == said[-1].split()[-1]
        with closing(sqlite3.connect(tmp_path / "again" / "gridpact.sqlite")) as plain:
            assert plain.execute("SELECT epoch FROM controllers").fetchone()[0] > 1_700_000_000

    @pytest.mark.parametrize(
        "arguments",
        [
            ("backup", "--data", "none", "--out", "x"),
            ("backup", "--data", ".", "--out", "x"),
            ("backup", "--data", ".", "--out", "no/folder/x"),
            ("restore", "none", "--data", "again"),
        ],
    )
    def test_bad_input_is_said_in_one_line(self, tmp_path, capsys, monkeypatch, arguments):
        monkeypatch.chdir(tmp_path)
        assert main(list(arguments)) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith(f"gridpact {arguments[0]}: ")
        assert captured.err.count("\n") == 1
        assert list(tmp_path.iterdir()) == []
