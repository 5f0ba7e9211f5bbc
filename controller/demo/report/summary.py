"""The day in a sentence and in six figures."""

from dataclasses import dataclass

from controller.demo.day import DayResult
from controller.demo.report.formatting import (
    clock_span,
    count,
    count_mtus,
    date_in_words,
    format_energy,
    format_money,
    format_power,
)
from controller.demo.report.load import excess_mtus
from controller.demo.report.picture import tightened

CENT = 10_000
"""Micro-currency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One key figure, in plain text.

    Attributes
    ----------
    label : what it is
    value : number and unit
    note : what it is compared with
    """

    label: str
    value: str
    note: str


def title_of(day: DayResult) -> str:
    """Title of the page."""
    return f"A day in the microgrid {day['grid']}: {date_in_words(day)}"


def describe_day(day: DayResult) -> str:
    """The day in one sentence, true whatever happened."""
    summary = day["summary"]
    neighbours = count(len(day["peers"]), "neighbour")
    traded = (
        f"{neighbours} traded {format_energy(summary['traded_wh'])} of electricity with each other"
        if summary["neighbour_trades"]
        else f"{neighbours} shared one connection to the grid without trading"
    )
    devices = summary["devices_driven"]
    driven = f"{count(devices, 'device')} received setpoints" if devices else "no device was driven"
    over = excess_mtus(day)
    limits = "kept to the grid operator's limits"
    if over:
        limits = f"was carried past the grid operator's limits by forecast errors in {count_mtus(day, over)}"
    return f"{traded}, {driven}, and the microgrid {limits}."


def key_figures(day: DayResult) -> tuple[Figure, ...]:
    """Six figures for the head of the page."""
    return (_saving(day), _peak(day), _limit(day), _traded(day), _driven(day), _anchored(day))


def describe_proof(day: DayResult) -> str:
    """What was anchored, what it cost, and how anybody checks it."""
    summary = day["summary"]
    gaps = [window["gap"] for window in day["windows"]]
    certified = f"No window's dispatch is further than {max(gaps):.2%} from the best possible. " if gaps else ""
    return (
        f"{certified}Anchoring cost {summary['gas_per_window']:,} gas per window, "
        f"{summary['gas_per_trade']:,.0f} per trade among neighbours. Metered and traded energy differ by "
        f"{format_energy(summary['imbalance_wh'])}. {_uplifts(day)}"
        "Anybody can check the day's books with gridpact verify "
        "and this root:"
    )


def _uplifts(day: DayResult) -> str:
    summary = day["summary"]
    if not summary["uplift_members"]:
        return "Nobody had to be made whole for paying more than alone. "
    return (
        f"Uplifts of {format_money(summary['uplift_micro'], summary['currency'])} went to "
        f"{count(summary['uplift_members'], 'peer')} who would have paid more than alone. "
    )


def _saving(day: DayResult) -> Figure:
    summary = day["summary"]
    currency = summary["currency"]
    tariff = summary["bill_tariff_micro"]
    # Rounded first, as the two bills are shown: what a reader subtracts is what stands here.
    saved = (round(tariff / CENT) - round(summary["bill_micro"] / CENT)) * CENT
    share = f"{saved / tariff:.0%} of ".replace("-", "−") if tariff > 0 else "against "
    before = format_money(summary["bill_before_micro"], currency)
    return Figure(
        label="Saved",
        value=format_money(saved, currency),
        note=f"{share}{format_money(tariff, currency)}, the same energy at the tariff alone; {before} with every "
        "appliance at once and no battery",
    )


def _peak(day: DayResult) -> Figure:
    summary = day["summary"]
    return Figure(
        label="Highest load",
        value=format_power(summary["peak_metered_w"]),
        note=f"{format_power(summary['peak_before_w'])} if each appliance started at once",
    )


def _limit(day: DayResult) -> Figure:
    summary = day["summary"]
    hours = tightened(day)
    when = f"{clock_span(day, hours[0][0], hours[-1][1])}; " if hours else ""
    planned = format_power(summary["peak_without_limit_w"])
    touched = count_mtus(day, summary["envelope_binding_mtus"])
    return Figure(
        label="Evening limit",
        value=format_power(summary["evening_limit_w"]),
        note=f"{when}{planned} planned without it; touched in {touched}",
    )


def _traded(day: DayResult) -> Figure:
    summary = day["summary"]
    return Figure(
        label="Traded by neighbours",
        value=format_energy(summary["traded_wh"]),
        note=f"{count(summary['neighbour_trades'], 'trade')} between {count(len(day['trades']), 'pair')}",
    )


def _driven(day: DayResult) -> Figure:
    summary = day["summary"]
    return Figure(
        label="Devices driven",
        value=f"{summary['devices_driven']:,}",
        note=f"{count(summary['switchings'], 'switching')} by leased setpoints",
    )


def _anchored(day: DayResult) -> Figure:
    anchored = sum(window["state"] == "ANCHORED" for window in day["windows"])
    return Figure(
        label="Windows anchored",
        value=f"{anchored:,} of {len(day['windows']):,}",
        note=f"{day['summary']['gas_per_window']:,} gas each",
    )
