import json
import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import StoreError
from controller.limits.journal import FileJournal, MemoryJournal, TimedJournal
from controller.limits.restoring import restore
from controller.store import limits
from controller.store.database import Database

RECORDS = [{"kind": "default", "n": n, "text": "ü" * n} for n in range(5)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "limits.journal"


@pytest.fixture
def written(path):
    journal = FileJournal(path)
    for record in RECORDS:
        journal.append(record)
    journal.close()
    return path


def read(path):
    journal = FileJournal(path)
    records = list(journal.records())
    journal.close()
    return records


def test_what_was_appended_is_there_when_it_is_opened_again(written):
    assert read(written) == RECORDS
    journal = FileJournal(written)
    journal.append({"kind": "more"})
    journal.close()
    assert read(written) == [*RECORDS, {"kind": "more"}]


def test_a_closed_journal_touches_no_file_that_got_its_number(written, tmp_path):
    journal = FileJournal(written)
    journal.close()
    with (tmp_path / "other").open("w+b") as other:
        journal.close()
        with pytest.raises(StoreError, match="it is closed"):
            journal.append({"kind": "late"})
        other.seek(0)
        assert other.read() == b""
    assert read(written) == RECORDS


def test_nobody_else_may_read_it(written):
    assert written.stat().st_mode & 0o077 == 0


def test_a_torn_last_line_is_cut_off_wherever_it_tore(written):
    whole = written.read_bytes()
    last = whole.rindex(b"\n", 0, len(whole) - 1) + 1
    for cut in range(last, len(whole)):
        written.write_bytes(whole[:cut])
        assert read(written) == RECORDS[:-1]
        assert written.read_bytes() == whole[:last]


def test_garbage_after_the_last_line_is_cut_off(written, caplog):
    whole = written.read_bytes()
    written.write_bytes(whole + os.urandom(100))
    assert read(written) == RECORDS
    assert written.read_bytes() == whole
    assert "the last 100 bytes are no whole record" in caplog.text


def test_records_that_only_the_database_has_are_written_again_and_that_is_said(written, tmp_path, caplog):
    database = Database(f"sqlite:///{tmp_path / 'gridpact.sqlite'}")
    database.run(limits.catch_up, RECORDS)
    journal = FileJournal(written)
    restore(journal, database)
    assert not caplog.text
    journal.close()
    written.write_bytes(b"")
    journal = FileJournal(written)
    restore(journal, database)
    database.close()
    journal.close()
    assert read(written) == RECORDS
    assert "it holds 0 records, the database knows 5" in caplog.text


@given(data=st.data())
def test_an_altered_line_before_the_last_is_named(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("journal") / "limits.journal"
    journal = FileJournal(path)
    for record in RECORDS:
        journal.append(record)
    journal.close()
    lines = path.read_bytes().splitlines(keepends=True)
    number = data.draw(st.integers(0, len(lines) - 2))
    place = data.draw(st.integers(0, len(lines[number]) - 2))
    old = lines[number][place]
    new = data.draw(st.integers(0, 255).filter(lambda byte: byte not in {old, 10}))
    lines[number] = lines[number][:place] + bytes([new]) + lines[number][place + 1 :]
    path.write_bytes(b"".join(lines))
    with pytest.raises(StoreError, match=f"line {number + 1} is damaged"):
        FileJournal(path)


def test_a_line_that_was_taken_out_or_forged_is_noticed(written):
    lines = written.read_bytes().splitlines(keepends=True)
    written.write_bytes(b"".join(lines[:2] + lines[3:]))
    with pytest.raises(StoreError, match="line 3 is damaged"):
        FileJournal(written)
    body = lines[2].partition(b" ")[2].replace(b'"n":2', b'"n":9').rstrip(b"\n")
    written.write_bytes(b"".join([*lines[:2], b"%08x %s\n" % (zlib.crc32(body), body), *lines[3:]]))
    with pytest.raises(StoreError, match="line 4 is damaged"):
        FileJournal(written)


def test_after_a_sync_that_failed_nothing_is_taken(written, monkeypatch):
    journal = FileJournal(written)

    def fail(_):
        raise OSError("disk is gone")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError, match="cannot be synced: disk is gone"):
        journal.append({"kind": "more"})
    monkeypatch.undo()
    with pytest.raises(StoreError, match="takes nothing since it failed"):
        journal.append({"kind": "more"})
    assert list(journal.records()) == RECORDS


def test_what_did_not_fit_leaves_no_trace(written, monkeypatch):
    journal = FileJournal(written)
    real = os.pwrite

    def fill_up(file, data, offset):
        if len(data) > 10:
            return real(file, data[:10], offset)
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "pwrite", fill_up)
    with pytest.raises(StoreError, match="no space left"):
        journal.append({"kind": "more"})
    monkeypatch.undo()
    journal.append({"kind": "other"})
    journal.close()
    assert read(written) == [*RECORDS, {"kind": "other"}]


def test_a_folder_in_its_place_is_said_so(tmp_path):
    with pytest.raises(StoreError, match="cannot be opened"):
        FileJournal(tmp_path)


def test_one_in_memory_keeps_no_reference_to_what_it_was_given():
    journal, record = MemoryJournal(), {"kind": "a", "list": [1]}
    journal.append(record)
    record["list"].append(2)
    assert journal.records() == ({"kind": "a", "list": [1]},)
    assert json.dumps(journal.records()[0])


def test_a_timed_journal_keeps_the_same_and_tells_what_reached_the_disk_alone(path):
    told = []
    journal = TimedJournal(FileJournal(path), told.append)
    journal.append(RECORDS[0])
    assert list(journal.records()) == [RECORDS[0]]
    journal.close()
    with pytest.raises(StoreError):
        journal.append(RECORDS[1])
    assert len(told) == 1
    assert told[0] >= 0
    assert read(path) == [RECORDS[0]]
