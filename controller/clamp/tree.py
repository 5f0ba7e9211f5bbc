"""The scopes as arrays, in an order in which every scope follows the one around it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from controller.clamp.situation import Scope

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A forest of scopes.

    Attributes
    ----------
    names : from the outermost inwards
    index : the place of each name
    parent : (S,) place of the scope around each; -1 for none
    paths : for each scope the places of itself and of all around it, the innermost first
    """

    names: tuple[str, ...]
    index: dict[str, int]
    parent: tuple[int, ...]
    paths: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, scopes: Sequence[Scope]) -> "Tree":
        """The tree of a situation's scopes; it does not depend on their order."""
        parents = {scope.name: scope.parent for scope in scopes}
        depths: dict[str, int] = {}
        for name in parents:
            chain = []
            at: str | None = name
            while at is not None and at not in depths:
                chain.append(at)
                at = parents[at]
            depth = -1 if at is None else depths[at]
            for inner in reversed(chain):
                depth += 1
                depths[inner] = depth
        names = tuple(sorted(parents, key=lambda name: (depths[name], name)))
        index = {name: place for place, name in enumerate(names)}
        parent = tuple(-1 if (outer := parents[name]) is None else index[outer] for name in names)
        paths: list[tuple[int, ...]] = []
        for place, outer_place in enumerate(parent):
            paths.append((place,) if outer_place < 0 else (place, *paths[outer_place]))
        return cls(names=names, index=index, parent=parent, paths=tuple(paths))

    def totals(self, home: Integers, power: Integers) -> Integers:
        """What each scope takes in all.

        Parameters
        ----------
        home : (n,) place of the scope that each device hangs on
        power : (n,) W

        Returns
        -------
        (S,) W, with all inner scopes
        """
        own: list[int] = np.bincount(home, weights=power, minlength=len(self.names)).astype(np.int64).tolist()
        return np.array(self.gathered(own), dtype=np.int64)

    def gathered(self, own: Sequence[int]) -> list[int]:
        """Sums of what hangs on each scope and on all inside it, exact at any size."""
        sums = list(own)
        for place in range(len(sums) - 1, -1, -1):
            if (outer := self.parent[place]) >= 0:
                sums[outer] += sums[place]
        return sums

    def ancestors(self) -> Integers:
        """(depth, S): the place of each scope's ancestor (or itself) at each depth; -1 where it is not so deep."""
        deepest = max((len(path) for path in self.paths), default=0)
        table = np.full((deepest, len(self.names)), -1, dtype=np.int64)
        for place, path in enumerate(self.paths):
            for depth, outer in enumerate(reversed(path)):
                table[depth, place] = outer
        return table
