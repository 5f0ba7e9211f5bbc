"""``gridpact witness``: what a service shows is kept, and whatever contradicts it is named."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from contracts.strict_json import render
from contracts.witness import read_seen
from controller.cli import main


@pytest.fixture
def pki(authority, tmp_path):
    """The auditor's files."""
    folder = tmp_path / "pki"
    folder.mkdir()
    own = authority.client("spiffe://village/auditor/aud")
    (folder / "ca.pem").write_bytes(authority.certificate)
    (folder / "auditor.pem").write_bytes(own.certificate)
    (folder / "auditor.key").write_bytes(own.key)
    (folder / "auditor.key").chmod(0o600)
    return folder


@pytest.fixture
def follow(pki, tmp_path, capsys):
    """Follows a site once; the exit code and what was said."""

    def follow(site, *arguments, file="seen.jsonl"):
        where = ["--listen", f"127.0.0.1:{site.port}", "--pki", str(pki), "--file", str(tmp_path / file)]
        code = main(["witness", "follow", *where, "--once", *arguments])
        written = capsys.readouterr()
        return code, written.out + written.err

    return follow


def alter(site, statement):
    """As somebody would who has the service's file."""
    with closing(sqlite3.connect(site.path)) as connection, connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("PRAGMA foreign_keys = OFF")
        assert connection.execute(statement).rowcount == 1


def test_headers_are_appended_as_they_come(site, follow, tmp_path):
    assert follow(site)[1].startswith("0 headers, 0 new")
    site.live(until=site.start + 3600)
    assert follow(site)[1].startswith("2 headers, 2 new, head ")
    site.live(until=site.start + 7200)
    code, said = follow(site)
    assert (code, said[:16]) == (0, "4 headers, 2 new")
    assert follow(site)[1].startswith("4 headers, 0 new")
    seen = read_seen(tmp_path / "seen.jsonl")
    assert [stated.header.window for stated in seen] == [site.window(number) for number in range(4)]


def test_a_header_that_was_changed_or_is_gone_is_named(site, follow, tmp_path):
    site.live(until=site.start + 7200)
    assert follow(site)[0] == 0
    shutil.copy(tmp_path / "seen.jsonl", tmp_path / "before.jsonl")
    alter(site, "DELETE FROM headers WHERE number = 3")
    code, said = follow(site)
    assert code == 1
    assert "CONTRADICTS: header 3 was seen, and the service has it no more" in said
    # What it shows instead of the third is another header.
    alter(site, "DELETE FROM headers WHERE number = 2")
    alter(site, "UPDATE headers SET number = 3 WHERE number = 1")
    code, said = follow(site)
    assert code == 1
    assert "CONTRADICTS: header 3: the service shows" in said
    assert (tmp_path / "seen.jsonl").read_bytes() == (tmp_path / "before.jsonl").read_bytes()


def test_a_header_that_does_not_follow_is_not_kept(site, follow, tmp_path):
    site.live(until=site.start + 3600)
    assert follow(site)[0] == 0
    site.live(until=site.start + 7200)
    alter(site, "DELETE FROM headers WHERE number = 2")
    code, said = follow(site)
    assert code == 1
    assert "previous: got" in said
    assert len(read_seen(tmp_path / "seen.jsonl")) == 2


def test_two_who_were_shown_different_books_find_it_out(site, follow, tmp_path, capsys):
    site.live(until=site.start + 7200)
    assert follow(site)[0] == 0
    first, *_ = read_seen(tmp_path / "seen.jsonl")
    forged = replace(first.header, turnover_micro=first.header.turnover_micro + 1)
    line = render({**forged.to_json(), "hash": f"0x{forged.hash.hex()}"})
    (tmp_path / "theirs.jsonl").write_text(line + "\n", "utf-8")
    assert main(["witness", "compare", str(tmp_path / "seen.jsonl"), str(tmp_path / "theirs.jsonl")]) == 1
    assert "CONTRADICTS: header 0: " in capsys.readouterr().out
    lines = (tmp_path / "seen.jsonl").read_text("utf-8").splitlines(keepends=True)
    (tmp_path / "theirs.jsonl").write_text("".join(lines[:2]), "utf-8")
    assert main(["witness", "compare", str(tmp_path / "seen.jsonl"), str(tmp_path / "theirs.jsonl")]) == 0
    assert "AGREES: all saw the same, as far as the shortest goes: 2 headers" in capsys.readouterr().out


def test_half_a_line_is_what_a_loss_of_power_left(site, follow, tmp_path):
    site.live(until=site.start + 3600)
    assert follow(site)[0] == 0
    path = tmp_path / "seen.jsonl"
    path.write_bytes(path.read_bytes()[:-100])
    assert follow(site)[1].startswith("2 headers, 1 new")


def test_a_file_that_was_changed_is_not_followed(site, follow, tmp_path):
    site.live(until=site.start + 3600)
    assert follow(site)[0] == 0
    path = tmp_path / "seen.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"postings_count":', b'"postings_count":1'))
    code, said = follow(site)
    assert code == 2
    assert "is no chain of headers" in said


def test_what_cannot_be_asked_is_said(site, follow, tmp_path, capsys):
    for arguments, wanted in (
        (["--rpc", "http://127.0.0.1:9"], "--rpc: got it without --contract, wanted both or none"),
        (["--contract", "0x" + "0" * 40], "--contract: got it without --rpc"),
        (["--rpc", "http://127.0.0.1:9", "--contract", "here"], "--contract: "),
        (["--every", "0"], "--every: got 0.0, wanted more than 0"),
        (["--identity", "nobody"], "nobody"),
    ):
        code, said = follow(site, *arguments)
        assert code == 2, arguments
        assert wanted in said
    site.hang_up()
    for arguments, wanted in (
        (["compare", str(tmp_path / "none.jsonl"), str(tmp_path)], "none.jsonl"),
        (["compare", "one.jsonl"], "wanted two or more"),
        (["compare", "one.jsonl", "one.jsonl"], "got one twice"),
    ):
        assert main(["witness", *arguments]) == 2
        assert wanted in capsys.readouterr().err
