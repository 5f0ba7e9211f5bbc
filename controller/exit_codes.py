"""The exit codes of every subcommand."""

OK = 0
CHECK_FAILED = 1
BAD_INPUT = 2
INFEASIBLE = 3
NO_CERTIFIED_RESULT = 4
INTERRUPTED = 130
"""As shells say it: 128 and the number of the signal."""
