"""The key with which a validator signs: in a file of its own, plain or encrypted."""

import json
import os
import stat
from pathlib import Path

from contracts.transactions import Address, LocalSigner
from controller.errors import InputError

KEY_BYTES = 32
OWNER_ONLY = 0o600


def read_key(path: Path, *, password: str | None) -> bytes:
    """The private key in a file, 32 bytes.

    Parameters
    ----------
    path : 0x and 64 digits, or a keystore of version 3
    password : of the keystore; None where there is none

    Raises
    ------
    InputError
        If it cannot be read, others can read it, or it holds no key. Nothing of the key is said.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"--key: {path}: cannot be read") from err
    if mode & 0o077:
        raise InputError(f"--key: {path}: got mode {mode:03o}, wanted 600: others can read this key")
    if text.startswith("{"):
        return _checked(path, _decrypted(path, text, password))
    try:
        key = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        key = b""
    return _checked(path, key)


def make_key(path: Path) -> Address:
    """The address of a new key, which is written to a file that is not there yet.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    key = os.urandom(KEY_BYTES)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY), "wb") as file:
            file.write(f"0x{key.hex()}\n".encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as err:
        raise InputError(f"--key: {path}: cannot be written: {err.strerror or err}") from err
    return LocalSigner(key).address


def _checked(path: Path, key: bytes) -> bytes:
    from eth_keys.datatypes import PrivateKey
    from eth_utils.exceptions import ValidationError

    try:
        if len(key) == KEY_BYTES:
            PrivateKey(key).public_key.to_canonical_address()
            return key
    except (ValidationError, ValueError):
        pass
    raise InputError(f"--key: {path}: got no key, wanted 0x and 64 digits, or a keystore of version 3")


def _decrypted(path: Path, text: str, password: str | None) -> bytes:
    from eth_account import Account

    if password is None:
        raise InputError(f"--key: {path}: got a keystore without its password, wanted --password-file")
    try:
        return bytes(Account.decrypt(json.loads(text), password))
    except (ValueError, KeyError, TypeError, NotImplementedError) as err:
        raise InputError(f"--key: {path}: got a keystore that this password does not open") from err
