import json

import pytest

from controller.cli import main
from controller.validator_key import read_key
from tests.controller.validators import DOMAIN, KEYS, address, registry

PASSWORD = "a horse in the battery"


@pytest.fixture
def site(make_site):
    """The village's service with a registry; a window is settled and in a batch."""
    site = make_site("lived", registry=registry)
    site.loop.run(site.service.form_batches())
    return site


@pytest.fixture
def command(site, tmp_path, capsys):
    """Runs ``gridpact validator --once`` against the village; what it printed and its exit code."""
    pki, key = tmp_path / "pki", tmp_path / "validator.key"
    pki.mkdir()
    own = site.authority.client("spiffe://village/validator/val")
    (pki / "ca.pem").write_bytes(site.authority.certificate)
    (pki / "validator.pem").write_bytes(own.certificate)
    (pki / "validator.key").write_bytes(own.key)
    (pki / "validator.key").chmod(0o600)
    write_key(key, "0x" + KEYS[0].hex())

    def run(*options, **changes):
        values = {"listen": f"127.0.0.1:{site.port}", "pki": pki, "key": key, "data": tmp_path / "data"} | changes
        arguments = [part for name, value in values.items() for part in (f"--{name}", str(value))]
        try:
            code = main(["validator", *arguments, "--once", *options])
        except SystemExit as leaving:
            code = leaving.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def write_key(path, text):
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def test_it_signs_what_is_right_and_says_so(command, site):
    code, out, err = command()
    (row,) = site.rows("batch_signatures")
    assert (code, err, row["validator"]) == (0, "", address(KEYS[0]))
    assert out == (
        f"validator {address(KEYS[0])} of microgrids/village\n"
        f"signed batch 0: 0x{site.rows('batches')[0]['hash'].hex()}, 1 windows\n"
    )
    assert command()[:2] == (0, f"validator {address(KEYS[0])} of microgrids/village\n")


def test_it_refuses_by_name_what_is_wrong(command, site):
    with site.database._engine.begin() as connection:  # as somebody does who has the file
        connection.exec_driver_sql("DROP TRIGGER no_update_of_trades")
        connection.exec_driver_sql("UPDATE trades SET energy_wh = energy_wh + 1 WHERE ix = 0")
    code, _, err = command()
    assert (code, site.rows("batch_signatures")) == (1, [])
    assert err.startswith(f"gridpact validator: refused: {site.window(0)} run 0: trades_root: got 0x")


def test_a_registry_of_ones_own_choice_is_held_against_the_services(command, tmp_path):
    assert command("--chain-id", "7", "--contract", DOMAIN.contract)[0] == 0
    code, _, err = command("--chain-id", "8", "--contract", DOMAIN.contract, data=tmp_path / "other")
    assert (code, "registry: got contract" in err) == (1, True)


def test_a_key_that_is_missing_is_made(command, tmp_path):
    code, out, err = command(key=tmp_path / "new.key")
    own = address(read_key(tmp_path / "new.key", password=None))
    assert code == 1
    assert f"made a key in {tmp_path / 'new.key'}\nvalidator {own}" in out
    assert f"validators: got 5 of epoch 0 without {own}" in err
    assert (tmp_path / "new.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_a_keystore_is_opened_with_its_password(command, tmp_path, site):
    from eth_account import Account

    stored = json.dumps(Account.encrypt(KEYS[1], PASSWORD, kdf="pbkdf2", iterations=1000))
    path = write_key(tmp_path / "stored.json", stored)
    secret = write_key(tmp_path / "password", PASSWORD + "\n")
    assert command("--password-file", str(secret), key=path)[0] == 0
    assert [row["validator"] for row in site.rows("batch_signatures")] == [address(KEYS[1])]
    wrong = write_key(tmp_path / "wrong", "x")
    code, _, err = command("--password-file", str(wrong), key=path)
    assert (code, "this password does not open" in err) == (2, True)
    code, _, err = command(key=path)
    assert (code, "without its password" in err) == (2, True)


@pytest.mark.parametrize(
    ("options", "changes", "wrong"),
    [
        ((), {"listen": "nowhere"}, "--listen: got 'nowhere'"),
        (("--period", "0"), {}, "--period: got 0.0"),
        (("--timeout", "nan"), {}, "--timeout: got nan"),
        (("--from", "-1"), {}, "--from: got -1"),
        (("--chain-id", "7"), {}, "got one of the two"),
        (("--chain-id", "0", "--contract", DOMAIN.contract), {}, "--chain-id: got 0"),
        (("--chain-id", "7", "--contract", "0x12"), {}, "--contract: got '0x12'"),
        (("--password-file", "/nonexistent"), {}, "--password-file: /nonexistent: cannot be read"),
        ((), {"pki": "/nonexistent"}, "/nonexistent"),
        ((), {"data": "/proc/x"}, "--data /proc/x: cannot be used"),
    ],
)
def test_bad_input_is_named(command, site, options, changes, wrong):
    code, _, err = command(*options, **changes)
    assert (code, err.startswith("gridpact validator: ")) == (2, True)
    assert wrong in err
    assert site.rows("batch_signatures") == []


@pytest.mark.parametrize("text", ["", "0x12", "0x" + "00" * 32, "ff" * 32, "x" * 64, "{}", "{"])
def test_a_file_without_a_key_is_refused_without_a_word_of_it(command, tmp_path, text):
    path = write_key(tmp_path / "bad.key", text)
    code, _, err = command(key=path)
    assert (code, str(path) in err) == (2, True)
    assert text[:64] not in err or not text


def test_a_key_that_others_can_read_is_refused(command, tmp_path):
    path = write_key(tmp_path / "open.key", "0x" + KEYS[0].hex())
    path.chmod(0o644)
    code, _, err = command(key=path)
    assert (code, "got mode 644, wanted 600" in err) == (2, True)


def test_a_service_that_does_not_answer_is_said(command, tmp_path):
    code, _, err = command("--timeout", "0.2", listen="127.0.0.1:1")
    assert (code, "service: UNAVAILABLE" in err or "DEADLINE" in err) == (1, True)
