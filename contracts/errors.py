"""What can go wrong, grouped by who must handle it."""

from __future__ import annotations

import reprlib
from typing import Self

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80


class ContractsError(Exception):
    """Root of everything that this package raises on purpose."""


class EvidenceError(ContractsError):
    """Evidence cannot be read: whoever supplied it has to supply something else.

    Parameters
    ----------
    wanted : str
        What a well-formed value would have been.
    got : object
        What was there; shown shortened.
    field, file : str, optional
        Where it was.
    line : int, optional
        The line of the file, counted from one.
    """

    def __init__(
        self,
        wanted: str,
        *,
        got: object,
        field: str | None = None,
        file: str | None = None,
        line: int | None = None,
    ) -> None:
        self.wanted = wanted
        self.got = got
        self.field = field
        self.file = file
        self.line = line
        place = " ".join(
            part
            for part in (file, None if line is None else f"line {line}", field and f"field {field!r}")
            if part is not None
        )
        super().__init__(f"{place}{': ' if place else ''}got {_SHORT.repr(got)}, wanted {wanted}")

    def at(self, file: str, line: int | None = None) -> Self:
        """The same error, placed in a file."""
        return type(self)(self.wanted, got=self.got, field=self.field, file=file, line=line)


class AnchorError(ContractsError):
    """A chain did not do what anchoring needs; the work stays for a later attempt."""


class ChainUnavailableError(AnchorError):
    """The chain cannot be reached, or refused what it was asked."""


class ChainRefusedError(ChainUnavailableError):
    """The chain answered, with an error.

    Parameters
    ----------
    message : str
        Who was asked, and what came.
    code : int
        Of the error, as JSON-RPC has it; 0 where there is none.
    data : bytes
        What came with the error, such as a contract's reason; empty where nothing did.
    """

    def __init__(self, message: str, *, code: int = 0, data: bytes = b"") -> None:
        self.code = code
        self.data = data
        super().__init__(message)


class CallRevertedError(ChainRefusedError):
    """A contract refused a call; the data begin with the selector of the contract's own error, if it has one."""


class StaleHeadError(ChainUnavailableError):
    """A node answers from an older block than one that was seen before."""


class OutOfFundsError(AnchorError):
    """The sending account cannot pay for the next transaction."""


class SignerUnavailableError(AnchorError):
    """Whoever holds the sending account's key does not sign."""


class WrongChainError(AnchorError):
    """The chain, the contract or a transaction is another one than was meant."""


class AnchorConflictError(AnchorError):
    """The contract already holds another hash for a key: somebody must find out why."""
