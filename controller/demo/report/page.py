"""Puts the page together: one file, nothing loaded from anywhere, the same bytes for the same day.

The page forbids itself the network by a content security policy that names its two scripts by their hash: a
script that came in with the data could not run even if it were not escaped.
"""

import base64
import hashlib
import json
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from controller.demo.day import DayResult
from controller.demo.report.devices import draw_devices
from controller.demo.report.formatting import begin_sentence
from controller.demo.report.load import draw_load
from controller.demo.report.picture import Key, Picture, merge
from controller.demo.report.prices import draw_prices
from controller.demo.report.schedule import draw_schedule
from controller.demo.report.summary import Figure, describe_day, describe_proof, key_figures, title_of
from controller.demo.report.tables import Table, tables_of
from controller.demo.report.trades import draw_trades

SHORT = 700
"""Pictures up to this height, px, are kept on one printed page."""


def write_report(day: DayResult, path: Path) -> None:
    """Write the day as one self-contained HTML page.

    Parameters
    ----------
    day : result of the demonstration day
    path : file to write; its folder exists

    Notes
    -----
    The bytes depend on the day and on the installed plotly alone.
    """
    path.write_text(render_report(day), encoding="utf-8", errors="backslashreplace", newline="\n")


def render_report(day: DayResult) -> str:
    """The page as text."""
    from plotly.offline import get_plotlyjs

    pictures = (draw_load(day), draw_schedule(day), draw_devices(day), draw_trades(day), draw_prices(day))
    plotly, script = get_plotlyjs(), _part("page.js")
    failed = sum(not check["passed"] for check in day["checks"])
    return Template(_part("page.html")).substitute(
        script_sources=f"{_source_hash(plotly)} {_source_hash(script)}",
        title=escape(title_of(day)),
        style=_part("page.css").strip(),
        lead=escape(describe_day(day)),
        figures="\n".join(_figure(figure) for figure in key_figures(day)),
        verdict=f"{failed} of {len(day['checks'])} failed" if failed else f"all {len(day['checks'])} passed",
        checks="\n".join(_check(**check) for check in sorted(day["checks"], key=lambda check: check["passed"])),
        pictures="\n".join(_section(picture) for picture in pictures),
        proof=escape(describe_proof(day)),
        root=escape(day["summary"]["root"]),
        tables="\n".join(_table(table) for table in tables_of(day)),
        time_zone=escape(day["time_zone"]),
        data=_data(pictures),
        plotly=plotly,
        script=script,
    )


def _part(name: str) -> str:
    return files("controller.demo.report").joinpath(name).read_text(encoding="utf-8")


def _source_hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _data(pictures: tuple[Picture, ...]) -> str:
    """The pictures as JSON that cannot end its script element: ``<`` is written as its escape."""
    drawn = [
        {
            "id": picture.id,
            "traces": picture.traces,
            "wide": picture.layout,
            "narrow": merge(picture.layout, picture.narrow),
        }
        for picture in pictures
        if picture.traces
    ]
    text = json.dumps(drawn, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _figure(figure: Figure) -> str:
    label, value, note = escape(figure.label), escape(figure.value), escape(figure.note)
    return f"<div><dt>{label}</dt><dd>{value}</dd><dd>{note}</dd></div>"


def _check(*, name: str, passed: bool, detail: str) -> str:
    state, mark = ("passed", "✓ passed") if passed else ("failed", "✗ failed")
    return (
        f'<li class="{state}"><span class="mark">{mark}</span>'
        f'<span>{escape(begin_sentence(name))}<span class="detail">{escape(detail)}</span></span></li>'
    )


def _section(picture: Picture) -> str:
    height = picture.layout["height"]
    short = isinstance(height, int) and height <= SHORT
    keys = "".join(f"<li>{_swatch(key)}{escape(key.label)}</li>" for key in picture.keys)
    plot = (
        f'<div class="plot" id="{picture.id}" role="img" aria-label="{escape(picture.alt)}" '
        f'style="height:{height}px"></div>\n'
        '<p class="no-script">The picture needs scripts; the tables below do not.</p>'
    )
    return (
        f'<figure aria-labelledby="{picture.id}-title"{" class=short" if short else ""}>\n'
        f'<h2 id="{picture.id}-title">{escape(picture.title)}</h2>\n'
        f"<figcaption>{escape(picture.caption)}</figcaption>\n"
        + (f'<ul class="keys">{keys}</ul>\n{plot}\n' if picture.traces else "")
        + "</figure>"
    )


def _swatch(key: Key) -> str:
    match key.mark:
        case "area":
            drawn = f'<rect width="24" height="12" fill="{key.color}"/>'
        case "outline":
            drawn = f'<path d="M1 1h22v10H1z" fill="none" stroke="{key.color}" stroke-width="1.5"/>'
        case "line":
            drawn = f'<path d="M0 6h24" stroke="{key.color}" stroke-width="3"/>'
        case "dash":
            drawn = f'<path d="M0 6h24" stroke="{key.color}" stroke-width="2.5" stroke-dasharray="6 3"/>'
        case "dot":
            drawn = f'<path d="M0 6h24" stroke="{key.color}" stroke-width="1.5" stroke-dasharray="1.5 2"/>'
    return f'<svg viewBox="0 0 24 12" aria-hidden="true">{drawn}</svg>'


def _table(table: Table) -> str:
    def row(cells: tuple[str, ...], tag: str) -> str:
        kinds = ("text" if index < table.text_columns else "" for index in range(len(cells)))
        return "".join(
            f'<{tag} class="text">{escape(cell)}</{tag}>' if kind else f"<{tag}>{escape(cell)}</{tag}>"
            for cell, kind in zip(cells, kinds, strict=True)
        )

    body = "\n".join(f"<tr>{row(cells, 'td')}</tr>" for cells in table.rows)
    caption = f'<p class="caption">{escape(table.caption)}</p>' if table.caption else ""
    return (
        f"<details><summary>{escape(table.title)}</summary>{caption}"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.title)}"><table>\n'
        f"<thead><tr>{row(table.head, 'th')}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div></details>"
    )
