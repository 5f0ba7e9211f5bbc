"""Options of the subcommand that checks what a service wrote down."""

import argparse
from pathlib import Path

from controller.options import Formatter, Parser, examples


def add_journal(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Options of ``gridpact journal``."""
    journal = commands.add_parser(
        "journal",
        help="check the journals of accesses and limits",
        description="Checks the journals of a service: who did what, and the limits of the DSO.",
        epilog=examples("gridpact journal verify --data data"),
        formatter_class=Formatter,
    )
    actions = journal.add_subparsers(dest="action", required=True, metavar="ACTION")
    verify = actions.add_parser(
        "verify",
        help="follow each chain of hashes to its end",
        description="Follows the access journal of each microgrid, and the limits' journal, from the first record to "
        "the last: each must carry the hash of the one before. The service may run meanwhile. Keep the head that it "
        "prints elsewhere: a journal that was cut or written anew is whole in itself, and --head and --limits-head "
        "find it out. The limits' journal is held against its copy in the database as well. "
        "Exit codes: 0 all hold, 1 one is broken, its first broken record is named, 2 bad input.",
        epilog=examples(
            "gridpact journal verify --data data",
            "gridpact journal verify --data data --microgrid village --head 4711:HASH",
        ),
        formatter_class=Formatter,
    )
    verify.add_argument("--data", type=Path, required=True, metavar="DIR", help="the service's folder")
    verify.add_argument("--config", type=Path, metavar="FILE", help="the service's settings, for database_url")
    verify.add_argument(
        "--database", metavar="URL", help="of the database; SQLite in the folder if left out everywhere"
    )
    verify.add_argument("--microgrid", metavar="ID", help="the one meant; all if left out")
    verify.add_argument("--head", metavar="NUMBER:HASH", help="an entry that was printed earlier; needs --microgrid")
    verify.add_argument("--limits-head", metavar="NUMBER:HASH", help="a record of limits that was printed earlier")
    verify.add_argument("--json", action="store_true", help="print what was found as one JSON object")
