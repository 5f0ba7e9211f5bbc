"""Which account anchors, as the settings name it."""

import json

import pytest
from eth_account import Account

from contracts.remote_signer import RemoteSigner
from contracts.transactions import LocalSigner
from controller.config import Anchoring
from controller.errors import InputError
from controller.signers import open_signer

KEY = b"\x21" * 32
ADDRESS = LocalSigner(KEY).address
NODE = {"mode": "rpc", "url": "http://127.0.0.1:1"}


@pytest.fixture
def private(tmp_path):
    """Writes a file that its owner alone can read."""

    def write(name, text):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    return write


@pytest.fixture
def keystore(private):
    return private("keystore", json.dumps(Account.encrypt(KEY, "horse", kdf="pbkdf2", iterations=2)))


def opened(**settings):
    return open_signer(Anchoring(**NODE, **settings))


def test_a_keystore_opens_with_a_password_from_a_file_or_the_environment(private, keystore):
    for password in ({"keystore_password_file": private("password", "horse\n")}, {"keystore_password": "horse"}):
        assert opened(keystore_file=keystore, **password).address == ADDRESS


def test_a_key_file_and_a_service_are_accounts_too(private):
    assert opened(key_file=private("key", KEY.hex())).address == ADDRESS
    remote = opened(signer_url="http://127.0.0.1:1", account=ADDRESS.upper().replace("0X", "0x"))
    assert isinstance(remote, RemoteSigner)
    assert remote.address == ADDRESS


def test_the_wrong_password_is_refused_and_not_repeated(private, keystore):
    with pytest.raises(InputError, match=r"anchoring\.keystore_file: .* got another password") as caught:
        opened(keystore_file=keystore, keystore_password_file=private("password", "donkey"))
    assert "donkey" not in str(caught.value)


def test_without_a_password_nothing_is_opened(keystore):
    with pytest.raises(InputError, match=r"anchoring\.keystore_password_file: got none"):
        opened(keystore_file=keystore)


@pytest.mark.parametrize("which", ["keystore", "password"])
def test_files_that_others_can_read_are_refused(private, keystore, which, tmp_path):
    password = private("password", "horse")
    (tmp_path / which).chmod(0o640)
    with pytest.raises(InputError, match=rf"{which}: others can read this file, which opens an account; chmod 600"):
        opened(keystore_file=keystore, keystore_password_file=password)


@pytest.mark.parametrize("text", [b"\xff\xfe", b"x" * 5000])
def test_a_password_is_text_of_some_length(keystore, private, text):
    password = private("password", "")
    password.write_bytes(text)
    with pytest.raises(InputError, match=r"anchoring\.keystore_password_file: .*, wanted a password"):
        opened(keystore_file=keystore, keystore_password_file=password)


def test_files_that_are_not_there_are_named(tmp_path, keystore):
    for settings in (
        {"keystore_file": tmp_path / "none", "keystore_password": "x"},
        {"keystore_file": keystore, "keystore_password_file": tmp_path / "none"},
        {"keystore_file": tmp_path, "keystore_password": "x"},
    ):
        with pytest.raises(InputError, match=r"anchoring\.keystore\w*: "):
            opened(**settings)
