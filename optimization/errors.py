"""The exceptions of this package, under one root."""


class OptimizationError(Exception):
    """Root of what this package raises."""


class ProblemError(OptimizationError, ValueError):
    """The data of a problem break a rule; the message names the element, what was got and what was wanted."""


class SolverError(OptimizationError, RuntimeError):
    """A solver ended in a way that is neither a solution nor a proof that there is none."""
