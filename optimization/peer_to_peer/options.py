"""How rounds go and when they end."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from optimization.errors import ProblemError


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmmOptions:
    """How rounds go and when they end.

    Attributes
    ----------
    scheme : "accelerated" or "plain"
    penalty : currency/kWh per kW on every link; None: from what peers say before the first round
    tolerance : rounds end when both the sum of (t_ij[k+1] + t_ji[k])^2 and that of (t_ij[k+1] - t_ij[k])^2 over all
        proposals are at most this, kW^2 (the rule of the published program); accelerated rounds ask the same of the
        targets. None: the roots of these sums are at most ``iteration.TIGHT`` of that of all proposals, or the relative
        gap, asked for at times from round ``iteration.FIRST_CHECK`` on, is at most ``admm.FIRST_GAP``, which widens
        after ``admm.FIRST_GAP_UNTIL`` rounds; then the answer counts up to ``admm.ACCEPTED_GAP``
    max_iterations : rounds, at least 1, each one answer of every agent, refused steps included
    relaxation : 0 to 2, exclusive; None: 1 when plain, else 1.5
    memory : differences kept for mixing, 1 to 100
    stop : asked before each round; True ends the search, for deadlines
    """

    scheme: Literal["accelerated", "plain"] = "accelerated"
    penalty: float | None = None
    tolerance: float | None = None
    max_iterations: int = 20_000
    relaxation: float | None = None
    memory: int = 10
    stop: Callable[[], bool] | None = None

    def __post_init__(self) -> None:
        def wanted(name: str, good: bool, rule: str) -> None:
            if not good:
                raise ProblemError(f"{name}: got {getattr(self, name)}, wanted {rule}")

        wanted("scheme", self.scheme in ("accelerated", "plain"), "accelerated or plain")
        wanted("penalty", self.penalty is None or 0.0 < self.penalty < np.inf, "a finite number above 0")
        wanted("tolerance", self.tolerance is None or 0.0 < self.tolerance < np.inf, "a finite number above 0")
        wanted("max_iterations", self.max_iterations >= 1, "at least 1")
        wanted("relaxation", self.relaxation is None or 0.0 < self.relaxation < 2.0, "between 0 and 2")
        wanted("memory", 1 <= self.memory <= 100, "1 to 100")

    @property
    def plain(self) -> bool:
        """Whether rounds go as in the textbook."""
        return self.scheme == "plain"

    @property
    def relaxed(self) -> float:
        """The relaxation that is used."""
        if self.relaxation is not None:
            return self.relaxation
        return 1.0 if self.plain else 1.5
