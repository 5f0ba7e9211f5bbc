"""An invoice as one HTML page to read and to print: no script, nothing loaded, everything escaped. Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from html import escape
from zoneinfo import ZoneInfo

from controller.invoices import Invoice, InvoiceLine

NAMES = {
    "REFUND": "Refund of energy not received",
    "NETWORK_CHARGE": "Network charge",
    "IMBALANCE": "Imbalance",
    "CORRECTION": "Energy changed as instructed",
    "DEMAND_RESPONSE": "Demand response",
    "UPLIFT": "Uplift",
    "FEE": "Community fee",
    "TAX": "Tax",
    "ROUNDING": "Rounding",
}
STYLE = """
body { font: 11pt/1.45 Georgia, "Times New Roman", serif; color: #1a1a1a; }
body { max-width: 46em; margin: 2.5em auto; padding: 0 1.5em; }
h1 { font-size: 1.9em; font-weight: normal; margin: 0 0 .2em; }
h2 { font-size: 1.15em; margin: 2em 0 .5em; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15em 1.2em; margin: 1em 0; }
dt { color: #666; } dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .28em .5em; text-align: left; vertical-align: top; border-bottom: 1px solid #ddd; }
th { font-weight: normal; color: #666; border-bottom: 1px solid #888; }
.n { text-align: right; white-space: nowrap; }
tbody.day tr:first-child td { border-top: 1px solid #888; }
.sum td { font-weight: bold; border-bottom: 0; border-top: 2px solid #1a1a1a; }
.due { font-size: 1.3em; margin: 1em 0; padding: .6em .9em; background: #f2f0ea; border-left: 4px solid #1f5f4a; }
.note { border-left: 4px solid #b8860b; padding: .4em .9em; background: #fbf6e6; }
.tag { font-size: .8em; color: #8a5a00; border: 1px solid #d8b65c; border-radius: 3px; padding: 0 .35em; }
small, details { color: #666; } details p { overflow-wrap: anywhere; margin: .3em 0; }
@media print {
  body { margin: 0; max-width: none; padding: 0; font-size: 9.5pt; }
  details { display: none; } tr { break-inside: avoid; } thead { display: table-header-group; }
  .due, .note { background: none; }
}
"""


def render(invoice: Invoice) -> str:
    """The page as text."""
    zone = ZoneInfo(invoice.time_zone)
    name = invoice.member.rpartition("/")[2]
    last = datetime.fromtimestamp(invoice.end, zone) - timedelta(seconds=1)
    days = f"{datetime.fromtimestamp(invoice.start, zone):%Y-%m-%d} to {last:%Y-%m-%d}"
    title = escape(f"Invoice of {name}, {days}")
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
            f"<h1>Invoice</h1>\n{_facts(invoice, days, zone)}",
            _due(invoice),
            _unsettled(invoice),
            _summary(invoice),
            _details(invoice, zone),
            _references(invoice, zone),
            "</body>\n</html>\n",
        ]
    )


def money(amount_micro: int) -> str:
    """Micro-currency with all six decimals."""
    whole, rest = divmod(abs(amount_micro), 1_000_000)
    return f"{'−' if amount_micro < 0 else ''}{whole:,}.{rest:06}"


def _facts(invoice: Invoice, days: str, zone: ZoneInfo) -> str:
    facts = {
        "Member": invoice.member,
        "Days": f"{days}, {invoice.time_zone}",
        "Currency": invoice.currency,
        "Drawn up": f"{datetime.fromtimestamp(invoice.created, zone):%Y-%m-%d %H:%M %Z}",
    }
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts.items()) + "</dl>"


def _due(invoice: Invoice) -> str:
    what = "To receive" if invoice.total_micro > 0 else "To pay"
    return f'<p class="due">{what}: <b>{escape(invoice.currency)} {money(abs(invoice.total_micro))}</b></p>'


def _unsettled(invoice: Invoice) -> str:
    if not invoice.unsettled:
        return ""
    windows = "window that has begun is" if invoice.unsettled == 1 else "windows that have begun are"
    return f'<p class="note">{invoice.unsettled} {windows} not settled yet: what they come to is missing here.</p>'


def _summary(invoice: Invoice) -> str:
    rows = "".join(
        f"<tr><td>{escape('Energy traded' if kind == 'TRADE' else NAMES.get(kind, kind))}</td>{_amount(amount)}</tr>"
        for kind, amount in invoice.totals().items()
    )
    return (
        "<h2>Summary</h2>\n<table><thead><tr><th></th>"
        '<th class="n">owed</th><th class="n">received</th></tr></thead>'
        f'<tbody>{rows}</tbody><tbody><tr class="sum"><td>Total</td>{_amount(invoice.total_micro)}</tr></tbody></table>'
    )


def _details(invoice: Invoice, zone: ZoneInfo) -> str:
    bodies: list[str] = []
    before = None
    for line in invoice.lines:
        when = _when(line, zone)
        if when != before:
            bodies.append('</tbody><tbody class="day">' if bodies else '<tbody class="day">')
        bodies.append(_row(line, when if when != before else ""))
        before = when
    body = (
        "".join(bodies) + "</tbody>"
        if bodies
        else '<tbody><tr><td colspan="6">Nothing in these days.</td></tr></tbody>'
    )
    heads = '<th class="n">kWh</th><th class="n">per kWh</th><th class="n">owed</th><th class="n">received</th>'
    return f"<h2>Lines</h2>\n<table><thead><tr><th>when</th><th>what</th>{heads}</tr></thead>{body}</table>"


def _row(line: InvoiceLine, when: str) -> str:
    tag = ' <span class="tag">later correction</span>' if line.correction else ""
    energy = "" if line.energy_wh is None else f"{line.energy_wh / 1000:,.3f}"
    price = "" if line.price_micro_per_kwh is None else money(line.price_micro_per_kwh)
    return (
        f'<tr><td>{escape(when)}</td><td>{escape(_what(line))}{tag}</td><td class="n">{energy}</td>'
        f'<td class="n">{price}</td>{_amount(line.amount_micro)}</tr>\n'
    )


def _amount(amount_micro: int) -> str:
    owed, received = ("", money(amount_micro)) if amount_micro > 0 else (money(-amount_micro), "")
    return f'<td class="n">{owed}</td><td class="n">{received}</td>'


def _what(line: InvoiceLine) -> str:
    if line.kind != "TRADE":
        return NAMES.get(line.kind, line.kind)
    partner = "the grid" if line.counterpart == "grid" else line.counterpart
    return f"Sold to {partner}" if line.sold else f"Bought from {partner}"


def _when(line: InvoiceLine, zone: ZoneInfo) -> str:
    start, end = datetime.fromtimestamp(line.start, zone), datetime.fromtimestamp(line.end, zone)
    whole = start.timetz() == end.timetz().replace(tzinfo=start.tzinfo) and (start.hour, start.minute) == (0, 0)
    return f"{start:%Y-%m-%d}" if whole else f"{start:%Y-%m-%d %H:%M}–{end:%H:%M %Z}"


def _references(invoice: Invoice, zone: ZoneInfo) -> str:
    rows = "".join(
        f"<p>{escape(_when(line, zone))} {escape(_what(line))}: {_postings(line)}</p>\n" for line in invoice.lines
    )
    return (
        "<details><summary>Where each line stands in the ledger</summary>\n<p>Windows and the indices of their "
        f"postings: each has a proof.</p>\n{rows}</details>"
    )


def _postings(line: InvoiceLine) -> str:
    return "; ".join(_indices(one.window, one.postings) for one in line.references)


def _indices(window: str, postings: Iterable[int]) -> str:
    return f"{escape(window.rpartition('/')[2])}: {', '.join(map(str, postings))}"
