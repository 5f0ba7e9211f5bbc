"""Options of the subcommand that rebuilds what a service proves."""

import argparse
from pathlib import Path

from controller.options import Formatter, Parser, examples


def add_audit(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Options of ``gridpact audit``."""
    audit = commands.add_parser(
        "audit",
        help="rebuild every root from a service's store, and name what differs",
        description="Rebuilds from a service's store all that its headers and batches commit to: leaves, trees, "
        "totals, the inputs of each window, the chains of headers and batches; verifies what members, gateways, the "
        "DSO, aggregators and validators signed; asks the registry what it holds; and names each difference, the "
        "first one first. The service may run meanwhile; nothing is written. "
        "Exit codes: 0 nothing differs, 1 something does, 2 bad input.",
        epilog=examples("gridpact audit --data data", "gridpact audit --data data --microgrid village --json"),
        formatter_class=Formatter,
    )
    audit.add_argument("--data", type=Path, required=True, metavar="DIR", help="the service's folder")
    audit.add_argument("--config", type=Path, metavar="FILE", help="the service's settings, for database_url")
    audit.add_argument("--database", metavar="URL", help="of the database; SQLite in the folder if left out everywhere")
    audit.add_argument("--microgrid", metavar="ID", help="the one meant; all if left out")
    audit.add_argument("--rpc", metavar="URL", help="of a node that you trust, where the service anchors behind one")
    audit.add_argument("--contract", metavar="ADDRESS", help="of the registry that you know the service to anchor in")
    audit.add_argument("--json", action="store_true", help="print what was found as one JSON object")
