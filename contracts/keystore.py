"""The encrypted file of an account's key: Web3 Secret Storage, version 3, as wallets write it."""

from __future__ import annotations

import json
from pathlib import Path

from contracts.errors import SignerUnavailableError
from contracts.transactions import LocalSigner

MAX_BYTES = 65_536
"""No such file is longer."""


def open_keystore(path: Path, password: str) -> LocalSigner:
    """The signer whose key a keystore holds; to decrypt it takes about a second, as its writer chose.

    Parameters
    ----------
    path : Path
        The file.
    password : str
        With which it was encrypted.

    Raises
    ------
    SignerUnavailableError
        If it cannot be read, is none, or the password is another one. Nothing of either is said.
    """
    from eth_account import Account

    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as err:
        raise SignerUnavailableError(f"{path}: cannot be read: {err.strerror or err}") from err
    stated = _stated(text)
    if stated is None or stated.get("version") != 3:
        raise SignerUnavailableError(f"{path}: got no keystore, wanted one of version 3")
    try:
        signer = LocalSigner(bytes(Account.decrypt(stated, password)))
    except (ValueError, TypeError, KeyError, NotImplementedError) as err:
        # What the library says may repeat parts of the file.
        said = "another password" if "MAC mismatch" in str(err) else "a keystore that cannot be decrypted"
        raise SignerUnavailableError(f"{path}: got {said}, wanted the one that opens it") from None
    return signer


def _stated(text: bytes) -> dict[str, object] | None:
    try:
        stated = json.loads(text) if len(text) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        return None
    return stated if isinstance(stated, dict) else None
