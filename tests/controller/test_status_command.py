import pytest

from controller.cli import main
from controller.status import StatusBoard
from controller.status_command import lines

STATUS = {
    "version": "0.1.0",
    "epoch": "3",
    "uptime": "183845.250s",
    "start_time": "2026-03-02T05:00:00Z",
    "database": {"kind": "sqlite", "answering": True},
    "problems": [],
    "microgrids": [
        {
            "name": "microgrids/village",
            "windows": [
                {"state": "WINDOW_STATE_OPEN", "count": 2},
                {"state": "WINDOW_STATE_SETTLED", "count": 1},
            ],
            "next_window_time": "2026-03-02T06:30:00Z",
            "last_clearing": {
                "window": "microgrids/village/windows/20260302T060000Z",
                "state": "WINDOW_STATE_SETTLED",
                "failure": "",
                "trade_count": 7,
                "certificate": {"gap": 0.00125},
            },
            "device_count": 3,
            "connected_drivers": 2,
            "supervision": [
                {"dso": "wires", "state": "CONTROLLED", "heard_ago": "12s"},
                {"dso": "pipes", "state": "INIT"},
            ],
            "anchors_pending": 1,
            "backlogs": [{"kind": "reports", "waiting": "4"}],
        }
    ],
}


def test_people_read_how_many_devices_refuse():
    refusing = STATUS["microgrids"][0] | {"refusing_devices": 1}
    assert "3, 2 connected, 1 refusing what they are told" in "\n".join(lines(STATUS | {"microgrids": [refusing]}))


@pytest.mark.parametrize(
    ("registry", "said"),
    [
        ({"validator_count": 5, "threshold": 3, "self_attested": False}, "3 of 5 have to sign"),
        (
            {"validator_count": 1, "threshold": 1, "self_attested": True},
            "self-attested: the service signs itself, nobody else has looked at its books",
        ),
    ],
)
def test_people_read_who_signs(registry, said):
    anchored = STATUS["microgrids"][0] | {"registry": registry}
    assert f"  validators      {said}" in lines(STATUS | {"microgrids": [anchored]})


def test_people_read_what_it_is_doing():
    assert "\n".join(lines(STATUS)) == (
        "service           gridpact 0.1.0, epoch 3\n"
        "up                2 d 03:04:05 since 2026-03-02T05:00:00Z\n"
        "database          sqlite, answers\n"
        "microgrid         microgrids/village\n"
        "  windows         2 open, 1 settled\n"
        "  next window     2026-03-02T06:30:00Z\n"
        "  last clearing   microgrids/village/windows/20260302T060000Z: settled, 7 trades, gap 0.125 %\n"
        "  devices         3, 2 connected\n"
        "  supervision     wires CONTROLLED, heard 00:00:12 ago\n"
        "  supervision     pipes INIT, not heard since the start\n"
        "  anchors         1 pending\n"
        "  reports         4 waiting for the disk\n"
        "healthy           yes"
    )


def test_problems_stand_at_the_end_instead_of_healthy():
    said = list(lines(STATUS | {"problems": ["windows: failed"], "microgrids": []}))
    assert said[-1] == "PROBLEM           windows: failed"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--listen", "here", "--pki", "."), "--listen: got 'here', wanted HOST:PORT, the port up to 65535"),
        (("--listen", "localhost:1", "--pki", "none"), "none/operator.pem: cannot be read: No such file or directory"),
        (("--listen", "localhost:1", "--pki", ".", "--timeout", "nan"), "--timeout: got nan, wanted more than 0"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    assert main(["status", *arguments]) == 2
    written = capsys.readouterr()
    assert written.err.startswith(f"gridpact status: {complaint}")
    assert (written.out, written.err.count("\n")) == ("", 1)


def test_a_board_knows_its_failing_timers_and_forgets_what_works_again():
    now = [5.0]
    board = StatusBoard(epoch=1, started=0.0, monotonic=lambda: now[0])
    now[0] = 65.0
    assert board.uptime_s() == 60.0
    for error in (ValueError("no"), ValueError("x" * 500)):
        board.round_ended("windows", error)
    board.round_ended("anchoring", None)
    (problem,) = board.problems()
    assert problem.startswith("windows: failed 2 times in a row: ValueError: xxx")
    assert len(problem) < 300
    board.round_ended("windows", None)
    assert board.problems() == []
