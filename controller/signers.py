"""Who holds the key of the account that anchors: an encrypted keystore, a bare key file, or a signing service."""

import stat
from pathlib import Path

from contracts.chain_evidence import read_address
from contracts.errors import ContractsError, SignerUnavailableError
from contracts.keystore import open_keystore
from contracts.remote_signer import RemoteSigner
from contracts.transactions import LocalSigner, Signer
from controller.anchoring import read_key
from controller.config import Anchoring
from controller.errors import InputError

MAX_PASSWORD_BYTES = 4096


def open_signer(settings: Anchoring) -> Signer:
    """The signer that the settings name.

    Raises
    ------
    InputError
        If a file cannot be read, others can read it, or the password does not open it. Nothing secret is said.
    """
    if settings.signer_url is not None and settings.account is not None:
        try:
            address = read_address(settings.account.lower(), "anchoring.account")
            return RemoteSigner(settings.signer_url.get_secret_value(), address)
        except ContractsError as err:
            raise InputError(str(err)) from err
    if settings.keystore_file is not None:
        _check_private(settings.keystore_file, "anchoring.keystore_file")
        try:
            return open_keystore(settings.keystore_file, _password(settings))
        except SignerUnavailableError as err:
            raise InputError(f"anchoring.keystore_file: {err}") from err
    if settings.key_file is not None:
        return LocalSigner(read_key(settings.key_file))
    raise InputError("anchoring: got no account, wanted keystore_file, key_file or signer_url")


def _password(settings: Anchoring) -> str:
    if settings.keystore_password is not None:
        return settings.keystore_password.get_secret_value()
    path, name = settings.keystore_password_file, "anchoring.keystore_password_file"
    if path is None:
        raise InputError(f"{name}: got none, wanted it or keystore_password")
    _check_private(path, name)
    try:
        with path.open("rb") as file:
            text = file.read(MAX_PASSWORD_BYTES + 1)
        if len(text) > MAX_PASSWORD_BYTES:
            raise InputError(f"{name}: {path}: got more than {MAX_PASSWORD_BYTES} bytes, wanted a password")
        # One line, as editors and `echo` leave it.
        return text.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as err:
        raise InputError(f"{name}: {path}: cannot be read: {err.strerror or err}") from err
    except UnicodeDecodeError:
        raise InputError(f"{name}: {path}: got bytes that are no text, wanted a password in UTF-8") from None


def _check_private(path: Path, name: str) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as err:
        raise InputError(f"{name}: {path}: cannot be read: {err.strerror or err}") from err
    if not stat.S_ISREG(mode):
        raise InputError(f"{name}: {path}: got something else, wanted a file")
    if mode & 0o077:
        raise InputError(f"{name}: {path}: others can read this file, which opens an account; chmod 600")
