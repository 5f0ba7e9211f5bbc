"""The command ``gridpact``. Each subcommand loads what it needs and no more."""

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from controller.audit_options import add_audit
from controller.backup_options import add_backup
from controller.driver_options import add_driver
from controller.exit_codes import BAD_INPUT, OK
from controller.journal_options import add_journal
from controller.options import Formatter, Parser, examples
from controller.service_options import add_invoice, add_pki, add_serve, add_status
from controller.validator_options import add_validator
from controller.witness_options import add_witness


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["verify"]:
        # Nothing but ``contracts`` is imported: a verifier trusts no other part.
        from contracts.verify import main as verify

        return verify(arguments[1:], prog="gridpact verify")
    parsed = _parser().parse_args(arguments)
    if parsed.command != "demo":
        return _run_case_command(parsed)
    # What gRPC would log arrives as an error, which is said in one line.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from controller.demo.command import run

    return run(parsed)


def _run_case_command(parsed: argparse.Namespace) -> int:
    # Each subcommand is a module of its name, so that none loads what another needs.
    run: Callable[[argparse.Namespace], int] = import_module(f"controller.{parsed.command}_command").run
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding lacks is shown by its code.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = run(parsed)
        sys.stdout.flush()
    except BrokenPipeError:
        # Who read the output has seen enough; the interpreter must not try to flush the rest of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except OSError as err:
        print(f"gridpact {parsed.command}: output: cannot be written: {err}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BAD_INPUT
    return code


MARKETS = ("bilateral", "pool", "double-auction", "average-price", "negotiation", "composite")
SOLVERS = ("dispatch", "admm", "reference")


STREET = "gridpact sample --homes 3 --seed 1 --mtus 24 --mtu-minutes 60"
"""A community that is planned in seconds, as the examples have it."""


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="gridpact",
        description="Microgrid controller: which appliance runs when, who trades what, books that anyone can check.",
        epilog=examples(
            f"{STREET} > street.json",
            "gridpact plan street.json",
            "gridpact plan --help",
            "gridpact demo --help",
        ),
        formatter_class=Formatter,
    )
    parser.add_argument("--version", action="version", version=f"gridpact {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="run a real community's day end to end",
        description="Runs 24 hourly dispatch windows of a real low-voltage grid under a virtual clock: orders, "
        "clearing, leased setpoints to simulated relays, meters, settlement, anchors on an in-process chain.",
        epilog="example: gridpact demo --grid rural1 --day 2016-10-19 --out my-day",
        formatter_class=Formatter,
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
    _add_clear(commands)
    _add_compare(commands)
    _add_sample(commands)
    _add_plan(commands)
    _add_explain(commands)
    _add_schema(commands)
    add_pki(commands)
    add_serve(commands)
    add_status(commands)
    add_invoice(commands)
    add_backup(commands)
    add_journal(commands)
    add_audit(commands)
    add_witness(commands)
    add_validator(commands)
    add_driver(commands)
    _add_gas(commands)
    commands.add_parser(
        "verify",
        help="check a day's evidence, or a single proof, against a root that you got elsewhere",
        add_help=False,
    )
    return parser


def _add_clear(commands: "argparse._SubParsersAction[Parser]") -> None:
    clear = commands.add_parser(
        "clear",
        help="clear one market case",
        description="Clears a market case (docs/cases.md says what a file holds), certifies the result, and compares "
        "it with the answers that the case brings along. Exit codes: 0 done, 1 answers differ, 2 bad input, "
        "3 infeasible, 4 no certified result.",
        epilog="examples: gridpact clear cases.json --case two-peers --fee 1; "
        "gridpact clear case.json --market pool --json > result.json",
        formatter_class=Formatter,
    )
    _add_scenario(clear)
    clear.add_argument("--market", choices=MARKETS, default="bilateral", help="design of the market")
    clear.add_argument("--scheme", choices=("plain", "accelerated"), help="of admm; accelerated if left out")
    clear.add_argument(
        "--penalty",
        type=float,
        metavar="X",
        help="of admm: price per power on every link, instead of one chosen from the data",
    )
    clear.add_argument("--max-iterations", type=int, metavar="N", help="of admm: rounds; 20000 if left out")
    clear.add_argument("--start", metavar="RESULT", help="what --json printed earlier: where admm starts")
    clear.add_argument("--json", action="store_true", help="print the result as one JSON object")


def _add_compare(commands: "argparse._SubParsersAction[Parser]") -> None:
    compare = commands.add_parser(
        "compare",
        help="set the market designs side by side on one case",
        description="Clears a market case by every design: welfare, volume, prices, who wins and who loses against the "
        "grid alone, what is left unserved, which limits are not kept. Exit codes: 0 some design serves everybody and "
        "keeps every limit, 2 bad input, 3 every design leaves somebody unserved, 4 a design has no certified result, "
        "or all that serve everybody exceed limits.",
        epilog="example: gridpact compare community.json --out designs.html",
        formatter_class=Formatter,
    )
    _add_scenario(compare)
    compare.add_argument(
        "--out", type=Path, metavar="FILE", help="write a page with pictures (.html) or one picture (.svg)"
    )
    compare.add_argument("--json", action="store_true", help="print every design's figures as one JSON object")


def _add_scenario(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="CASE", help="file (.json), or - for standard input")
    parser.add_argument("--case", metavar="NAME", help="the case meant, of a file with several")
    parser.add_argument("--fee", type=float, metavar="X", help="per unit of energy, on each side of a trade")
    parser.add_argument("--link-limit", type=float, metavar="X", help="power that no link may exceed")
    parser.add_argument("--solver", choices=SOLVERS, default="dispatch", help="what solves it")
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="T",
        help="of the solver, instead of its own: relative residuals and gap; of admm, sums of squared differences in "
        "the unit of power, squared. Above 1e-6 also the accepted gap and the tolerance of answers",
    )


def _add_sample(commands: "argparse._SubParsersAction[Parser]") -> None:
    sample = commands.add_parser(
        "sample",
        help="write a community of realistic devices",
        description="Writes a community (docs/communities.md says what a file holds) to standard output: homes with "
        "eight devices or more each, a time-of-use tariff, links, limits. Equal arguments give equal bytes.",
        epilog=examples(
            f"{STREET} > street.json",
            "gridpact sample --homes 100 --transformer 3.5 > village.json",
            "gridpact sample --homes 2 --mtus 24 --mtu-minutes 60 | gridpact plan -",
        ),
        formatter_class=Formatter,
    )
    sample.add_argument("--homes", type=int, required=True, metavar="N", help="how many, 1 to 20000")
    sample.add_argument("--seed", type=int, default=1, metavar="K", help="of everything that chance decides")
    sample.add_argument("--mtus", type=int, default=96, metavar="T", help="length of the horizon, 24 to 192")
    sample.add_argument("--mtu-minutes", type=int, default=15, choices=(5, 15, 30, 60), help="length of one")
    sample.add_argument(
        "--links", choices=("neighbours", "none", "all"), default="neighbours", help="who may sell to whom"
    )
    sample.add_argument(
        "--transformer",
        default="binding",
        metavar="KW",
        help="limit of the connection point, in kW per home; 'binding': below what selfish homes would take and above "
        "what is known to do; 'none': no limits",
    )


def _add_plan(commands: "argparse._SubParsersAction[Parser]") -> None:
    plan = commands.add_parser(
        "plan",
        help="decide which appliance runs when, and who trades what",
        description="Plans a community (docs/communities.md says what a file holds): trades and device schedules, "
        "certified with a proven gap. Exit codes: 0 a feasible plan, at its deadline too, 2 bad input, 3 infeasible, "
        "4 no certified result.",
        epilog=examples(
            f"{STREET} > street.json",
            "gridpact plan street.json",
            "gridpact plan street.json --deadline 10 --json > plan.json",
        ),
        formatter_class=Formatter,
    )
    plan.add_argument("path", metavar="COMMUNITY", help="file (.json), or - for standard input")
    plan.add_argument("--deadline", type=float, metavar="S", help="seconds after which the best so far is the plan")
    plan.add_argument(
        "--solver", choices=("decomposition", "reference"), default="decomposition", help="what solves it"
    )
    plan.add_argument("--gap", type=float, default=1e-4, metavar="G", help="relative gap at which the search may end")
    plan.add_argument(
        "--allow-shortfall",
        action="store_true",
        help="plan the nearest fulfilment of tasks that no schedule can fulfil, instead of refusing them",
    )
    plan.add_argument(
        "--all", action="store_true", help="show each device, member and limit; else kinds of more than 60 devices"
    )
    plan.add_argument("--json", action="store_true", help="print the plan as one JSON object")


def _add_explain(commands: "argparse._SubParsersAction[Parser]") -> None:
    explain = commands.add_parser(
        "explain",
        help="say why a device runs when it does",
        description="Says when a device runs in a plan and at which prices, what that costs against its cheapest "
        "schedule and against running at once, and which limits hold it.",
        epilog=examples(
            f"{STREET} > street.json",
            "gridpact plan street.json --json > plan.json",
            "gridpact explain plan.json home-1/dishwasher",
        ),
        formatter_class=Formatter,
    )
    explain.add_argument("path", metavar="PLAN", help="what gridpact plan --json printed, or - for standard input")
    explain.add_argument("device", metavar="DEVICE", help="id of the device")
    explain.add_argument("--json", action="store_true", help="print the explanation as one JSON object")


def _add_schema(commands: "argparse._SubParsersAction[Parser]") -> None:
    schema = commands.add_parser(
        "schema",
        help="print the JSON Schema of a format",
        description="Prints the JSON Schema (draft 2020-12) of a format.",
        epilog=examples("gridpact schema community > community.schema.json", "gridpact schema case > case.schema.json"),
        formatter_class=Formatter,
    )
    schema.add_argument("format", choices=("case", "community"), help="which format")


def _add_gas(commands: "argparse._SubParsersAction[Parser]") -> None:
    gas = commands.add_parser(
        "gas",
        help="measure what anchoring costs on a chain",
        description="Measures every operation of the contracts on a chain within the program, with the signatures of "
        "three of five validators: gas per window, per day of 96 windows, per trade, beside published figures.",
        epilog=examples("gridpact gas", "gridpact gas --json > gas.json"),
        formatter_class=Formatter,
    )
    gas.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    gas.add_argument("--out", type=Path, metavar="DIR", help="write gas.md and gas.svg there as well")


def _version() -> str:
    try:
        return version("gridpact")
    except PackageNotFoundError:
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())
