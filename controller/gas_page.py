"""The page ``docs/gas.md``: tables of what was measured beside what was published."""

from collections.abc import Iterable, Sequence

from contracts.gas import DAY, PAYEES, PUBLISHED, PUBLISHED_MARGINAL, PUBLISHED_TOTAL, THRESHOLD, VALIDATORS, GasReport


def page(report: GasReport) -> str:
    """The page in Markdown."""
    return "\n".join(
        (
            "# What anchoring costs",
            "",
            "<!-- Written by `gridpact gas --out docs`; a test measures it anew. -->",
            "",
            f"Gas with {THRESHOLD} of {VALIDATORS} validators' signatures, measured on the embedded chain (py-evm, "
            "Prague rules). A batch of windows is one hash under the validators' signatures, whatever the number of "
            "its windows and of their trades, so that all of them share its price.",
            "",
            "![Gas per trade over the number of trades of a window](gas.svg)",
            "",
            *_table(("", "gas", "wanted"), _bounds(report)),
            "",
            "## Per trade, beside EnergyAuction",
            "",
            "EnergyAuction (Condon et al. 2023, Table 3) keeps orders, matching and settlement on the chain: "
            + ", ".join(f"{name} {gas:,}" for name, gas in PUBLISHED.items())
            + f" gas. All of them once are {PUBLISHED_TOTAL:,}: one trade in a window of its own. Each further trade "
            f"of a window takes offer, bid, transfer and settlement, {PUBLISHED_MARGINAL:,}. It also moves value on "
            "the chain, which an anchor does not: for that see the payments below.",
            "",
            *_table(
                (
                    "trades in a window",
                    "each window alone: per trade",
                    "of the total",
                    "of the marginal",
                    f"{DAY} windows in a batch: per trade",
                    "of the total",
                    "of the marginal",
                ),
                _per_trade(report),
            ),
            "",
            "## Every operation",
            "",
            f"The first of a kind writes slots that were empty. Statements of payments name {PAYEES} accounts; the "
            "token is the credits' own.",
            "",
            *_table(("operation", "gas"), ((name, f"{gas:,}") for name, gas in report.operations.items())),
            "",
        )
    )


def _bounds(report: GasReport) -> Iterable[Sequence[str]]:
    of_day = report.per_trade_of_day[100]
    yield "one window, whatever its number of trades", f"{report.window:,}", "under 82,000"
    yield f"a day of {DAY} windows in one transaction", f"{report.day_batch:,}", "under 82,000"
    yield "per trade, 100 trades in a window", f"{report.per_trade[100]:,.1f}", "under 820"
    yield "per trade, 100 trades in a window, a day in one transaction", f"{of_day:,.2f}", "under 10"


def _per_trade(report: GasReport) -> Iterable[Sequence[str]]:
    for trades, gas in report.per_trade.items():
        of_day = report.per_trade_of_day[trades]
        ratios = [_ratio(published / figure) for figure in (gas, of_day) for published in _PUBLISHED]
        yield f"{trades:,}", _figure(gas), *ratios[:2], _figure(of_day), *ratios[2:]


_PUBLISHED = (PUBLISHED_TOTAL, PUBLISHED_MARGINAL)


def _figure(gas: float) -> str:
    return f"{gas:,.0f}" if gas >= 1_000 else f"{gas:.3g}"


def _ratio(times: float) -> str:
    return f"1/{times:,.0f}" if times >= 100 else f"1/{times:.3g}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
