"""limits of groups that were replaced stay until they expire, and each DSO's beside another's."""

from alembic import op

revision = "0022"
down_revision = "0021"

NEW = ["microgrid", "group", "holder", "counter"]


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        op.drop_constraint(op.f("pk_group_limits"), "group_limits", type_="primary")
        op.create_primary_key(op.f("pk_group_limits"), "group_limits", NEW)
        return
    # SQLite changes the keys of a new table only; no other table refers to this one.
    sql = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'group_limits'").scalar()
    assert isinstance(sql, str)  # the last revision has made it
    head, body = sql.split("(", maxsplit=1)
    old = 'PRIMARY KEY (microgrid, "group")'
    assert body.count(old) == 1, sql
    made = body.replace(old, 'PRIMARY KEY (microgrid, "group", holder, counter)')
    connection.exec_driver_sql(head.replace("group_limits", "group_limits_new") + "(" + made)
    connection.exec_driver_sql("INSERT INTO group_limits_new SELECT * FROM group_limits")
    connection.exec_driver_sql("DROP TABLE group_limits")
    connection.exec_driver_sql("ALTER TABLE group_limits_new RENAME TO group_limits")
