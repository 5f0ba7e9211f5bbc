"""Which registry the books are anchored in, and who may sign for it."""

from collections.abc import Callable
from dataclasses import dataclass

from contracts.quorum import Domain, Quorum


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryIdentity:
    """A registry and its validators.

    Attributes
    ----------
    domain : its chain and where it stands
    genesis : hash of the chain's first block, 32 bytes; None where it is not known
    quorum : who may sign now, and how many have to
    self_attested : whether the service itself is the only validator
    """

    domain: Domain
    genesis: bytes | None
    quorum: Quorum
    self_attested: bool = False


RegistryKnown = Callable[[], RegistryIdentity | None]
"""The registry, once there is one; answers at once."""


def no_registry() -> RegistryIdentity | None:
    """A service that anchors nowhere."""
    return None
