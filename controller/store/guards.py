"""What the database itself refuses, whoever asks: changing or removing what is append-only, unbalanced books.

The triggers are put up whenever a database is opened, after the migrations: SQLite drops a table's triggers when a
migration rebuilds the table, and a table whose triggers are missing must never be written to.
"""

from sqlalchemy import Connection, text

APPEND_ONLY = (
    "accesses",
    "attestations",
    "batch_signatures",
    "batches",
    "consent_revocations",
    "consents",
    "demand_deliveries",
    "headers",
    "limit_records",
    "meter_changes",
    "meter_decisions",
    "meter_events",
    "meter_readings",
    "orders",
    "override_ends",
    "overrides",
    "performances",
    "outbox_attempts",
    "positions",
    "postings",
    "quorum_signatures",
    "quorums",
    "reading_batches",
    "readings",
    "reports",
    "setpoints",
    "settlements",
    "trades",
)
"""Tables whose rows stay as they were written: a correction is a row of its own."""

KEPT = ("adjustments", "controllers", "demand_events", "demand_offers", "held_back", "outbox", "vetoes", "windows")
"""Tables whose rows change and are never removed."""

REMEMBERED = ("clearings", "requests")
"""Tables whose rows never change, and are removed when they are old."""


def put_up(connection: Connection) -> None:
    """Put up every trigger that is missing."""
    if connection.dialect.name == "postgresql":
        _put_up_postgresql(connection)
    else:
        _put_up_sqlite(connection)


def refusals() -> list[tuple[str, str]]:
    """Each pair of a table and an operation (UPDATE or DELETE) that is refused."""
    refused = [(table, verb) for table in APPEND_ONLY for verb in ("UPDATE", "DELETE")]
    return refused + [(table, "DELETE") for table in KEPT] + [(table, "UPDATE") for table in REMEMBERED]


def _name(table: str, verb: str) -> str:
    return f"no_{verb.lower()}_of_{table}"


def _put_up_sqlite(connection: Connection) -> None:
    for table, verb in refusals():
        connection.exec_driver_sql(
            f"CREATE TRIGGER IF NOT EXISTS {_name(table, verb)} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, 'append-only: {verb} of {table}'); END"
        )
    connection.exec_driver_sql(
        "CREATE TRIGGER IF NOT EXISTS balance_of_postings AFTER INSERT ON postings BEGIN "
        'INSERT INTO balances ("window", amount_micro) VALUES (NEW."window", NEW.amount_micro) '
        'ON CONFLICT ("window") DO UPDATE SET amount_micro = amount_micro + excluded.amount_micro; END'
    )


def _put_up_postgresql(connection: Connection) -> None:
    known = set(connection.execute(text("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal")).scalars())
    if "balance_of_postings" not in known:
        connection.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION USING ERRCODE = 'check_violation', "
            "MESSAGE = 'append-only: ' || TG_OP || ' of ' || TG_TABLE_NAME; END $$"
        )
        connection.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION add_to_balance() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            'INSERT INTO balances ("window", amount_micro) VALUES (NEW."window", NEW.amount_micro) '
            'ON CONFLICT ("window") DO UPDATE SET amount_micro = balances.amount_micro + excluded.amount_micro; '
            "RETURN NULL; END $$"
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER balance_of_postings AFTER INSERT ON postings FOR EACH ROW EXECUTE FUNCTION add_to_balance()"
        )
    for table, verb in refusals():
        if _name(table, verb) in known:
            continue
        connection.exec_driver_sql(
            f'CREATE TRIGGER {_name(table, verb)} BEFORE {verb} ON "{table}" '
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
        if verb == "DELETE":
            connection.exec_driver_sql(
                f'CREATE TRIGGER no_truncate_of_{table} BEFORE TRUNCATE ON "{table}" '
                "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
            )
