"""``gridpact driver check``."""

import json

import pytest

from controller.cli import main

QUICK = ("--limit", "0.05", "--settle", "0.05")


@pytest.mark.slow
def test_a_device_that_passes_ends_well_and_every_check_has_a_line(capsys):
    assert main(["driver", "check", "simulated://relay?timer=no", *QUICK, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["verdict"] for line in lines} == {"passed", "skipped"}
    assert len({line["check"] for line in lines}) == len(lines) > 10


@pytest.mark.slow
def test_a_device_that_fails_says_what_was_got_and_wanted(capsys):
    assert main(["driver", "check", "simulated://relay?timer=no&fault=lying", *QUICK]) == 1
    told = capsys.readouterr().out.splitlines()
    assert [line for line in told if line.startswith("FAIL set, read back") and "wanted" in line]
    assert "2 failed" in told[-1]


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
