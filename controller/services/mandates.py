"""Whom a caller may know about: an aggregator who let it, those who keep the books everybody."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cache

from sqlalchemy import Connection

from controller.access import Identity, Role, may_call
from controller.consent import Scope
from controller.microgrid import Member
from controller.store import consents, registry

BOOKKEEPERS = frozenset({Role.OPERATOR, Role.AUDITOR})
"""Roles that see everybody's trades where they may see trades at all."""
TELLING_LIMITS = ("/gridpact.v1.DispatchService/GetClearing", "/gridpact.v1.DsoService/ListRelaxations")
"""Methods that tell what limits gave way to."""


def visible_members(
    connection: Connection, caller: Identity, microgrid: str, scope: Scope, now: float
) -> frozenset[str] | None:
    """The members whose trades, or devices' plans, a caller may see at an instant; None for all."""
    if caller.role in BOOKKEEPERS:
        return None
    return consents.allowed_members(connection, microgrid, caller, scope, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a caller may see of clearings.

    Attributes
    ----------
    known : members whose trades it may see; None for all
    limits : whether it may know what a limit on a target (a resource name) gave way to
    """

    known: frozenset[str] | None
    limits: Callable[[str], bool]


def sight(connection: Connection, caller: Identity, microgrid: str, now: float) -> Sight:
    """What a caller may see of clearings at an instant; within the transaction alone.

    Who may ask for a window's calendar, and neither for its clearing nor for what limits gave way to, is told of none:
    members know their own load, and by what a section's limit gave way to that of the only other one.
    """
    known = visible_members(connection, caller, microgrid, Scope.TRADES, now)
    if known is None:
        return Sight(known=None, limits=lambda _: True)
    if not any(may_call(caller, method) for method in TELLING_LIMITS):
        return Sight(known=known, limits=lambda _: False)
    familiar = known | consents.allowed_members(connection, microgrid, caller, Scope.DISPATCH, now)
    # Few clearings have such limits: members are read where one has.
    telling = cache(lambda: telling_sections(registry.members(connection, microgrid), familiar))
    return Sight(known=known, limits=lambda target: may_know(target, known, telling))


def telling_sections(members: Iterable[Member], familiar: Collection[str]) -> frozenset[str]:
    """The sections in which a single member is a stranger: what is said of them tells its load."""
    strangers = Counter(member.section for member in members if member.id not in familiar)
    return frozenset(section for section, count in strangers.items() if count == 1)


def may_know(target: str, known: Collection[str], telling: Callable[[], Collection[str]]) -> bool:
    """Whether what a limit on a target gave way to tells nothing but of known members, or of several strangers."""
    match target.split("/")[2:]:
        case ["members", member]:
            return member in known
        case ["sections", section]:
            return section not in telling()
        case _:
            return True
