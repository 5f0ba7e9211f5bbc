"""``gridpact driver check``."""

import json

import pytest

from controller.cli import main

QUICK = ("--limit", "0.05", "--settle", "0.05")


@pytest.mark.slow
def test_a_device_that_passes_ends_well_and_every_check_has_a_line(capfd):
    assert main(["driver", "check", "simulated://relay?timer=no", *QUICK, "--json"]) == 0
    told = capfd.readouterr()
    assert told.err == ""
    lines = [json.loads(line) for line in told.out.splitlines()]
    assert {line["verdict"] for line in lines} == {"passed", "skipped"}
    assert len({line["check"] for line in lines}) == len(lines) > 10


@pytest.mark.slow
def test_a_device_that_fails_says_what_was_got_and_wanted(capsys):
    assert main(["driver", "check", "simulated://relay?timer=no&fault=lying", *QUICK]) == 1
    told = capsys.readouterr().out.splitlines()
    assert [line for line in told if line.startswith("FAIL set, read back") and "wanted" in line]
    assert "4 failed" in told[-1]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["simulated://toaster"], "toaster"),
        (["nobody://device"], "nobody"),
        (["simulated://relay?rated_w=many"], "rated_w"),
        (["relay"], "relay"),
        (["simulated://relay", "--limit", "nan"], "--limit"),
        (["simulated://battery", "--power-w", "0"], "--power-w"),
    ],
)
def test_bad_input_is_one_line_that_names_it(capsys, arguments, named):
    assert main(["driver", "check", *arguments]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("gridpact driver: ")
    assert complaint.count("\n") == 1
    assert named in complaint


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "cannot be read"),
        (
            "x = 1",
            "pki: got none, wanted one; state: got none, wanted one; devices: got none, wanted one; x: unknown key",
        ),
        (
            'pki = "."\nstate = "STATE"\n[[devices]]\nname = "microgrids/m/members/a/devices/b"\n'
            'url = "simulated://relay"\nfailsafe = { relay_closed = false }\n',
            "ca.pem: cannot be read",
        ),
        (
            'pki = "."\nstate = "STATE"\n[[devices]]\nname = "boiler"\nurl = "simulated://relay"\n'
            "failsafe = { relay_closed = false }\n",
            "devices[1].name: got 'boiler', String should match pattern",
        ),
    ],
)
def test_a_wrong_configuration_is_one_line(tmp_path, capsys, text, complaint):
    path = tmp_path / "driver.toml"
    if text is not None:
        path.write_text(text.replace("STATE", str(tmp_path / "state")).replace('"."', f'"{tmp_path}"'))
    assert main(["driver", "--config", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("gridpact driver: ")
    assert said.count("\n") == 1
    assert complaint in said
    assert "at least 1 item" not in said


def test_a_setting_in_the_environment_that_nobody_knows_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("GRIDPACT_DRIVER_FOO", "1")
    path = tmp_path / "driver.toml"
    path.write_text("")
    assert main(["driver", "--config", str(path)]) == 2
    assert "unknown key GRIDPACT_DRIVER_FOO" in capsys.readouterr().err


def test_the_help_says_that_an_action_is_another_use(capsys):
    with pytest.raises(SystemExit):
        main(["driver", "--help"])
    usage = capsys.readouterr().out.split("\n\n")[0]
    assert "[--log-format FORMAT]\n" in usage
    assert "gridpact driver check [-h] URL" in usage


def test_a_driver_wants_a_configuration_or_an_action(capsys):
    assert main(["driver"]) == 2
    assert "wanted one" in capsys.readouterr().err
