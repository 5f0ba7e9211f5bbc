"""Invoices: the ledger's own lines put together, and the page that shows them."""

from dataclasses import replace
from datetime import date
from html.parser import HTMLParser

import pytest

from controller.cli import main
from controller.invoice_page import money, render
from controller.invoices import NEIGHBOURS, Invoice, InvoiceLine, OwnLine, Reference, days_of, lines_of
from controller.microgrid import Trade
from tests.controller.village import START, calendar

VILLAGE = calendar("village")
WINDOW = "microgrids/village/windows/20260302T060000Z"


def own(index, kind, reference, amount, *, run=0, start=START, window=WINDOW):
    return OwnLine(
        window=window,
        index=index,
        start=start,
        end=start + 1800,
        kind=kind,
        reference=reference,
        amount_micro=amount,
        run=run,
    )


def bought(energy=100, price=50_000, seller="bob", mtu=0):
    return Trade(seller=seller, buyer="ada", mtu_start=START + 900 * mtu, energy_wh=energy, price_micro_per_kwh=price)


def lines(every, trades=(), **options):
    known = {(WINDOW, ix): one for ix, one in enumerate(trades)}
    return lines_of(VILLAGE, "ada", every, known, **{"by_mtu": False} | options)


class TestLines:
    def test_what_a_day_has_of_a_kind_is_one_line_with_its_energy_and_average_price(self):
        (line,) = lines(
            [own(1, "TRADE", "trade 0", -5000), own(4, "TRADE", "trade 1", -18_000)],
            [bought(), bought(300, 60_000, mtu=1)],
        )
        day = days_of(date(2026, 3, 2), date(2026, 3, 2), "Europe/Berlin")
        assert (line.start, line.end, line.counterpart, line.sold) == (*day, NEIGHBOURS, False)
        assert (line.energy_wh, line.price_micro_per_kwh, line.amount_micro) == (400, 57_500, -23_000)
        assert line.references == (Reference(window=WINDOW, postings=(1, 4)),)

    def test_each_mtu_is_a_line_where_that_is_asked_for(self):
        found = lines(
            [
                own(1, "TRADE", "trade 0", -5000),
                own(4, "TRADE", "trade 1", -18_000),
                own(5, "IMBALANCE", f"ada {START + 900}", 3),
                own(6, "UPLIFT", "uplift", 7),
            ],
            [bought(), bought(300, 60_000, mtu=1)],
            by_mtu=True,
        )
        assert [(line.kind, line.start - START, line.end - START) for line in found] == [
            ("TRADE", 0, 900),
            ("UPLIFT", 0, 1800),
            ("TRADE", 900, 1800),
            ("IMBALANCE", 900, 1800),
        ]

    def test_sides_and_counterparts_are_lines_of_their_own(self):
        sold = Trade(seller="ada", buyer="bob", mtu_start=START, energy_wh=10, price_micro_per_kwh=1)
        found = lines(
            [own(k, "TRADE", f"trade {k}", 1) for k in range(3)] + [own(3, "NETWORK_CHARGE", "trade 0", -1)],
            [bought(), bought(seller="grid"), sold],
        )
        assert [(line.kind, line.counterpart, line.sold) for line in found] == [
            ("TRADE", "grid", False),
            ("TRADE", NEIGHBOURS, False),
            ("TRADE", NEIGHBOURS, True),
            ("NETWORK_CHARGE", NEIGHBOURS, False),
        ]

    def test_corrections_stand_apart_at_the_time_of_what_they_correct(self):
        imbalance = f"ada {START + 900}"
        found = lines(
            [
                own(2, "IMBALANCE", imbalance, -70),
                own(8, "IMBALANCE", "reverses 2", 70, run=1),
                own(9, "IMBALANCE", imbalance, -50, run=1),
                own(12, "IMBALANCE", "reverses 9", 50, run=2),
            ],
            by_mtu=True,
        )
        assert [(one.correction, one.start - START, one.amount_micro) for one in found] == [
            (False, 900, -70),
            (True, 900, 70),
        ]

    def test_days_are_local_ones_and_as_long_as_they_are(self):
        lengths = [
            end - start
            for start, end in (days_of(day, day, "Europe/Berlin") for day in (date(2026, 3, 29), date(2026, 10, 25)))
        ]
        assert lengths == [23 * 3600, 25 * 3600]

    def test_nothing_is_lost(self):
        every = [own(k, kind, "uplift", 10**k) for k, kind in enumerate(("UPLIFT", "FEE", "TAX", "SOMETHING", "FEE"))]
        assert sum(line.amount_micro for line in lines(every)) == 11_111


def invoice(*shown, **changes):
    start, end = days_of(date(2026, 3, 2), date(2026, 3, 2), "Europe/Berlin")
    whole = Invoice(
        member="microgrids/village/members/ada",
        currency="EUR",
        time_zone="Europe/Berlin",
        start=start,
        end=end,
        lines=shown,
        total_micro=sum(line.amount_micro for line in shown),
        unsettled=0,
        created=end,
    )
    return replace(whole, **changes)


LINE = InvoiceLine(
    kind="TRADE",
    start=START,
    end=START + 900,
    counterpart="grid",
    sold=False,
    energy_wh=1234,
    price_micro_per_kwh=60_000,
    amount_micro=-74_040,
    correction=False,
    references=(Reference(window=WINDOW, postings=(3, 5)),),
)


class Page(HTMLParser):
    """The tags and the words of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.words.append(data)


class TestPage:
    def test_it_says_what_is_owed_when_and_for_what_in_local_time(self):
        page = Page(render(invoice(LINE)))
        assert "To pay: EUR 0.074040" in page.text
        assert "2026-03-02 07:00–07:15 CET Bought from the grid 1.234 0.060000 0.074040" in page.text
        assert "20260302T060000Z: 3, 5" in page.text

    def test_who_is_owed_is_told_so_and_corrections_are_marked(self):
        page = Page(render(invoice(replace(LINE, kind="IMBALANCE", amount_micro=5, correction=True))))
        assert "To receive: EUR 0.000005" in page.text
        assert "Imbalance later correction" in page.text

    def test_what_is_missing_is_said(self):
        assert "2 windows that have begun are not settled yet" in Page(render(invoice(unsettled=2))).text
        assert "Nothing in these days." in Page(render(invoice())).text

    def test_a_day_is_written_as_one(self):
        day = invoice()
        assert "2026-03-02 Bought" in Page(render(invoice(replace(LINE, start=day.start, end=day.end)))).text

    def test_nothing_is_loaded_and_nothing_runs_whatever_names_hold(self):
        evil = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
        page = render(
            invoice(
                replace(LINE, kind=evil, counterpart=evil, references=(Reference(window=evil, postings=(1,)),)),
                member=evil,
                currency=evil,
            )
        )
        assert {"script", "img", "link", "iframe"}.isdisjoint(Page(page).tags)
        assert "default-src 'none'" in page
        assert "alert(1)" in Page(page).text

    @pytest.mark.parametrize(
        ("micro", "text"), [(0, "0.000000"), (-1, "−0.000001"), (1_234_567_890, "1,234.567890"), (10**18, None)]
    )
    def test_money_is_exact(self, micro, text):
        assert money(micro) == (text or "1,000,000,000,000.000000")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "days: got neither or both"),
        (("--month", "2026-03", "--from", "2026-03-01", "--to", "2026-03-02"), "days: got neither or both"),
        (("--from", "2026-03-01"), "days: got neither or both"),
        (("--month", "2026-13"), "--month: got '2026-13', wanted YYYY-MM"),
        (("--month", "2026-03"), "none/operator.pem: cannot be read"),
        (("--month", "2026-03", "--timeout", "0"), "--timeout: got 0.0, wanted more than 0"),
    ],
)
def test_bad_options_are_one_line(tmp_path, monkeypatch, capsys, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    assert main(["invoice", "--listen", "localhost:1", "--pki", "none", "--member", "ada", *arguments]) == 2
    written = capsys.readouterr()
    assert written.err.startswith(f"gridpact invoice: {complaint}")
    assert (written.out, written.err.count("\n")) == ("", 1)
