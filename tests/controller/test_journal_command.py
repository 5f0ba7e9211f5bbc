"""``gridpact journal verify``: it follows what a service wrote down, and names where that ends."""

import hashlib
import json
import sqlite3
from contextlib import closing

import pytest

from controller.cli import main
from controller.limits.journal import FileJournal
from controller.store.database import Database


@pytest.fixture
def data(settled, tmp_path):
    """The folder of a service that has lived for half an hour and been looked at."""
    folder = tmp_path / "data"
    folder.mkdir()
    settled.close()
    settled.path.rename(folder / "gridpact.sqlite")
    settled.path.with_suffix(".limits").rename(folder / "limits.journal")
    settled.path = folder / "gridpact.sqlite"
    settled.open()
    settled.dso.CreateEnvelope(settled.envelope_request(settled.envelope("tight")))
    settled.advance()
    (folder / "limits.journal").write_bytes((folder / "gridpact.limits").read_bytes())
    return folder


@pytest.fixture
def verify(data, capsys):
    """Runs the command; what it said, and its exit code."""

    def verify(*arguments):
        code = main(["journal", "verify", "--data", str(data), *arguments])
        written = capsys.readouterr()
        return code, written.out + written.err

    return verify


def alter(data, statement):
    """As somebody would who has the file."""
    with closing(sqlite3.connect(data / "gridpact.sqlite")) as connection, connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        assert connection.execute(statement).rowcount == 1


def limits_head(data):
    """Of the one record that is there."""
    return f"1:{hashlib.sha256((data / 'limits.journal').read_bytes()).hexdigest()}"


def test_what_was_written_holds_beside_the_running_service(settled, data, verify):
    last = settled.rows("accesses")[-1]
    code, said = verify()
    assert code == 0
    assert said == (
        f"holds   access village: {last['number']} records, head {last['number']}:{last['hash'].hex()}\n"
        f"holds   limits: 1 record, head {limits_head(data)}\n"
    )
    assert last["number"] > 20


def test_programs_read_the_same(settled, verify):
    code, said = verify("--json")
    access, limits = json.loads(said)["journals"]
    assert code == 0
    assert access["count"] == len(settled.rows("accesses"))
    assert (access["journal"], limits["journal"], limits["count"]) == ("access village", "limits", 1)
    assert access["broken"] == limits["broken"] == ""


def test_the_first_record_that_was_changed_is_named(settled, data, verify):
    settled.close()
    alter(data, "UPDATE accesses SET code = 'OK' || code WHERE number = 7")
    assert verify() == (
        1,
        "BROKEN  access village: entry 7: its hash is not that of what it says\n"
        f"holds   limits: 1 record, head {limits_head(data)}\n",
    )
    assert json.loads(verify("--json")[1])["journals"][0]["count"] == 6
    settled.open()


def test_a_journal_that_was_cut_is_found_by_a_head_that_was_seen(settled, data, verify):
    head = verify()[1].split("head ")[1].split()[0]
    assert verify("--microgrid", "village", "--head", head)[0] == 0
    number = int(head.split(":")[0])
    settled.close()
    alter(data, f"DELETE FROM accesses WHERE number = {number}")
    assert verify()[0] == 0
    code, said = verify("--microgrid", "village", "--head", head)
    assert (code, said.splitlines()[0]) == (
        1,
        f"BROKEN  access village: entry {number}: missing at the end, and was seen earlier",
    )
    settled.open()


def test_a_damaged_line_of_the_limits_is_named(data, verify):
    journal = FileJournal(data / "limits.journal")
    journal.append({"kind": "seen"})
    journal.close()
    content = bytearray((data / "limits.journal").read_bytes())
    content[20] ^= 1
    (data / "limits.journal").write_bytes(content)
    code, said = verify()
    assert code == 1
    assert said.splitlines()[1].startswith("BROKEN  limits: ")
    assert "line 1 is damaged" in said


def flip(path):
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (flip, "line 1 is damaged"),
        (lambda path: path.write_bytes(b""), "record 1: missing at the end, the database knows 1"),
        (lambda path: path.unlink(), "record 1: missing at the end, the database knows 1"),
    ],
    ids=["changed", "emptied", "deleted"],
)
def test_what_the_database_knows_must_be_in_the_journal_of_limits(data, verify, spoil, complaint):
    spoil(data / "limits.journal")
    code, said = verify()
    assert code == 1
    assert said.splitlines()[1].startswith("BROKEN  limits: ")
    assert complaint in said


def test_limits_that_were_written_anew_are_not_those_that_the_database_knows(data, verify):
    (data / "limits.journal").unlink()
    journal = FileJournal(data / "limits.journal")
    journal.append({"kind": "other"})
    journal.close()
    assert verify()[0] == 1
    assert "BROKEN  limits: record 1: not the one that the database knows" in verify()[1]


def test_a_head_of_limits_that_was_seen_is_looked_for(data, verify):
    head = limits_head(data)
    assert verify("--limits-head", head)[0] == 0
    assert "record 1: another than was seen earlier" in verify("--limits-head", f"1:{'0' * 64}")[1]
    code, said = verify("--limits-head", f"2:{'0' * 64}")
    assert (code, "record 2: missing at the end, and was seen earlier" in said) == (1, True)


def test_a_line_that_is_being_written_is_no_fault_and_stays(data, verify):
    head = limits_head(data)
    content = (data / "limits.journal").read_bytes() + b"0123abcd "
    (data / "limits.journal").write_bytes(content)
    code, said = verify()
    assert code == 0
    assert f"holds   limits: 1 record, head {head} (9 bytes after the last record" in said
    assert (data / "limits.journal").read_bytes() == content


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--head", "7"), "--head: got '7', wanted NUMBER:HASH as it was printed earlier"),
        (("--limits-head", "7"), "--limits-head: got '7', wanted NUMBER:HASH as it was printed earlier"),
        (("--head", f"1:{'0' * 64}"), "--head: got one without --microgrid, wanted to know whose it is"),
        (("--microgrid", "hamlet"), "--microgrid: got 'hamlet', wanted one with a journal: village"),
        (("--database", "sqlite:///none.sqlite"), "database sqlite:///none.sqlite: got no file, wanted a service's"),
        (("--database", "nonsense"), "database: cannot be opened: "),
        (("--config", "none.toml"), "none.toml: cannot be read"),
    ],
)
def test_bad_input_is_one_line(verify, arguments, complaint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, said = verify(*arguments)
    assert code == 2
    assert said.startswith("gridpact journal: ")
    assert complaint in said
    assert said.count("\n") == 1
    assert not (tmp_path / "none.sqlite").exists()


def test_a_database_of_another_version_is_refused_and_left_alone(tmp_path, capsys):
    path = tmp_path / "gridpact.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('0013')")
    before = path.read_bytes()
    assert main(["journal", "verify", "--data", str(tmp_path)]) == 2
    assert "schema: got version 0013, wanted version " in capsys.readouterr().err
    assert path.read_bytes() == before


def test_on_postgresql_it_is_read_beside_the_service_that_holds_it(postgres, tmp_path, capsys):
    url = postgres.url(postgres.create())
    database = Database(url)
    assert main(["journal", "verify", "--data", str(tmp_path), "--database", url]) == 0
    database.close()
    assert capsys.readouterr().out == "nothing is written yet\n"
