"""The numbers behind the pictures, for those who read or hear them rather than look at them."""

from dataclasses import dataclass

from controller.demo.day import DayResult, LedgerEntry
from controller.demo.report.formatting import (
    clock_span,
    format_energy,
    format_money,
    price_scale,
    runs,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table of the report, all of it plain text.

    Attributes
    ----------
    title : what it shows
    head : names of the columns, units in them
    rows : one tuple per row, as long as ``head``
    text_columns : how many of the first columns are words and not numbers
    caption : how to read it; empty where that is clear
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int
    caption: str = ""


def tables_of(day: DayResult) -> tuple[Table, ...]:
    """The tables that have rows: series, appliances, trades, payments, windows."""
    tables = (_series(day), _appliances(day), _trades(day), _ledger(day), _windows(day))
    return tuple(table for table in tables if table.rows)


def _series(day: DayResult) -> Table:
    load, prices = day["load"], day["prices"]
    scale = price_scale(day["summary"]["currency"])
    powers = (
        load["before_w"],
        load["without_limit_w"],
        load["scheduled_w"],
        load["metered_w"],
        load["lower_w"],
        load["upper_w"],
    )
    tariff = (
        prices["import_micro_per_kwh"],
        prices["trade_mean_micro_per_kwh"],
        prices["export_micro_per_kwh"],
    )

    def price(value: int | None) -> str:
        return "" if value is None else f"{value / scale.divisor:.{scale.digits}f}"

    return Table(
        title="Load and prices in every interval",
        head=(
            "Time",
            "Before, W",
            "Planned without limit, W",
            "Scheduled, W",
            "Metered, W",
            "Lower limit, W",
            "Upper limit, W",
            f"Grid takes, {scale.unit}",
            f"Neighbours' mean, {scale.unit}",
            f"Grid pays, {scale.unit}",
        ),
        rows=tuple(
            (
                clock_span(day, mtu, mtu + 1),
                *(_watts(column[mtu]) for column in powers),
                *(price(column[mtu]) for column in tariff),
            )
            for mtu in range(day["mtus"])
        ),
        text_columns=1,
    )


def _appliances(day: DayResult) -> Table:
    rows = []
    for device in day["devices"]:
        first, end = device["first_mtu"], device["end_mtu"]
        if device["kind"] != "interruptible" or first is None or end is None:
            continue
        acted = day["acted"][device["id"]]
        spans = runs([power > 0 for power in acted])
        rows.append(
            (
                device["peer"],
                device["name"],
                clock_span(day, first, end),
                ", ".join(clock_span(day, *span) for span in spans),
                format_energy(round(sum(acted) * day["mtu_minutes"] / 60)),
            )
        )
    return Table(
        title="When each appliance ran",
        head=("Peer", "Appliance", "May run", "Ran", "Energy"),
        rows=tuple(rows),
        text_columns=4,
    )


def _trades(day: DayResult) -> Table:
    ordered = sorted(day["trades"], key=lambda trade: (-trade["energy_wh"], trade["seller"], trade["buyer"]))
    return Table(
        title="Every pair of neighbours that traded",
        head=("Seller", "Buyer", "Energy", "Paid"),
        rows=tuple(
            (
                trade["seller"],
                trade["buyer"],
                format_energy(trade["energy_wh"]),
                format_money(trade["amount_micro"], day["summary"]["currency"]),
            )
            for trade in ordered
        ),
        text_columns=2,
    )


def _ledger(day: DayResult) -> Table:
    currency = day["summary"]["currency"]

    def row(entry: LedgerEntry) -> tuple[str, ...]:
        kinds = (
            entry["trades_micro"],
            entry["network_charges_micro"],
            entry["imbalances_micro"],
            entry["uplifts_micro"],
        )
        return entry["peer"], *(format_money(amount, currency) for amount in (*kinds, sum(kinds)))

    return Table(
        title="What each peer paid",
        head=("Peer", "Trades", "Network charges", "Imbalances", "Uplifts", "Together"),
        rows=tuple(row(entry) for entry in day["ledger"]),
        text_columns=1,
        caption="Positive is paid, negative is received. An uplift makes whole a peer that would have paid more than "
        "alone, and is paid by those that gain. Amounts are rounded, so that rows and columns need not add up to the "
        "last cent.",
    )


def _windows(day: DayResult) -> Table:
    return Table(
        title="Every dispatch window",
        head=("Window", "State", "Trades", "Gap to the best possible"),
        rows=tuple(
            (window["window"], window["state"], f"{window['trades']:,}", f"{window['gap']:.3%}")
            for window in day["windows"]
        ),
        text_columns=2,
    )


def _watts(power_w: int | None) -> str:
    return "" if power_w is None else f"{power_w:,}".replace("-", "−")
