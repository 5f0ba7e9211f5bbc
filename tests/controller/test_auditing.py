"""The audit of a store: whatever is altered, dropped or added behind the service's back is found and named."""

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from sqlalchemy import create_engine

from contracts.hashing import ZERO_HASH
from controller.anchoring import embedded
from controller.audit_chain import audit_anchors, audit_blocks, audit_rotations, audit_signatures
from controller.audit_sources import audit_sources
from controller.auditing import audit_books
from controller.beginning import read_beginning, replayed
from controller.cli import main
from controller.clock import VirtualClock
from controller.store import evidence, meters
from tests.controller.village import START
from tests.controller.village_site import Site

PROVEN = {
    "headers": ("number", "window", "run", "hash", "header"),
    "trades": ("ix", "seller", "buyer", "mtu_start", "energy_wh", "price_micro_per_kwh", "salt", "adjustment"),
    "readings": ("ix", "meter", "instant", "import_wh", "export_wh", "quality", "salt", "run"),
    "postings": ("ix", "account", "kind", "reference", "amount_micro", "salt", "run"),
    "batches": ("number", "first", "count", "previous", "windows_root", "hash"),
    "batch_signatures": ("number", "validator", "signature"),
    "outbox": ("number", "block_number", "block_hash"),
    "orders": ("member", "payload", "signature", "key_id"),
    "reading_batches": ("gateway", "sequence", "payload", "signature", "key_id"),
    "meter_readings": ("import_wh", "export_wh"),
}
"""What an audit finds altered, by table."""

UNHASHED = {("trades", "adjustment")}
"""What no header commits to by itself: in which clearing a trade was made is in the inputs of the window."""

ALTERED = {
    "BLOB": "CAST(substr(@, 1, length(@) - 1) || CASE WHEN hex(@) LIKE '%00' THEN x'01' ELSE x'00' END AS BLOB)",
    "TEXT": "CASE WHEN @ LIKE '{%' THEN replace(@, '_start\": ', '_start\": 1') ELSE @ || 'x' END",
    "INTEGER": "@ + 1000000",
}
"""Another value of the same type, by type."""


@pytest.fixture(scope="module")
def ended(tmp_path_factory, loop, authority, founded):
    """The database of the village after its horizon, with a correction and batches."""
    path = tmp_path_factory.mktemp("ended") / "gridpact.sqlite"
    shutil.copy(founded, path)

    def anchored(database):
        return embedded(path.parent, b"secret", database, clock=VirtualClock(START))

    site = Site(path, loop, authority, anchored=anchored)
    site.live(until=site.end)

    def revise(connection):
        known = meters.last_reading(connection, "village", "bob", until=site.start + 1800)
        changed = replace(known, import_wh=known.import_wh + 60, quality="SUBSTITUTED")
        meters.add_revision(connection, "village", changed, by="op")
        evidence.ask_for_corrections(connection, "village", [site.window(number) for number in range(4)])

    site.database.run(revise)
    site.advance()
    site.anchor()
    site.close()
    return path


@pytest.fixture(scope="module")
def chain(ended):
    """The chain that the village's windows are anchored on."""
    beginning = read_beginning(ended.parent / "chain.json")
    with closing(sqlite3.connect(ended)) as connection:
        attempts = [raw for (raw,) in connection.execute("SELECT raw FROM outbox_attempts")]
    return replayed(beginning.genesis, beginning.deployment, attempts), beginning.registry


class Blocks:
    """The chain with the blocks that it had when it was written to, which one that is rebuilt has not."""

    def __init__(self, chain, database):
        self._chain = chain
        with closing(sqlite3.connect(database)) as connection:
            self._blocks = dict(connection.execute("SELECT block_number, block_hash FROM outbox"))

    def block_hash(self, number):
        return self._blocks.get(number)


@pytest.fixture
def audited(ended, chain, tmp_path):
    """Audits a copy, in which statements were carried out as by somebody who has the file."""
    made = []

    def audited(*statements):
        path = tmp_path / f"{len(made)}.sqlite"
        with closing(sqlite3.connect(ended)) as source, closing(sqlite3.connect(path)) as copy:
            source.backup(copy)
            copy.execute("PRAGMA ignore_check_constraints = ON")
            with copy:
                for (name,) in copy.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                    copy.execute(f"DROP TRIGGER {name}")
                for statement in statements:
                    assert copy.execute(statement).rowcount >= 1, statement
        made.append(path)
        engine = create_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            checks = [
                *audit_books(connection, "village"),
                *audit_sources(connection, "village"),
                audit_signatures(connection, "village", chain[1].domain),
                audit_rotations(connection, chain[1].domain),
                audit_anchors(connection, "village", *chain),
                audit_blocks(connection, "village", Blocks(chain[0], ended)),
            ]
        engine.dispose()
        return [failure for check in checks for failure in check.failures]

    return audited


def columns_of(path, table):
    with closing(sqlite3.connect(path)) as connection:
        return {row[1]: row[2] for row in connection.execute(f"PRAGMA table_info({table})")}


def test_what_a_service_wrote_holds(audited):
    assert audited() == []


@pytest.mark.slow
@pytest.mark.parametrize("table", PROVEN)
def test_an_altered_column_is_found(table, ended, audited):
    types = columns_of(ended, table)
    for column in PROVEN[table]:
        if (table, column) in UNHASHED:
            continue
        value = ALTERED[types[column]].replace("@", f'"{column}"')
        found = audited(f'UPDATE {table} SET "{column}" = {value} WHERE rowid = (SELECT max(rowid) FROM {table})')
        assert found, f"{table}.{column}"


@pytest.mark.slow
@pytest.mark.parametrize("table", ["headers", "trades", "readings", "postings", "batches", "reading_batches"])
@pytest.mark.parametrize("which", ["min", "max"])
def test_a_dropped_row_is_found(table, which, audited):
    assert audited(f"DELETE FROM {table} WHERE rowid = (SELECT {which}(rowid) FROM {table})")


def test_a_row_that_is_there_twice_is_found(audited):
    found = audited(
        "INSERT INTO postings SELECT window, ix + 1000, account, kind, reference, amount_micro, salt, run "
        "FROM postings WHERE rowid = (SELECT min(rowid) FROM postings)"
    )
    assert "posting 1000 of window" in found[0]


def test_the_last_header_and_its_records_cannot_be_cut_off_where_a_batch_has_it(audited):
    found = audited("DELETE FROM headers WHERE rowid = (SELECT max(rowid) FROM headers)")
    assert any(failure.startswith("batch ") for failure in found)


def test_books_that_are_cut_off_whole_are_found_by_the_chain(ended, audited):
    with closing(sqlite3.connect(ended)) as connection:
        last, number, window, run = connection.execute(
            "SELECT b.number, h.number, h.window, h.run FROM batches b JOIN headers h ON h.number >= b.first "
            "ORDER BY b.number DESC, h.number DESC"
        ).fetchone()
    gone = f"window = '{window}' AND run = {run}"
    found = audited(
        f"DELETE FROM headers WHERE number = {number}",
        f"DELETE FROM batches WHERE number = {last}",
        f"DELETE FROM batch_signatures WHERE number = {last}",
        f"DELETE FROM outbox_attempts WHERE number = {last}",
        f"DELETE FROM outbox WHERE number = {last}",
        f"DELETE FROM postings WHERE {gone}",
    )
    assert any(f"batch {last}: the contract holds 0x" in failure for failure in found)


def test_another_hash_in_the_contract_is_named(ended, chain):
    _, registry = chain

    class Lying:
        def __getattr__(self, name):
            return getattr(chain[0], name)

        def call(self, to, data):
            answer = chain[0].call(to, data)
            return answer if answer == ZERO_HASH else bytes(31) + b"\x01"

    engine = create_engine(f"sqlite:///{ended}")
    with engine.begin() as connection:
        check = audit_anchors(connection, "village", Lying(), registry)
    engine.dispose()
    assert check.failures[0].startswith(f"batch 0: the contract holds 0x{'0' * 63}1, the store gives 0x")


def test_the_command_says_what_holds_and_what_differs(ended, tmp_path, capsys):
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(ended, folder / "gridpact.sqlite")
    assert main(["audit", "--data", str(folder)]) == 0
    assert "nothing was anchored yet" in capsys.readouterr().out
    shutil.copy(ended.parent / "chain.json", folder)
    assert main(["audit", "--data", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "HOLDS: microgrids/village: all" in said
    assert "the chain is the service's own, rebuilt from its store" in said
    assert main(["audit", "--data", str(folder), "--contract", "0x" + "1" * 40]) == 2
    assert "and the service anchors in 0x" in capsys.readouterr().err
    assert main(["audit", "--data", str(folder), "--rpc", "http://127.0.0.1:9"]) == 2
    assert "of an embedded chain, wanted that of a service which anchors behind a URL" in capsys.readouterr().err
    with closing(sqlite3.connect(folder / "gridpact.sqlite")) as connection, connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("UPDATE postings SET amount_micro = amount_micro + 1 WHERE ix = 0 AND run = 0")
    assert main(["audit", "--data", str(folder), "--microgrid", "village", "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)["microgrids"]
    assert not found["ok"]
    assert found["first"].startswith("header 0: header of window microgrids/village/windows/")
    assert "settlement_root" in found["first"]


def test_the_command_says_what_it_cannot_read(tmp_path, capsys):
    for arguments, wanted in (
        (["--data", str(tmp_path / "none")], "got no folder, wanted a service's"),
        (["--data", str(tmp_path)], "got no file, wanted a service's"),
    ):
        assert main(["audit", *arguments]) == 2
        assert wanted in capsys.readouterr().err


def test_the_command_names_the_microgrids_that_there_are(ended, tmp_path, capsys):
    shutil.copy(ended, tmp_path / "gridpact.sqlite")
    assert main(["audit", "--data", str(tmp_path), "--microgrid", "hamlet"]) == 2
    assert "got 'hamlet', wanted one of village" in capsys.readouterr().err
