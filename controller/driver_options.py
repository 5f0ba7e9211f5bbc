"""What can be asked of ``gridpact driver``."""

import argparse
from pathlib import Path

from controller.options import Formatter, Parser, examples


def add_driver(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the subcommand."""
    driver = commands.add_parser(
        "driver",
        help="drive devices, or check what drives one",
        description="Connects the devices of FILE to the controller and keeps them within their leases, their guard "
        "and their limits, until SIGTERM or SIGINT; then each goes to its failsafe. docs/drivers.md lists every key of "
        "FILE; GRIDPACT_DRIVER_... variables go before it. Exit codes: 0 stopped, 2 bad input.",
        epilog=examples("gridpact driver --config driver.toml", "gridpact driver check simulated://relay"),
        formatter_class=Formatter,
        usage="%(prog)s [-h] --config FILE [--log-level LEVEL] [--log-format FORMAT]\n"
        "       %(prog)s check [-h] URL ...",
    )
    driver.add_argument("--config", type=Path, metavar="FILE", help="controller, devices and what they may do (.toml)")
    driver.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info", help="least important line"
    )
    driver.add_argument("--log-format", choices=("text", "json"), default="text", help="for people, or for machines")
    actions = driver.add_subparsers(dest="action", metavar="ACTION", prog=driver.prog)
    _add_check(actions)


def _add_check(actions: "argparse._SubParsersAction[Parser]") -> None:
    check = actions.add_parser(
        "check",
        help="hold a device and its driver against the conformance suite",
        description="Switches a device on and off, cuts, holds up and spoils the connection to it, lets its own timer "
        "end, and says of each check whether the driver does what it has to. The device ends in its failsafe: off, "
        "0 W, nothing produced. Exit codes: 0 every check that applies passed, 1 one failed, 2 bad input or no such "
        "device.",
        epilog=examples(
            "gridpact driver check simulated://relay", "gridpact driver check 'simulated://battery?timer=no'"
        ),
        formatter_class=Formatter,
    )
    check.add_argument("url", metavar="URL", help="the device, as docs/protocols.md says it for each protocol")
    check.add_argument(
        "--power-w", type=int, default=1000, metavar="W", help="what a device is told that takes a power or a limit"
    )
    check.add_argument(
        "--limit", type=float, default=10.0, metavar="S", help="seconds after which a call counts as unanswered"
    )
    check.add_argument(
        "--settle", type=float, default=5.0, metavar="S", help="seconds that the device may take to do what it is told"
    )
    check.add_argument("--json", action="store_true", help="print every result as one JSON object on a line")
