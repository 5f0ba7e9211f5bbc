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
svg {{ width: 100%; height: auto; }}
h2 {{ font-size: 17px; margin: 28px 0 6px; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13.5px; }}
th, td {{ padding: 3px 14px 3px 0; text-align: right; border-bottom: 1px solid #dfe5ea; vertical-align: top; }}
th:first-child, td:first-child {{ text-align: left; white-space: nowrap; }}
.designs th:last-child, .designs td:last-child {{ text-align: left; min-width: 260px; }}
p {{ margin: 4px 0 10px; color: #66727e; }}
</style>
</head>
<body>
{picture}
<h2>The designs</h2>
<p>{designs_note}</p>
<div class="wide designs">{designs}</div>
<h2>What each peer gains</h2>
<p>{baseline}</p>
<div class="wide">{peers}</div>
</body>
</html>
"""


def _baseline_note(comparison: DesignComparison) -> str:
    if not comparison.baseline:
        return "No design serves everybody, so nobody's costs compare."
    return (
        f"Against {comparison.baseline}, in the case's currency. Empty where one of the two leaves the peer unserved: "
        "then its costs do not compare."
    )


def _designs_note(comparison: DesignComparison) -> str:
    prices = "Prices are those among peers or with the pool, without fees."
    if all(figures.status == "cleared" for figures in comparison.designs):
        return prices
    return f"{prices} * leaves out what is unserved, and does not compare."


def _design_head(comparison: DesignComparison) -> list[str]:
    energy = f"{comparison.unit}h"
    return [
        *("design", "welfare", f"among peers, {energy}", f"imported, {energy}", f"exported, {energy}"),
        *("lowest price", "mean price", "highest price", "winners", "losers", f"unserved, {energy}", "bounds exceeded"),
        "note",
    ]


def _design_rows(comparison: DesignComparison) -> Iterator[list[str]]:
    for one in comparison.designs:
        prices = (one.price_low, one.price_mean, one.price_high)
        yield [
            one.design,
            "" if one.welfare is None else f"{one.welfare:.7g}{'' if one.status == 'cleared' else ' *'}",
            *(f"{value:.6g}" for value in (one.volume, one.imported, one.exported)),
            *("" if price is None else f"{price:.6g}" for price in prices),
            *(str(one.winners), str(one.losers), f"{one.unserved:.6g}", str(one.exceeded), one.reason),
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
