"""Settings: what goes before what, and bad ones refused by key, without their secrets."""

import tomllib
from pathlib import Path

import pytest

from controller.config import ServeConfig, load_config
from controller.config_text import as_toml, reference
from controller.errors import InputError

ROOT = Path(__file__).parents[2]
NEEDED = {"data": "d", "pki": "p"}

NODE = {"mode": "rpc", "url": "http://127.0.0.1:8545"}


def refused(overrides=None, path=None):
    with pytest.raises(InputError) as caught:
        load_config(path, NEEDED | (overrides or {}))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "gridpact.toml"
    path.write_text('data = "from-file"\npki = "from-file"\n[solver]\ngap = 0.1\nworkers = 2\ndeadline_s = 7\n')
    return path


def test_the_command_line_goes_before_the_environment_and_that_before_the_file(file, monkeypatch):
    monkeypatch.setenv("GRIDPACT_SOLVER__GAP", "0.2")
    monkeypatch.setenv("GRIDPACT_SOLVER__WORKERS", "3")
    monkeypatch.setenv("GRIDPACT_PKI", "from-environment")
    config = load_config(file, {"solver": {"gap": "0.3"}})
    assert (config.solver.gap, config.solver.workers, config.solver.deadline_s) == (0.3, 3, 7.0)
    assert (str(config.data), str(config.pki)) == ("from-file", "from-environment")


def test_a_database_is_sqlite_in_the_data_folder_unless_said_otherwise():
    assert load_config(None, NEEDED).database == "sqlite:///d/gridpact.sqlite"
    assert load_config(None, NEEDED | {"database_url": "postgresql://h/x"}).database == "postgresql://h/x"


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        ({"nonsense": "1"}, "unknown key 'nonsense'"),
        ({"solver": {"gapp": "1"}}, "unknown key 'solver.gapp'"),
        ({"solver": {"gap": "2"}}, "solver.gap: got '2', wanted less than 1"),
        ({"solver": {"gap": "nan"}}, "solver.gap: got 'nan', wanted a finite number"),
        ({"solver": {"gap": "small"}}, "solver.gap: got 'small', wanted a valid number"),
        ({"solver": {"workers": "0"}}, "solver.workers: got '0', wanted greater than or equal to 1"),
        ({"solver": "fast"}, "solver: got 'fast', wanted a valid dictionary or instance of Solver"),
        ({"listen": "here"}, "listen: got 'here', wanted HOST:PORT, the port up to 65535"),
        ({"listen": "127.0.0.1:65536"}, "listen: got '127.0.0.1:65536', wanted HOST:PORT, the port up to 65535"),
        ({"metrics": {"listen": "0.0.0.0:9464"}}, "metrics.listen: got '0.0.0.0:9464', wanted a loopback address"),
        ({"tracing": {"endpoint": "collector"}}, "tracing.endpoint: got 'collector', wanted a URL"),
        ({"anchoring": {"mode": "rpc"}}, "anchoring.mode: got 'rpc' without url, wanted it beside it"),
        (
            {"anchoring": NODE},
            "anchoring.mode: got 'rpc' with no account, wanted one of keystore_file, key_file, signer",
        ),
        (
            {"anchoring": NODE | {"key_file": "k", "keystore_file": "s"}},
            "anchoring.mode: got 'rpc' with keystore_file and key_file, wanted one of keystore_file",
        ),
        (
            {"anchoring": NODE | {"signer_url": "http://h"}},
            "anchoring.account: got one of it and signer_url, wanted both",
        ),
        ({"anchoring": {"account": "0x12"}}, "anchoring.account: got '0x12', wanted"),
        ({"anchoring": {"signer_url": "h"}}, "anchoring.signer_url: wanted a URL"),
        (
            {"anchoring": {"validators": ["0x12"]}},
            "anchoring.validators.0: got '0x12', wanted",
        ),
        (
            {"anchoring": {"validators": ["0x" + "0A" * 20, "0x" + "0a" * 20]}},
            "anchoring.validators: got \"['0x0A",
        ),
        (
            {"anchoring": {"validators": ["0x" + "0a" * 20], "threshold": "2"}},
            "anchoring.threshold: got 2, wanted at most the 1 validators",
        ),
        (
            {"supervision": {"lost_s": "60"}},
            "supervision.lost_s: got 60, wanted more than heartbeat_s, 60",
        ),
        ({"log": {"level": "loud"}}, "log.level: got 'loud', wanted 'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_bad_settings_are_refused_by_key(overrides, complaint):
    assert refused(overrides).startswith(complaint)


def test_what_must_be_given_is_named_with_the_ways_to_give_it():
    with pytest.raises(InputError) as caught:
        load_config(None, {"pki": "p"})
    assert str(caught.value) == "data: got nothing, wanted it by --data, GRIDPACT_DATA or --config"


def test_a_mistyped_variable_does_not_pass_unseen(monkeypatch):
    monkeypatch.setenv("GRIDPACT_SOLVER_GAP", "0.2")
    assert refused() == "environment: unknown key GRIDPACT_SOLVER_GAP; docs/configuration.md lists all"


@pytest.mark.parametrize(
    ("text", "complaint"), [(b"gap = ", "got no TOML"), (b"\xff", "cannot be read"), (None, "cannot be read")]
)
def test_a_file_that_is_none_is_refused_by_name(tmp_path, text, complaint):
    path = tmp_path / "gridpact.toml"
    if text is not None:
        path.write_bytes(text)
    assert refused(path=path).startswith(f"--config {path}: {complaint}")


@pytest.mark.parametrize(
    "overrides",
    [
        {"database_url": "postgresql://u:hunter2@h/d"},
        {"anchoring": {"url": "https://node/v3/hunter2"}},
        {"anchoring": {"url": "https://hunter2@node/"}},
    ],
)
def test_secrets_are_never_shown(overrides):
    config = load_config(None, NEEDED | overrides)
    assert "hunter2" not in as_toml(config) + repr(config) + str(config.model_dump())


@pytest.mark.parametrize("overrides", [{"anchoring": {"url": "hunter2"}}, {"database_url": ["hunter2"]}])
def test_refusals_do_not_repeat_secrets(overrides):
    assert "hunter2" not in refused(overrides)


def test_what_is_printed_reads_back_as_the_same(file, tmp_path):
    config = load_config(file, {"log": {"level": "debug"}, "development": True})
    again = tmp_path / "again.toml"
    again.write_text(as_toml(config), "utf-8")
    assert tomllib.loads(as_toml(config))["solver"]["gap"] == 0.1
    assert load_config(again, {}).model_dump() == config.model_dump()


def test_every_key_is_documented_and_the_page_is_fresh():
    for field in ServeConfig.model_fields.values():
        assert field.description or field.annotation.__doc__
    assert (ROOT / "docs" / "configuration.md").read_text("utf-8") == reference()


def test_the_drivers_settings_in_the_environment_are_not_the_services(tmp_path, monkeypatch):
    monkeypatch.setenv("GRIDPACT_DRIVER_CONTROLLER", "127.0.0.1:1")
    load_config(None, {"data": tmp_path / "data", "pki": tmp_path / "pki"})
