"""Options of the subcommands that copy what a service keeps, and put it back."""

import argparse
from pathlib import Path

from controller.options import Formatter, Parser, examples


def add_backup(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Options of ``gridpact backup`` and ``gridpact restore``."""
    backup = commands.add_parser(
        "backup",
        help="copy everything that a service keeps, while it runs",
        description="Writes database, limits' journal and secret to one file, whose parts carry digests. The service "
        "may run meanwhile. Whoever reads the file knows what the service knows: keep it as safe.",
        epilog=examples("gridpact backup --data data --out monday.backup"),
        formatter_class=Formatter,
    )
    _add_places(backup)
    backup.add_argument("--out", type=Path, required=True, metavar="FILE", help="a new file")
    back = commands.add_parser(
        "restore",
        help="put a backup where a service shall go on from it",
        description="Fills an empty folder, and with --database an empty database. The next start has a higher epoch "
        "than any before, so that drivers take no command of the service that was lost. Stop that one first.",
        epilog=examples("gridpact restore monday.backup --data data-2"),
        formatter_class=Formatter,
    )
    back.add_argument("file", type=Path, metavar="FILE", help="what gridpact backup wrote")
    _add_places(back)


def _add_places(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the service's folder")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the service's settings, for database_url")
    parser.add_argument(
        "--database", metavar="URL", help="of the database; SQLite in the folder if left out everywhere"
    )
