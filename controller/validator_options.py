"""Options of the subcommand that runs a validator."""

import argparse
from pathlib import Path

from controller.options import Formatter, Parser


def add_validator(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Options of ``gridpact validator``."""
    validator = commands.add_parser(
        "validator",
        help="recompute what a service settled, and sign what is right",
        description="Follows the batches of a microgrid's settled windows. Of each window it computes everything again "
        "that can be: who signed what, the clearing's feasibility, its rounding, the settlement, hashes and totals. A "
        "batch that is right it signs, once, for one registry; of one that is not it names the first difference, signs "
        "nothing more, and ends. What it has signed it keeps in DIR. docs/validators.md says more. Exit codes: 0 "
        "stopped, or with --once everything signed; 1 something is wrong, or there was no answer; 2 bad input.",
        epilog="example: gridpact validator --listen 127.0.0.1:50051 --pki pki --key validator.key --data validator",
        formatter_class=Formatter,
    )
    validator.add_argument("--listen", required=True, metavar="HOST:PORT", help="where the service answers")
    validator.add_argument("--pki", required=True, type=Path, metavar="DIR", help="folder that pki init made")
    validator.add_argument("--identity", default="validator", metavar="NAME", help="whose files in DIR are shown")
    validator.add_argument(
        "--key",
        required=True,
        type=Path,
        metavar="FILE",
        help="signing key: 0x and 64 digits, or a keystore (version 3); made where it is missing; its owner's alone",
    )
    validator.add_argument(
        "--password-file", type=Path, metavar="FILE", help="password of the keystore; else GRIDPACT_VALIDATOR_PASSWORD"
    )
    validator.add_argument(
        "--data", required=True, type=Path, metavar="DIR", help="what it has signed; made if missing"
    )
    validator.add_argument("--chain-id", type=int, metavar="N", help="of the registry's chain; with --contract")
    validator.add_argument(
        "--contract",
        metavar="ADDRESS",
        help="the registry that it signs for; left out: the first that the service names, and no other ever after",
    )
    validator.add_argument(
        "--from",
        dest="first",
        type=int,
        default=0,
        metavar="NUMBER",
        help="first batch to sign; those before are taken over as they stand, only their order is checked",
    )
    validator.add_argument("--once", action="store_true", help="end once there is nothing to sign")
    validator.add_argument("--period", type=float, default=10.0, metavar="S", help="seconds between two looks")
    validator.add_argument("--timeout", type=float, default=60.0, metavar="S", help="seconds that an answer may take")
