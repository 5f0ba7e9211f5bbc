"""What must hold in every database of ours, whatever happened to the machine."""

import json
from collections import defaultdict

from sqlalchemy import Connection, text

from contracts.header import WindowHeader
from controller.store import schema

CLEARED = ("CLEARED", "DELIVERING")
SETTLED = ("SETTLED", "ANCHORED")


def broken(connection: Connection) -> list[str]:
    """Each invariant that does not hold, in words."""
    found = []
    if connection.dialect.name == "sqlite":
        for pragma in ("integrity_check", "foreign_key_check"):
            said = [tuple(row) for row in connection.execute(text(f"PRAGMA {pragma}"))]
            if said not in ([], [("ok",)]):
                found.append(f"{pragma}: {said}")
    rows = {
        name: [dict(row._mapping) for row in connection.execute(table.select())]
        for name, table in schema.metadata.tables.items()
    }
    found += [f"balance of {row['window']}: {row['amount_micro']}" for row in rows["balances"] if row["amount_micro"]]
    by_window = {name: _by_window(rows[name]) for name in ("trades", "positions", "setpoints", "readings", "postings")}
    headers = _by_window(rows["headers"])
    for window in rows["windows"]:
        name, state = window["name"], window["state"]
        has = {table: bool(by_window[table].get(name)) for table in by_window}
        decided = window["certificate"] is not None
        if state == "OPEN" and (window["snapshot"] is not None or any(has.values())):
            found.append(f"{name}: OPEN with records {has}")
        if state != "OPEN" and window["snapshot"] is None:
            found.append(f"{name}: {state} without a snapshot")
        if state in CLEARED and not (decided and has["positions"]):
            found.append(f"{name}: {state} without a decision")
        if has["trades"] and not decided:
            found.append(f"{name}: trades without a certificate")
        if (state in SETTLED) != (name in headers):
            found.append(f"{name}: {state}, headers {len(headers[name])}")
        if has["postings"] and state not in SETTLED:
            found.append(f"{name}: {state} with postings")
        if (total := sum(row["amount_micro"] for row in by_window["postings"].get(name, []))) != 0:
            found.append(f"{name}: postings sum to {total}")
        found += _unbalanced(name, by_window["trades"].get(name, []), by_window["positions"].get(name, []))
    found += _broken_chain(rows["headers"])
    found += _broken_batches(rows["batches"], rows["headers"])
    return found


def _by_window(rows):
    found = defaultdict(list)
    for row in rows:
        found[row["window"]].append(row)
    return found


def _unbalanced(name, trades, positions):
    """Members whose trades in an MTU are not what they were scheduled to take."""
    net = defaultdict(int)
    for trade in trades:
        net[trade["buyer"], trade["mtu_start"]] += trade["energy_wh"]
        net[trade["seller"], trade["mtu_start"]] -= trade["energy_wh"]
    return [
        f"{name}: {row['member']} at {row['mtu_start']} does not trade {row['net_wh']} Wh"
        for row in positions
        if net[row["member"], row["mtu_start"]] != row["net_wh"]
    ]


def _broken_batches(batches, headers):
    """Batches that do not take the headers in their order, each once."""
    found, taken = [], defaultdict(int)
    count = defaultdict(int)
    for row in headers:
        count[row["microgrid"]] += 1
    for row in sorted(batches, key=lambda row: (row["microgrid"], row["number"])):
        if row["first"] != taken[row["microgrid"]]:
            found.append(f"batch {row['number']} of {row['microgrid']} begins with header {row['first']}")
        taken[row["microgrid"]] = row["first"] + row["count"]
        if taken[row["microgrid"]] > count[row["microgrid"]]:
            found.append(f"batch {row['number']} of {row['microgrid']} has headers that are missing")
    return found


def _broken_chain(rows):
    found, previous = [], {}
    for row in sorted(rows, key=lambda row: (row["microgrid"], row["number"])):
        header = WindowHeader.from_json(json.loads(row["header"]))
        if header.hash != row["hash"] or row["number"] != previous.get(row["microgrid"], (-1,))[0] + 1:
            found.append(f"header {row['number']} of {row['microgrid']} is not the one that its hash says")
        previous[row["microgrid"]] = (row["number"], row["hash"])
    return found
