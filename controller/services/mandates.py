"""Whom a caller may know about: an aggregator who let it, those who keep the books everybody."""

from sqlalchemy import Connection

from controller.access import Identity, Role
from controller.consent import Scope
from controller.store import consents

BOOKKEEPERS = frozenset({Role.OPERATOR, Role.AUDITOR})
"""Roles that see everybody's trades where they may see trades at all."""


def visible_members(
    connection: Connection, caller: Identity, microgrid: str, scope: Scope, now: float
) -> frozenset[str] | None:
    """The members whose trades, or devices' plans, a caller may see at an instant; None for all."""
    if caller.role in BOOKKEEPERS:
        return None
    return consents.allowed_members(connection, microgrid, caller, scope, now)
