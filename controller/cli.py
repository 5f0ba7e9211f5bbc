"""The command ``gridpact``. Each subcommand loads what it needs and no more."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NoReturn

from controller.exit_codes import BAD_INPUT


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["verify"]:
        # Nothing but ``contracts`` is imported: a verifier trusts no other part.
        from contracts.verify import main as verify

        return verify(arguments[1:], prog="gridpact verify")
    parsed = _parser().parse_args(arguments)
    # What gRPC would log arrives as an error, which is said in one line.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from controller.demo.command import run

    return run(parsed)


class _Parser(argparse.ArgumentParser):
    """Complains in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message}; see {self.prog} --help\n")


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults where there are any."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="gridpact", description="Microgrid controller.")
    parser.add_argument("--version", action="version", version=f"gridpact {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="run a real community's day end to end",
        description="Runs 24 hourly dispatch windows of a real low-voltage grid under a virtual clock: orders, "
        "clearing, leased setpoints to simulated relays, meters, settlement, anchors on an in-process chain.",
        epilog="example: gridpact demo --grid rural1 --day 2016-10-19 --out my-day",
        formatter_class=_Formatter,
    )
    demo.add_argument("--grid", default="rural1", help="rural1, rural3, or the path of an extract (.json)")
    demo.add_argument("--day", help="YYYY-MM-DD, one of the extract's days; its own default if left out")
    demo.add_argument("--out", type=Path, default=Path("gridpact-demo"), help="folder for the results")
    demo.add_argument("--seed", type=int, default=1, help="of appliances, preferences, forecast errors and salts")
    demo.add_argument("--catalogue", type=Path, help="appliances (.json) instead of the shipped ones")
    demo.add_argument("--export-price", type=float, default=0.039, help="EUR the grid pays per kWh")
    demo.add_argument("--peak-price", type=float, default=0.095, help="EUR the grid asks per kWh in peak hours")
    demo.add_argument("--off-peak-price", type=float, default=0.060, help="EUR the grid asks per kWh otherwise")
    demo.add_argument("--peak-hours", default="13-23", help="FROM-TO, local hours")
    demo.add_argument("--network-charge", type=float, default=0.005, help="EUR buyers pay the DSO per kWh")
    demo.add_argument("--listen", default="127.0.0.1:0", help="HOST:PORT of the service; port 0: any free one")
    commands.add_parser(
        "verify",
        help="check a day's evidence, or a single proof, against a root that you got elsewhere",
        add_help=False,
    )
    return parser


def _version() -> str:
    try:
        return version("gridpact")
    except PackageNotFoundError:
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())
