"""The terminal's side of ``gridpact demo``: options in, progress and summary out."""

import argparse
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from grpc import RpcError
from grpc.aio import AioRpcError
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table

from controller.compiling import COMPILING, never_compiled
from controller.demo.conductor import Progress
from controller.demo.day import DayResult
from controller.demo.main import Order, run_demo
from controller.demo.scenario import Tariff
from controller.errors import ControllerError, InputError
from controller.exit_codes import BAD_INPUT, CHECK_FAILED, INTERRUPTED, NO_CERTIFIED_RESULT, OK

LAST_PORT = 65_535
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
KILO = 1000
MICRO = 1_000_000
WINDOW_NAME = "%Y%m%dT%H%M%SZ"
EVERY_MTUS = 12
"""How much of the day passes between two lines that say how far it is: three windows."""


class BarProgress(Progress):
    """Shows the day as a bar, from its first step on.

    Parameters
    ----------
    bar : where it is shown
    notice : what is said above it before it begins; empty for nothing
    """

    def __init__(self, bar: Bar, notice: str = "") -> None:
        self._bar = bar
        self._notice = notice
        self._task: TaskID | None = None

    def step(self, done: int, total: int, text: str) -> None:
        """Move the bar."""
        if self._task is None:
            if self._notice:
                self._bar.console.print(self._notice, soft_wrap=True)
            self._task = self._bar.add_task(text, total=total)
        self._bar.update(self._task, completed=done, total=total, description=text)


class LineProgress(Progress):
    """Says every few windows on standard error how far the day is, for output that is no terminal.

    Parameters
    ----------
    notice : what is said first; empty for nothing
    """

    def __init__(self, notice: str = "") -> None:
        self._notice = notice
        self._doing = ""
        self._due = 0

    def step(self, done: int, total: int, text: str) -> None:
        """Say it where something else begins, or enough time has passed."""
        if self._notice:
            print(f"gridpact demo: {self._notice}", file=sys.stderr, flush=True)
            self._notice = ""
        doing = text.split(" ", maxsplit=1)[0]
        if doing[:1].isdigit() or (doing == self._doing and done < self._due):
            return
        self._doing, self._due = doing, done + EVERY_MTUS
        print(f"gridpact demo: {text} ({done} of {total} quarter-hours)", file=sys.stderr, flush=True)


def run(arguments: argparse.Namespace) -> int:
    """Run the demonstration; returns the exit code."""
    console = Console(highlight=False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        order = _order(arguments)
        with _progress(console) as progress:
            result = run_demo(order, progress)
    except (InputError, OSError) as err:
        print(f"gridpact demo: {err}", file=sys.stderr)
        return BAD_INPUT
    except (ControllerError, RpcError) as err:
        said = err.details() if isinstance(err, AioRpcError) else err
        print(f"gridpact demo: the service failed: {said}", file=sys.stderr)
        return NO_CERTIFIED_RESULT
    except KeyboardInterrupt:
        print("gridpact demo: interrupted, nothing was written", file=sys.stderr)
        return INTERRUPTED
    _print(console, result, order)
    passed = all(check["passed"] for check in result["checks"])
    print(f"root {result['summary']['root']}", flush=True)
    return OK if passed else CHECK_FAILED


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    """What shows how far the day is."""
    notice = COMPILING if never_compiled() else ""
    if not console.is_terminal:
        yield LineProgress(notice)
        return
    with Bar(
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("quarter-hours"),
        TimeElapsedColumn(),
        console=console,
    ) as bar:
        yield BarProgress(bar, notice)


def _order(arguments: argparse.Namespace) -> Order:
    hours = re.fullmatch(r"(\d{1,2})-(\d{1,2})", arguments.peak_hours)
    if hours is None:
        raise InputError(f"--peak-hours: got {arguments.peak_hours!r}, wanted FROM-TO such as 13-23")
    listen = re.fullmatch(r"[\w.:\[\]-]+:(\d{1,5})", arguments.listen)
    if listen is None or int(listen[1]) > LAST_PORT:
        raise InputError(f"--listen: got {arguments.listen!r}, wanted HOST:PORT, the port up to {LAST_PORT}")
    if arguments.listen.rpartition(":")[0] not in LOOPBACK:
        raise InputError(f"--listen: got {arguments.listen!r}, wanted a host of this machine: {', '.join(LOOPBACK)}")
    if not 0 <= arguments.seed < 2**32:
        raise InputError(f"--seed: got {arguments.seed}, wanted 0 to {2**32 - 1}")
    if int(hours[1]) > int(hours[2]):
        raise InputError(f"--peak-hours: got {arguments.peak_hours!r}, wanted FROM no later than TO")
    return Order(
        grid=arguments.grid,
        day=arguments.day,
        out=arguments.out,
        tariff=Tariff(
            export=arguments.export_price,
            peak=arguments.peak_price,
            off_peak=arguments.off_peak_price,
            peak_from_hour=int(hours[1]),
            peak_to_hour=int(hours[2]),
            network_charge=arguments.network_charge,
        ),
        seed=arguments.seed,
        catalogue=arguments.catalogue,
        listen=arguments.listen,
    )


def _print(console: Console, result: DayResult, order: Order) -> None:
    summary = result["summary"]
    currency, bill = summary["currency"], summary["bill_micro"]

    def cents(micro: int) -> int:
        return round(micro / MICRO * 100)

    def money(micro: int) -> str:
        return f"{cents(micro) / 100:.2f} {currency}"

    def difference(one: int, other: int) -> str:
        return f"{(cents(one) - cents(other)) / 100:.2f} {currency}"

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    rows = [
        ("community", f"{len(result['peers'])} members of {escape(result['grid'])}, {result['day']}"),
        (
            "traded among neighbours",
            f"{summary['traded_wh'] / KILO:.1f} kWh in {summary['neighbour_trades']} trades",
        ),
        ("bill of all members", money(bill)),
        (
            "saved",
            f"{difference(summary['bill_tariff_micro'], bill)} against buying and selling the same energy at the "
            f"tariff alone ({money(summary['bill_tariff_micro'])})",
        ),
        (
            "",
            f"{difference(summary['bill_before_micro'], bill)} against every appliance starting at once, without "
            f"batteries and neighbours ({money(summary['bill_before_micro'])})",
        ),
        (
            "peak",
            f"{summary['peak_scheduled_w'] / KILO:.1f} kW scheduled, "
            f"{summary['peak_metered_w'] / KILO:.1f} kW metered, "
            f"{summary['peak_before_w'] / KILO:.1f} kW without Gridpact",
        ),
        (
            "evening envelope",
            f"{summary['evening_limit_w'] / KILO:.0f} kW instead of {max(result['load']['upper_w']) / KILO:.1f} kW, "
            f"binds in {summary['envelope_binding_mtus']} quarter-hours; without it, "
            f"{summary['peak_without_limit_w'] / KILO:.1f} kW were planned",
        ),
        ("gap", _gaps(result)),
        ("devices", f"{summary['devices_driven']} driven, relays switched {summary['switchings']} times"),
        (
            "uplifts",
            f"{money(summary['uplift_micro'])} to {summary['uplift_members']} members who would have paid more "
            "than alone",
        ),
        ("imbalance", f"{summary['imbalance_wh'] / KILO:.1f} kWh metered beyond or short of trades"),
        (
            "gas",
            f"{summary['gas_per_window']} per window, {summary['gas_per_trade']:.0f} per trade among neighbours",
        ),
    ]
    for name, value in rows:
        table.add_row(name, value)
    console.print(table)
    for check in result["checks"]:
        mark = "[green]holds[/]" if check["passed"] else "[red]FAILS[/]"
        console.print(f"{mark}  {check['name']} ({escape(check['detail'])})", soft_wrap=True)
    console.print(f"results and page in {escape(str(order.out))}/ (report.html)", soft_wrap=True)


def _gaps(result: DayResult) -> str:
    """How far the windows' plans are at most from the best that anyone could have done."""
    gaps = [window["gap"] for window in result["windows"]]
    name = result["windows"][gaps.index(max(gaps))]["window"].rpartition("/")[2]
    worst = datetime.strptime(name, WINDOW_NAME).replace(tzinfo=UTC).astimezone(ZoneInfo(result["time_zone"]))
    mean = sum(gaps) / len(gaps)
    return f"{100 * max(gaps):.3f} % at worst ({worst:%H:%M}), {100 * mean:.3f} % on average"
