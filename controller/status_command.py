"""The terminal's side of ``gridpact status``: what a running service says about itself, for people or programs."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from controller.errors import ControllerError, InputError
from controller.exit_codes import BAD_INPUT, CHECK_FAILED, OK

LONGEST_WAIT_S = 600
WIDTH = 18


def run(arguments: argparse.Namespace) -> int:
    """Ask and show; returns the exit code."""
    # What gRPC itself would write arrives as an error, which is said in one line.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from controller.pki_files import read_client, read_identity
    from controller.services.status_client import ask

    try:
        check_service(arguments)
        files = read_client(arguments.pki, arguments.identity)
        grid = read_identity(arguments.pki, arguments.identity).grid
        status = ask(arguments.listen, files, grid, timeout_s=arguments.timeout)
    except InputError as err:
        print(f"gridpact status: {err}", file=sys.stderr)
        return BAD_INPUT
    except ControllerError as err:
        print(f"gridpact status: {' '.join(str(err).split())}", file=sys.stderr)
        return CHECK_FAILED
    if arguments.json:
        print(json.dumps(status, indent=1, sort_keys=True))
    else:
        print("\n".join(lines(status)))
    return CHECK_FAILED if status["problems"] else OK


def check_service(arguments: argparse.Namespace) -> None:
    """Refuse an address or a time limit that is none.

    Raises
    ------
    InputError
        Names the option.
    """
    from controller.config import listen_address

    try:
        listen_address(arguments.listen)
    except ValueError as err:
        raise InputError(f"--listen: got {arguments.listen!r}, {err}") from err
    if not 0 < arguments.timeout <= LONGEST_WAIT_S:
        raise InputError(f"--timeout: got {arguments.timeout}, wanted more than 0, at most {LONGEST_WAIT_S}")


def lines(status: dict[str, Any]) -> Iterator[str]:
    """The status for people."""
    database = status["database"]
    yield _line("service", f"gridpact {status['version']}, epoch {status['epoch']}")
    yield _line("up", f"{_seconds(status['uptime'])} since {status['start_time']}")
    yield _line("database", f"{database['kind']}, {'answers' if database['answering'] else 'does not answer'}")
    for microgrid in status["microgrids"]:
        yield from _microgrid(microgrid)
    for problem in status["problems"]:
        yield _line("PROBLEM", problem)
    if not status["problems"]:
        yield _line("healthy", "yes")


def _microgrid(microgrid: dict[str, Any]) -> Iterator[str]:
    yield _line("microgrid", microgrid["name"])
    counts = (
        f"{count['count']} {count['state'].removeprefix('WINDOW_STATE_').lower()}" for count in microgrid["windows"]
    )
    yield _line("  windows", ", ".join(counts) or "none")
    yield _line("  next window", microgrid.get("next_window_time", "none takes orders"))
    yield _line("  last clearing", _clearing(microgrid.get("last_clearing")))
    refusing = microgrid.get("refusing_devices", 0)
    told = f", {refusing} refusing what they are told" if refusing else ""
    yield _line("  devices", f"{microgrid['device_count']}, {microgrid['connected_drivers']} connected{told}")
    for stands in microgrid["supervision"]:
        heard = stands.get("heard_ago")
        ago = f"heard {_seconds(heard)} ago" if heard is not None else "not heard since the start"
        yield _line("  supervision", f"{stands['dso']} {stands['state']}, {ago}")
    yield _line("  anchors", f"{microgrid['anchors_pending']} pending")
    if (registry := microgrid.get("registry")) is not None:
        yield _line("  validators", _validators(registry))
    for backlog in microgrid["backlogs"]:
        yield _line(f"  {backlog['kind']}", f"{backlog['waiting']} waiting for the disk")


def _validators(registry: dict[str, Any]) -> str:
    if registry["self_attested"]:
        return "self-attested: the service signs itself, nobody else has looked at its books"
    return f"{registry['threshold']} of {registry['validator_count']} have to sign"


def _clearing(clearing: dict[str, Any] | None) -> str:
    if clearing is None:
        return "none yet"
    state = clearing["state"].removeprefix("WINDOW_STATE_").lower()
    if clearing["failure"]:
        return f"{clearing['window']}: {state}: {clearing['failure']}"
    trades = "trade" if clearing["trade_count"] == 1 else "trades"
    gap = clearing["certificate"]["gap"] if "certificate" in clearing else 0.0
    return f"{clearing['window']}: {state}, {clearing['trade_count']} {trades}, gap {100 * gap:.3g} %"


def _line(name: str, text: str) -> str:
    return f"{name:<{WIDTH}}{text}"


def _seconds(duration: str) -> str:
    """A duration as JSON spells it, for people."""
    whole = int(float(duration.removesuffix("s")))
    days, rest = divmod(whole, 86_400)
    hours, minutes, seconds = rest // 3600, rest // 60 % 60, rest % 60
    return f"{days} d {hours:02}:{minutes:02}:{seconds:02}" if days else f"{hours:02}:{minutes:02}:{seconds:02}"
