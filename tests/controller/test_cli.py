"""The command: what it offers, and that bad input is one line, exit code 2, and leaves nothing behind."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controller.cli import main
from controller.compiling import COMPILING

ROOT = Path(__file__).parents[2]
RESULTS = {
    *("batches.jsonl", "inputs.jsonl"),
    *("chain.json", "community.json", "day.json", "headers.jsonl", "postings.jsonl", "readings.jsonl"),
    *("report.html", "run", "schedule.json", "trades.jsonl"),
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder to run in; whatever is there afterwards, a command left behind."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


@pytest.fixture
def refused(place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the demonstration with bad input in that folder; its one line of complaint."""
    monkeypatch.chdir(place)

    def refused(*arguments: str) -> str:
        before = sorted(place.rglob("*"))
        try:
            code = main(["demo", *arguments])
        except SystemExit as leaving:
            code = leaving.code  # type: ignore[assignment]
        written = capfd.readouterr()
        assert code == 2
        assert "Traceback" not in written.out + written.err
        assert sorted(place.rglob("*")) == before
        assert len(written.err.splitlines()) == 1, written.err
        assert written.err.startswith("gridpact demo: ")
        return written.err.removeprefix("gridpact demo: ").strip()

    return refused


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--grid", "nope"), "grid: got 'nope', wanted one of rural1, rural3, "),
        (("--grid", ""), "grid: got '', wanted one of rural1, rural3, "),
        (("--grid", "."), "grid: got '.', wanted one of rural1, rural3, "),
        (("--grid", "missing.json"), "missing.json: cannot be read"),
        (("--day", "2016-01-21"), "day: got '2016-01-21', wanted one of 2016-01-20, 2016-04-20, "),
        (("--day", "tomorrow"), "day: got 'tomorrow', wanted one of 2016-01-20, 2016-04-20, "),
        (("--day", ""), "day: got '', wanted one of 2016-01-20, 2016-04-20, "),
        (("--catalogue", "missing.json"), "missing.json: cannot be read"),
        (("--catalogue", "."), ".: cannot be read"),
        (("--catalogue", "/dev/null"), "/dev/null: got '', wanted JSON"),
        (("--export-price", "nan"), "--export-price: got nan, wanted 0 to 100 per kWh"),
        (("--peak-price", "NaN"), "--peak-price: got nan, wanted 0 to 100 per kWh"),
        (("--off-peak-price", "inf"), "--off-peak-price: got inf, wanted 0 to 100 per kWh"),
        (("--network-charge=-0.1",), "--network-charge: got -0.1, wanted 0 to 100 per kWh"),
        (("--network-charge", "1e9"), "--network-charge: got 1000000000.0, wanted 0 to 100 per kWh"),
        (("--export-price", "0.2"), "--export-price: got 0.2, wanted at most the import price 0.06"),
        (("--peak-price", "0.01"), "--export-price: got 0.039, wanted at most the import price 0.01"),
        (("--export-price", "cheap"), "argument --export-price: invalid float value: 'cheap'"),
        (("--peak-hours", "13"), "--peak-hours: got '13', wanted FROM-TO such as 13-23"),
        (("--peak-hours", "23-13"), "--peak-hours: got '23-13', wanted FROM no later than TO"),
        (("--peak-hours", "13-25"), "--peak-hours: got 13 to 25, wanted 0 <= from <= to <= 24"),
        (("--seed", "-1"), "--seed: got -1, wanted 0 to 4294967295"),
        (("--seed", "4294967296"), "--seed: got 4294967296, wanted 0 to 4294967295"),
        (("--seed", "one"), "argument --seed: invalid int value: 'one'"),
        (("--seed", "1.5"), "argument --seed: invalid int value: '1.5'"),
        (("--seed", "9" * 5000), "argument --seed: invalid int value"),
        (
            ("--listen", "no-such-host.invalid:0"),
            "--listen: got 'no-such-host.invalid:0', wanted a host of this machine",
        ),
        (("--listen", "0.0.0.0:0"), "--listen: got '0.0.0.0:0', wanted a host of this machine: 127.0.0.1"),
        (("--listen", "nowhere"), "--listen: got 'nowhere', wanted HOST:PORT"),
        (("--listen", "127.0.0.1:99999"), "--listen: got '127.0.0.1:99999', wanted HOST:PORT, the port up to 65535"),
        (("--listen", "127.0.0.1:-1"), "--listen: got '127.0.0.1:-1', wanted HOST:PORT"),
        (("--grid",), "argument --grid: expected one argument"),
    ],
    ids=lambda item: " ".join(item)[:40] if isinstance(item, tuple) else "",
)
def test_a_bad_option_is_one_line_on_standard_error(
    refused: Callable[..., str], arguments: tuple[str, ...], complaint: str
) -> None:
    assert complaint in refused(*arguments, "--out", "deep/below/out")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "wanted JSON"),
        ("[" * 10_000, "wanted JSON nested at most 16 deep"),
        ('{"format": NaN}', "NaN"),
        ('{"format": "gridpact.appliances.v1", "appliances": 3}', "appliances: got 3, wanted a list"),
        (
            '{"format": "gridpact.appliances.v1", "appliances": [{"name": "air conditioner", "flexible": true,'
            '"from": "19:00", "to": "24:00", "hours": 7, "power_kw": 1, "share": 0.5}]}',
            "appliance 'air conditioner': got 7 hours between 19:00 and 24:00, wanted at most the 5 hours",
        ),
    ],
)
def test_a_malformed_catalogue_is_named(
    refused: Callable[..., str], tmp_path: Path, content: str, complaint: str
) -> None:
    catalogue = tmp_path / "catalogue.json"
    catalogue.write_text(content)
    message = refused("--catalogue", str(catalogue), "--out", "deep/out")
    assert message.startswith(f"{catalogue}: ")
    assert complaint in message


def test_a_malformed_extract_is_named(refused: Callable[..., str], tmp_path: Path) -> None:
    shipped = ROOT / "controller" / "demo" / "data" / "1-LV-rural1--2-sw.json"
    extract = json.loads(shipped.read_text("utf-8"))
    extract["days"]["2016-01-20"]["load_w"]["load-7"][33] = None
    path = tmp_path / "extract.json"
    path.write_text(json.dumps(extract))
    message = refused("--grid", str(path), "--day", "2016-01-20", "--out", "deep/out")
    assert message == f"{path}: days.2016-01-20.load_w.load-7[33]: got None, wanted a whole number from 0 to 1000000000"


@contextmanager
def listening(family: socket.AddressFamily, host: str) -> Iterator[int]:
    with socket.socket(family) as taken:
        taken.bind((host, 0))
        taken.listen()
        yield taken.getsockname()[1]


@pytest.mark.slow
def test_a_port_in_use_is_refused(place: Path) -> None:
    with listening(socket.AF_INET, "127.0.0.1") as port:
        done = run("demo", "--listen", f"127.0.0.1:{port}", "--out", "deep/below/out", cwd=place)
    assert done.returncode == 2
    assert done.stderr == f"gridpact demo: --listen: cannot listen on 127.0.0.1:{port}: the port is in use\n"
    assert list(place.iterdir()) == []


def test_an_out_that_is_a_file_is_refused(refused: Callable[..., str], place: Path) -> None:
    (place / "out").write_text("mine")
    assert refused("--out", "out") == f"--out {place / 'out'}: got a file, wanted a folder"
    assert (place / "out").read_text() == "mine"


@pytest.mark.parametrize("beside", [(), ("day.json",), tuple(sorted(RESULTS - {"run"}))])
def test_an_out_that_holds_other_files_is_refused_even_beside_results(
    refused: Callable[..., str], place: Path, beside: tuple[str, ...]
) -> None:
    (place / "out").mkdir()
    for name in (*beside, "thesis.txt"):
        (place / "out" / name).write_text("mine")
    message = refused("--out", "out")
    assert message.startswith(f"--out {place / 'out'}: got a folder with other files in it, such as 'thesis.txt'")
    assert (place / "out" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("mark", [None, "", "{}", '{"format": "mine"}'])
def test_a_folder_that_only_looks_like_results_is_not_replaced(
    refused: Callable[..., str], place: Path, mark: str | None
) -> None:
    (place / "out" / "run").mkdir(parents=True)
    (place / "out" / "run" / "precious.txt").write_text("mine")
    if mark is not None:
        (place / "out" / "day.json").write_text(mark)
    assert "got a folder with other files in it" in refused("--out", "out")
    assert (place / "out" / "run" / "precious.txt").read_text() == "mine"


@pytest.mark.parametrize("below", ["out", "deep/out"])
def test_an_out_below_a_file_is_refused(refused: Callable[..., str], place: Path, below: str) -> None:
    (place / "file").write_text("mine")
    assert "cannot be written" in refused("--out", f"file/{below}")
    assert (place / "file").read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="got no /proc, wanted a folder that nobody can write")
@pytest.mark.parametrize("out", ["/proc/out", "/proc/self/deep/out", "/proc/sys"])
def test_an_out_that_nobody_can_write_is_refused(refused: Callable[..., str], out: str) -> None:
    message = refused("--out", out)
    assert message.startswith("--out /proc/")
    assert "cannot be written" in message or "other files" in message


def test_an_out_with_too_long_a_name_is_refused(refused: Callable[..., str]) -> None:
    assert "cannot be written" in refused("--out", "o" * 300)


def test_an_out_that_leads_in_circles_is_refused(refused: Callable[..., str], place: Path) -> None:
    (place / "one").symlink_to("other")
    (place / "other").symlink_to("one")
    assert "cannot be written" in refused("--out", "one/out")


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("--nonsense",), ("demos",), ("demo", "--unknown")])
def test_an_unknown_command_is_one_line(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    assert leaving.value.code == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("gridpact: ")
    assert len(complaint.splitlines()) == 1


@pytest.mark.parametrize("command", ["demo", "verify"])
def test_the_help_of_every_subcommand_has_an_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit) as leaving:
        main([command, "--help"])
    assert leaving.value.code == 0
    words = " ".join(capsys.readouterr().out.split())
    assert words.startswith(f"usage: gridpact {command} ")
    assert f"example: gridpact {command} " in words


def test_the_help_names_every_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["--help"])
    assert leaving.value.code == 0
    told = capsys.readouterr().out
    assert "demo" in told
    assert "verify" in told


def test_the_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["--version"])
    assert leaving.value.code == 0
    assert capsys.readouterr().out.startswith("gridpact ")


def test_verify_says_what_it_cannot_read(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(place), "--root", "0x" + "00" * 32]) == 2
    assert "headers.jsonl" in capsys.readouterr().err


def test_verify_imports_contracts_and_nothing_else_of_ours(place: Path) -> None:
    script = (
        "import sys\n"
        "from controller.cli import main\n"
        "code = main(['verify', sys.argv[1], '--root', '0x' + '00' * 32])\n"
        "print(code, *sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script, place], cwd=ROOT, capture_output=True, text=True, check=True)
    code, *modules = done.stdout.split()
    assert code == "2"
    assert "contracts.verify" in modules
    own = {name for name in modules if name.partition(".")[0] == "controller"}
    parsers = {
        f"controller.{kind}options"
        for kind in ("", "service_", "backup_", "driver_", "journal_", "audit_", "witness_", "validator_")
    }
    assert own == {"controller", "controller.cli", "controller.exit_codes"} | parsers
    foreign = {
        "optimization",
        "device_drivers",
        "gridpact",
        "grpc",
        "sqlalchemy",
        "alembic",
        "pyomo",
        "highspy",
        "cvxpy",
    }
    assert foreign & {name.partition(".")[0] for name in modules} == set()


def run(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "controller.cli", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "proto")))},
        capture_output=True,
        text=True,
        check=False,
    )


HAMLET = {
    "format": "gridpact.grid.v1",
    "name": "[/hamlet] [red]",
    "time_zone": "Europe/Berlin",
    "mtu_minutes": 15,
    "transformer": {"id": "transformer", "bus": 1, "rated_va": 50_000},
    "lines": [{"from_bus": 1, "to_bus": 2}, {"from_bus": 1, "to_bus": 3}],
    "loads": [{"id": "anna", "bus": 2, "profile": "H0-A"}, {"id": "bert", "bus": 3, "profile": "H0-B"}],
    "pv": [{"id": "roof", "bus": 2, "rated_w": 3000}],
    "storages": [],
    "default_day": "2016-07-20",
    "days": {
        "2016-07-20": {
            "load_w": {"anna": [500] * 120, "bert": [300] * 72 + [900] * 48},
            "pv_w": {"roof": [0] * 32 + [2000] * 40 + [0] * 48},
        }
    },
}
SAID_CLEARING = r"gridpact demo: clearing \d\d:00 \(\d+ of 96 quarter-hours\)"
NO_APPLIANCES = {"format": "gridpact.appliances.v1", "appliances": []}


@pytest.fixture
def hamlet(tmp_path: Path) -> tuple[str, ...]:
    """The options of a day that is over in seconds."""
    for name, content in (("grid", HAMLET), ("catalogue", NO_APPLIANCES)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return ("--grid", str(tmp_path / "grid.json"), "--catalogue", str(tmp_path / "catalogue.json"))


@pytest.mark.slow
def test_results_take_the_place_of_earlier_ones_in_the_same_folder(place: Path, hamlet: tuple[str, ...]) -> None:
    (place / "home").mkdir()
    (place / "link [x]").symlink_to("home")
    for seed, out in (("1", "."), ("2", "../link [x]")):
        done = run("demo", *hamlet, "--seed", seed, "--out", out, cwd=place / "home")
        assert done.returncode == 0
        # Output that is no terminal gets lines instead of a bar; a machine's first day compiles kernels, and says so.
        said = [line for line in done.stderr.splitlines() if COMPILING not in line]
        assert said[0] == "gridpact demo: setting up the community (0 of 96 quarter-hours)"
        assert said[-1] == "gridpact demo: writing results (96 of 96 quarter-hours)"
        clearings = [line for line in said if re.fullmatch(SAID_CLEARING, line)]
        assert len(said) == len(clearings) + 3
        assert len(clearings) == 8
        assert done.stdout.splitlines()[-1].startswith("root 0x")
        assert re.search(r"^gap +0\.\d{3} % at worst \(\d\d:00\), 0\.\d{3} % on average *$", done.stdout, re.MULTILINE)
        assert {path.name for path in (place / "home").iterdir()} == RESULTS
        assert json.loads((place / "home" / "community.json").read_text())["seed"] == int(seed)
    assert {path.name for path in place.iterdir()} == {"home", "link [x]"}


@pytest.mark.slow
@pytest.mark.parametrize("until", ["setting up", "clearing"])
def test_an_interrupted_day_leaves_nothing_half_written(place: Path, hamlet: tuple[str, ...], until: str) -> None:
    root = os.pathsep.join((str(ROOT), str(ROOT / "proto")))
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, until, *hamlet],
        cwd=place,
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as demo:
        assert demo.stdout is not None
        assert demo.stdout.readline() == f"{until}\n"
        os.killpg(demo.pid, signal.SIGINT)
        _, complaint = demo.communicate()
    assert demo.returncode == 130
    assert complaint == "gridpact demo: interrupted, nothing was written\n"
    assert list(place.iterdir()) == []


INTERRUPTED = """
import sys
from controller.cli import main
from controller.demo.command import LineProgress

class Said(LineProgress):
    def step(self, done, total, text):
        if text.startswith(sys.argv[1]):
            print(sys.argv[1], flush=True)

if __name__ == "__main__":
    import controller.demo.command
    controller.demo.command.LineProgress = Said
    sys.exit(main(["demo", *sys.argv[2:], "--out", "deep/below/out"]))
"""
"""The command, which says on standard output when it has come to a certain point."""
