"""What ``gridpact gas`` measures is what the committed page and picture say, and within the promised bounds."""

import json
from pathlib import Path

import pytest

import controller.gas_command
from contracts.gas import DAY, TRADES, GasReport, measure
from controller.cli import main
from controller.exit_codes import BAD_INPUT, OK
from controller.gas_page import page
from controller.gas_picture import draw

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def report() -> GasReport:
    return measure()


@pytest.fixture
def at_hand(report: GasReport, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command measures no second time: the same comes out."""
    monkeypatch.setattr(controller.gas_command, "measure", lambda: report)


@pytest.mark.slow
def test_the_committed_figures_are_what_is_measured(report: GasReport) -> None:
    assert (DOCS / "gas.md").read_text(encoding="utf-8") == page(report)
    assert (DOCS / "gas.svg").read_text(encoding="utf-8") == draw(report)


@pytest.mark.slow
@pytest.mark.usefixtures("at_hand")
def test_gas_is_within_the_promised_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gas", "--json"]) == OK
    said = json.loads(capsys.readouterr().out)
    assert (said["validators"], said["threshold"], said["day_batch_windows"]) == (5, 3, DAY)
    assert said["window"] < 82_000
    assert said["day_batch"] < 82_000
    assert list(said["per_trade"]) == [str(trades) for trades in TRADES]
    assert said["per_trade"]["100"] < 820
    assert said["per_trade_day_batch"]["100"] < 10
    assert (said["published"]["total"], said["published"]["marginal"]) == (978_196, 538_393)
    assert said["times_less_than_total"]["100"] > 1_000
    assert all(isinstance(gas, int) and gas > 21_000 for gas in said["operations"].values())


@pytest.mark.slow
@pytest.mark.usefixtures("at_hand")
def test_every_operation_is_shown_and_the_page_is_written(
    report: GasReport, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["gas", "--out", str(tmp_path)]) == OK
    told = capsys.readouterr().out
    for name, gas in report.operations.items():
        assert f"{name} " in told
        assert f"{gas:,}" in told
    assert (tmp_path / "gas.md").read_text(encoding="utf-8") == page(report)
    assert (tmp_path / "gas.svg").read_text(encoding="utf-8") == draw(report)


def test_a_folder_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["gas", "--out", str(tmp_path / "none")]) == BAD_INPUT
    told = capsys.readouterr().err
    assert told == f"gridpact gas: --out: got {tmp_path / 'none'}, wanted a folder that is there\n"
