"""Limits of the DSO on groups of a driver's devices, which the service passes on and no more: drivers check them."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOn:
    """A limit as the DSO signed it.

    Attributes
    ----------
    group : id of the group within its microgrid
    driver : id of the identity that it is for
    holder : the DSO's
    counter : counts up with each limit of the group
    expires : Unix seconds; from then on it counts no more
    lower_w, upper_w : on the sum of the group's devices, 0 within; None does not bind
    payload, signature, key_id : what was signed
    """

    group: str
    driver: str
    holder: str
    counter: int
    expires: int
    lower_w: int | None
    upper_w: int | None
    payload: bytes
    signature: bytes
    key_id: str


def together(limits: Iterable[PassedOn], now: float) -> tuple[int | None, int | None]:
    """The lower and the upper bounds that fresh ones allow together, in W; None where one of them does not bind."""
    fresh = [limit for limit in limits if limit.expires > now]
    lower = [limit.lower_w for limit in fresh]
    upper = [limit.upper_w for limit in fresh]
    return (
        None if None in lower else sum(bound for bound in lower if bound is not None),
        None if None in upper else sum(bound for bound in upper if bound is not None),
    )
