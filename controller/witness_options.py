"""Options of the subcommand that keeps and compares what a service shows."""

import argparse
from pathlib import Path

from controller.options import Formatter, Parser, examples


def add_witness(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Options of ``gridpact witness``."""
    witness = commands.add_parser(
        "witness",
        help="keep the headers that a service shows, and compare them with others' and the chain's",
        description="Finds out whether a service shows everybody the same books, and whether those are anchored.",
        epilog=examples(
            "gridpact witness follow --listen 127.0.0.1:50051 --pki pki --identity auditor --file seen.jsonl --once",
            "gridpact witness compare seen.jsonl theirs.jsonl",
        ),
        formatter_class=Formatter,
    )
    actions = witness.add_subparsers(dest="action", required=True, metavar="ACTION")
    follow = actions.add_parser(
        "follow",
        help="append each new header to a file, and stop at one that contradicts it",
        description="Asks a service for its headers, as any identity of the microgrid, and appends each to FILE once "
        "it follows the one before. A header that is another than was seen, gone, or does not follow ends it. With "
        "--rpc and --contract it also tells whether the batches in the contract are of these headers. "
        "Exit codes: 0 nothing contradicts, 1 something does, 2 bad input or no answer.",
        formatter_class=Formatter,
    )
    follow.add_argument("--listen", required=True, metavar="HOST:PORT", help="where the service answers")
    follow.add_argument("--pki", required=True, type=Path, metavar="DIR", help="folder with the identity's files")
    follow.add_argument("--identity", default="auditor", metavar="NAME", help="whose files in DIR are shown")
    follow.add_argument("--file", required=True, type=Path, metavar="FILE", help="what was seen; made if missing")
    follow.add_argument("--once", action="store_true", help="end when all there is now was seen")
    follow.add_argument("--every", type=float, default=60.0, metavar="S", help="seconds between two questions")
    follow.add_argument("--timeout", type=float, default=10.0, metavar="S", help="seconds that an answer may take")
    follow.add_argument("--rpc", metavar="URL", help="of a chain's node that you trust; needs --contract")
    follow.add_argument("--contract", metavar="ADDRESS", help="of the registry")
    compare = actions.add_parser(
        "compare",
        help="say where what parties saw differs",
        description="Holds files of witnesses, or directories of evidence, against each other, and names the "
        "first header in which any two differ. Exit codes: 0 all saw the same, 1 they did not, 2 bad input.",
        formatter_class=Formatter,
    )
    compare.add_argument("files", nargs="+", type=Path, metavar="FILE", help="of a witness, or a directory of evidence")
