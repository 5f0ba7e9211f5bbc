"""The statements for consents; a consent and its revocation are rows that are only ever added."""

from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, select

from controller.access import Identity, Role
from controller.consent import Consent, Scope, grantee_of
from controller.store import schema


def add(
    connection: Connection, microgrid: str, member: str, *, grantee: str, scope: Scope, granted: int, expires: int
) -> Consent:
    """Keep a consent; it takes the place of earlier ones to the same grantee and scope."""
    table = schema.consents
    newest = connection.execute(
        select(func.max(table.c.number)).where(table.c.microgrid == microgrid, table.c.member == member)
    ).scalar()
    number = 1 if newest is None else newest + 1
    connection.execute(
        table.insert().values(
            microgrid=microgrid,
            member=member,
            number=number,
            grantee=grantee,
            scope=scope.value,
            granted=granted,
            expires=expires,
        )
    )
    return Consent(member=member, number=number, grantee=grantee, scope=scope, granted=granted, expires=expires)


def revoke(connection: Connection, microgrid: str, member: str, number: int, instant: int) -> None:
    """Take a consent back."""
    connection.execute(
        schema.consent_revocations.insert().values(microgrid=microgrid, member=member, number=number, instant=instant)
    )


def of_member(connection: Connection, microgrid: str, member: str) -> list[Consent]:
    """All consents of a member, oldest first."""
    table = schema.consents
    statement = _with_revocation().where(table.c.microgrid == microgrid, table.c.member == member)
    rows = connection.execute(statement.order_by(table.c.number)).all()
    newest = {(row.grantee, row.scope): row.number for row in rows}
    return [_consent(row, newest=newest[row.grantee, row.scope] == row.number) for row in rows]


def allowed_members(
    connection: Connection, microgrid: str, caller: Identity, scope: Scope, now: float
) -> frozenset[str]:
    """The members whose data a caller may use at an instant: itself, and those whose consent counts."""
    if caller.grid != microgrid:
        return frozenset()
    table = schema.consents
    statement = _with_revocation().where(
        table.c.microgrid == microgrid, table.c.grantee == grantee_of(caller), table.c.scope == scope.value
    )
    newest = {row.member: _consent(row) for row in connection.execute(statement.order_by(table.c.number))}
    members = {member for member, consent in newest.items() if consent.counts(now)}
    return frozenset(members | ({caller.id} if caller.role is Role.PARTICIPANT else set()))


def allows(connection: Connection, microgrid: str, member: str, *, caller: Identity, scope: Scope, now: float) -> bool:
    """Whether a caller may use a member's data at an instant: its own, or with a consent that counts."""
    if caller.grid != microgrid:
        return False
    if caller.role is Role.PARTICIPANT and caller.id == member:
        return True
    table = schema.consents
    statement = _with_revocation().where(
        table.c.microgrid == microgrid,
        table.c.member == member,
        table.c.grantee == grantee_of(caller),
        table.c.scope == scope.value,
    )
    row = connection.execute(statement.order_by(table.c.number.desc()).limit(1)).first()
    return row is not None and _consent(row).counts(now)


def _with_revocation() -> Select[Any]:
    table, revocations = schema.consents, schema.consent_revocations
    same = and_(
        revocations.c.microgrid == table.c.microgrid,
        revocations.c.member == table.c.member,
        revocations.c.number == table.c.number,
    )
    return select(table, revocations.c.instant.label("revoked")).select_from(table.outerjoin(revocations, same))


def _consent(row: Row[Any], *, newest: bool = True) -> Consent:
    return Consent(
        member=row.member,
        number=row.number,
        grantee=row.grantee,
        scope=Scope(row.scope),
        granted=row.granted,
        expires=row.expires,
        revoked=row.revoked,
        newest=newest,
    )
