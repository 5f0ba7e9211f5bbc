"""A page with the picture of the designs side by side and the numbers behind it; it loads nothing and runs nothing."""

from collections.abc import Iterator, Sequence
from html import escape

from controller.case.comparing import DesignComparison
from controller.case.picture import draw


def page(comparison: DesignComparison) -> str:
    """A page with the picture and the numbers behind it; it loads nothing and runs nothing."""
    return PAGE.format(
        title=escape(f"Market designs on {comparison.case}"),
        picture=draw(comparison),
        designs=_table(_design_head(comparison), _design_rows(comparison)),
        designs_note=escape(_designs_note(comparison)),
        reasons=_reasons(comparison),
        peers=_table(["peer", *(figures.design for figures in comparison.designs)], _peer_rows(comparison)),
        baseline=escape(_baseline_note(comparison)),
    )


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 24px auto; max-width: 1160px; padding: 0 16px; color: #1f2a35; background: #fff;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }}
svg {{ width: 100%; min-width: 960px; height: auto; }}
h2 {{ font-size: 17px; margin: 28px 0 6px; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13.5px; }}
th, td {{ padding: 3px 14px 3px 0; text-align: right; border-bottom: 1px solid #dfe5ea; vertical-align: top; }}
th:first-child, td:first-child {{ text-align: left; white-space: nowrap; }}
.designs th, .designs td {{ padding-right: 10px; }}
p, ul {{ margin: 4px 0 10px; color: #66727e; }}
ul {{ padding-left: 18px; }}
</style>
</head>
<body>
<div class="wide">{picture}</div>
<h2>The designs</h2>
<p>{designs_note}</p>
<div class="wide designs">{designs}</div>
{reasons}
<h2>What each peer gains</h2>
<p>{baseline}</p>
<div class="wide">{peers}</div>
</body>
</html>
"""


def _baseline_note(comparison: DesignComparison) -> str:
    if not comparison.baseline:
        return "No design serves everybody and keeps every limit, so nobody's costs compare."
    currency = comparison.currency or "the case's currency"
    return (
        f"Against {comparison.baseline}, in {currency}. Empty where one of the two "
        "leaves the peer unserved, or the design exceeds a limit: then its costs do not compare."
    )


def _designs_note(comparison: DesignComparison) -> str:
    notes = [
        "Prices are what buyers pay sellers or the pool; buyers bear fees, network charges and preferences on top.",
        *([f"{comparison.proviso}."] if comparison.proviso else []),
    ]
    if not all(figures.compares for figures in comparison.designs):
        notes.append("* does not compare: somebody is unserved, a limit is exceeded, or there is no result.")
    return " ".join(notes)


def _reasons(comparison: DesignComparison) -> str:
    known = [one for one in comparison.designs if one.reason]
    if not known:
        return ""
    return f"<ul>{''.join(f'<li>{escape(one.design)}: {escape(one.reason)}</li>' for one in known)}</ul>"


def _design_head(comparison: DesignComparison) -> list[str]:
    energy, money, price = f"{comparison.unit}h", comparison.currency, comparison.price_unit
    return [
        *("design", f"welfare, {money}" if money else "welfare"),
        *(f"{what}, {energy}" for what in ("among peers", "imported", "exported")),
        *(f"{what} price{f', {price}' if price else ''}" for what in ("lowest", "mean", "highest")),
        *("buyers bear", "winners", "losers", "peers unserved", f"unserved, {energy}", "bounds exceeded"),
    ]


def _design_rows(comparison: DesignComparison) -> Iterator[list[str]]:
    for one in comparison.designs:
        prices = (one.price_low, one.price_mean, one.price_high, one.price_borne)
        energies = (one.volume, one.imported, one.exported) if one.answered else ()
        known = any(gain.amount is not None for gain in one.gains)
        yield [
            one.design,
            "*" if one.welfare is None else f"{one.welfare:.7g}",
            *([f"{value:.6g}" for value in energies] or [""] * 3),
            *("" if price is None else f"{price:.6g}" for price in prices),
            *((str(one.winners), str(one.losers)) if known else ("", "")),
            *(str(one.unserved_peers), f"{one.unserved:.6g}", str(one.exceeded)),
        ]


def _peer_rows(comparison: DesignComparison) -> Iterator[list[str]]:
    gains = [{gain.peer: gain.amount for gain in one.gains} for one in comparison.designs]
    for peer in dict.fromkeys(peer for column in gains for peer in column):
        amounts = [column.get(peer) for column in gains]
        yield [peer, *("" if amount is None else _signed(amount) for amount in amounts)]


def _table(head: Sequence[str], rows: Iterator[list[str]]) -> str:
    columns = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "\n".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>\n<thead><tr>{columns}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _signed(amount: float) -> str:
    """An amount with its sign; nothing finer than a millionth of the currency, which is a solver's rounding."""
    return "0" if abs(amount) < 1e-6 else f"{amount:+.5g}"
