"""Options of the subcommands that run the service and ask it."""

import argparse
from pathlib import Path

from controller.options import Formatter, Parser, examples


def add_pki(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Options of ``gridpact pki``."""
    pki = commands.add_parser(
        "pki",
        help="make a development authority and identities of it",
        description="Makes the certificates that the service and its callers show each other. For development and "
        "trials: whoever reads ca.key can be anybody. docs/operating.md (Certificates) says "
        "what a real authority must do.",
        epilog=examples(
            "gridpact pki init pki --grid village",
            "gridpact pki issue pki spiffe://village/participant/home-2 --out home-2",
        ),
        formatter_class=Formatter,
    )
    actions = pki.add_subparsers(dest="action", required=True, metavar="ACTION")
    init = actions.add_parser(
        "init",
        help="an authority, a server and one identity of each role",
        description="Writes ca.pem and ca.key, server.pem and server.key (for localhost, 127.0.0.1, ::1 and each "
        "--host), and for dso, aggregator, driver, participant, meter, operator, validator and auditor a .pem and a "
        ".key; for those that sign what they say also an Ed25519 key: .sign.key and .sign.pub. Overwrites nothing.",
        epilog=examples("gridpact pki init pki --grid village"),
        formatter_class=Formatter,
    )
    init.add_argument("dir", type=Path, metavar="DIR", help="folder for the files; made where it is missing")
    init.add_argument("--grid", default="village", help="id of the microgrid that the identities belong to")
    _add_validity(init)
    issue = actions.add_parser(
        "issue",
        help="one more identity, or the server anew",
        description="Writes the certificate and key of one more identity, signed by the authority in DIR. A "
        "server's certificate that is replaced keeps its names unless --host says others.",
        epilog=examples(
            "gridpact pki init pki",
            "gridpact pki issue pki spiffe://village/driver/home-1/heat-pump",
            "gridpact pki issue pki server --host gridpact.example --replace",
        ),
        formatter_class=Formatter,
    )
    issue.add_argument("dir", type=Path, metavar="DIR", help="folder that pki init made")
    issue.add_argument("uri", metavar="URI", help="spiffe://GRID/ROLE/ID, or server")
    issue.add_argument("--out", metavar="NAME", help="name of the files; ROLE-ID if left out")
    issue.add_argument("--replace", action="store_true", help="overwrite files of that name")
    _add_validity(issue)


def _add_validity(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--days", type=int, default=30, metavar="N", help="days that certificates are valid")
    parser.add_argument(
        "--host", action="append", default=[], metavar="NAME", help="another name or address of the server; repeatable"
    )


def add_serve(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Options of ``gridpact serve``."""
    serve = commands.add_parser(
        "serve",
        help="run the service",
        description="Runs the controller until SIGTERM or SIGINT; a second one ends it at once. docs/configuration.md "
        "lists every key of FILE; GRIDPACT_... variables go before it, options before both. Exit codes: 0 stopped, 2 "
        "bad input.",
        epilog="example: gridpact serve --data data --pki pki --listen 127.0.0.1:50051",
        formatter_class=Formatter,
    )
    serve.add_argument("--data", metavar="DIR", help="folder of everything that lasts; made at the first start")
    serve.add_argument("--pki", metavar="DIR", help="folder with ca.pem, server.pem and server.key")
    serve.add_argument("--listen", metavar="HOST:PORT", help="where it answers; port 0: any free one")
    serve.add_argument("--config", type=Path, metavar="FILE", help="settings (.toml)")
    serve.add_argument("--development", action="store_true", help="answer gRPC reflection")
    serve.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any setting, such as log.level=debug; repeatable",
    )
    serve.add_argument("--print-config", action="store_true", help="print the effective settings and leave")


def add_status(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Options of ``gridpact status``."""
    status = commands.add_parser(
        "status",
        help="say what a running service is doing",
        description="Asks a running service, as the operator in DIR. Exit codes: 0 healthy, 1 not healthy or not "
        "answering, 2 bad input.",
        epilog="example: gridpact status --listen 127.0.0.1:50051 --pki pki",
        formatter_class=Formatter,
    )
    status.add_argument("--listen", required=True, metavar="HOST:PORT", help="where the service answers")
    status.add_argument("--pki", required=True, type=Path, metavar="DIR", help="folder that pki init made")
    status.add_argument("--identity", default="operator", metavar="NAME", help="whose files in DIR are shown")
    status.add_argument("--timeout", type=float, default=10.0, metavar="S", help="seconds that an answer may take")
    status.add_argument("--json", action="store_true", help="print the answer as one JSON object")


def add_invoice(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Options of ``gridpact invoice``."""
    invoice = commands.add_parser(
        "invoice",
        help="what a member owes and is owed",
        description="Asks a running service for a member's lines of the ledger, put together by day: as JSON, or as a "
        "page that one can print. Days are local ones of the microgrid. Exit codes: 0 done, 1 no answer, 2 bad input.",
        epilog=examples(
            "gridpact invoice --listen 127.0.0.1:50051 --pki pki --member home-1 --month 2026-03 --html march.html"
        ),
        formatter_class=Formatter,
    )
    invoice.add_argument("--listen", required=True, metavar="HOST:PORT", help="where the service answers")
    invoice.add_argument("--pki", required=True, type=Path, metavar="DIR", help="folder that pki init made")
    invoice.add_argument(
        "--identity", default="operator", metavar="NAME", help="whose files in DIR are shown: the member's own too"
    )
    invoice.add_argument("--member", required=True, metavar="ID", help="whose invoice")
    invoice.add_argument("--month", metavar="YYYY-MM", help="all days of a month")
    invoice.add_argument("--from", dest="from_", metavar="YYYY-MM-DD", help="first day")
    invoice.add_argument("--to", metavar="YYYY-MM-DD", help="last day; it counts too")
    invoice.add_argument("--by-mtu", action="store_true", help="a line for each MTU, at most 31 days")
    invoice.add_argument("--html", type=Path, metavar="FILE", help="write the page there, and no JSON")
    invoice.add_argument("--timeout", type=float, default=30.0, metavar="S", help="seconds that an answer may take")
