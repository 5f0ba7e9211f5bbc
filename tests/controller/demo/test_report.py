"""The report needs nothing but itself, is the same bytes each time, and draws in a real browser."""

import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from controller.demo.day import DayResult, DeviceEntry, DeviceKind, TradeTotal
from controller.demo.report import write_report
from controller.demo.report.formatting import clock_span, format_energy, format_money, format_price, runs, shorten

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

MTUS = 96
EVENING = range(44, 72)
PICTURES = ("picture-load", "picture-schedule", "picture-devices", "picture-trades", "picture-prices")
HOSTILE = "</script><script>window.hostile=1</script><img src=x onerror='window.hostile=1'>&%{x}$x$"
APPLIANCES = (
    ("electric vehicle", 3650, 52, 96, 24, 0.6),
    ("washing machine", 1500, 0, 68, 12, 0.8),
    ("pool pump", 2000, 24, 60, 30, 0.25),
    ("air conditioner", 1000, 52, 72, 16, 0.5),
)
"""Name, W, first MTU, end MTU, required MTUs, share of peers that own one."""


@dataclass
class Fleet:
    """Devices under construction."""

    devices: list[DeviceEntry] = field(default_factory=list)
    acted: dict[str, list[int]] = field(default_factory=dict)
    eager: dict[str, list[int]] = field(default_factory=dict)

    def add(
        self,
        peer: str,
        name: str,
        kind: DeviceKind,
        acted: list[int],
        *,
        eager: list[int] | None = None,
        window: tuple[int, int, int] | tuple[None, None, None] = (None, None, None),
    ) -> None:
        device_id = f"{peer}/{name.replace(' ', '-')}"
        self.acted[device_id] = acted
        self.eager[device_id] = acted if eager is None else eager
        first, end, required = window
        self.devices.append(
            {
                "id": device_id,
                "peer": peer,
                "kind": kind,
                "name": name,
                "power_w": max(abs(power) for power in acted),
                "first_mtu": first,
                "end_mtu": end,
                "required_mtus": required,
            }
        )


def synthetic_fleet(peers: list[str], rng: random.Random) -> Fleet:
    """Appliances in two blocks within their windows; PV at noon; batteries that carry it into the evening."""
    fleet = Fleet()
    for peer in peers:
        for name, power_w, first, end, required, share in APPLIANCES:
            if rng.random() < share:
                half = required // 2
                one = rng.randint(first, end - required)
                two = rng.randint(one + half, end - half)
                ran = {*range(one, one + half), *range(two, two + half)}
                fleet.add(
                    peer,
                    name,
                    "interruptible",
                    [power_w * (mtu in ran) for mtu in range(MTUS)],
                    eager=[power_w * (first <= mtu < first + required) for mtu in range(MTUS)],
                    window=(first, end, required),
                )
        if rng.random() < 0.3:
            peak = rng.randint(3000, 9000)
            sun = [max(0.0, math.sin((mtu - 8) / 32 * math.pi)) * (8 <= mtu <= 40) for mtu in range(MTUS)]
            fleet.add(peer, "photovoltaics", "curtailable", [-round(peak * share) for share in sun])
            stored = [peak // 3 * ((16 <= mtu < 32) - (48 <= mtu < 62)) for mtu in range(MTUS)]
            fleet.add(peer, "battery", "battery", stored, eager=[0] * MTUS)
    return fleet


def synthetic_trades(peers: list[str], rng: random.Random) -> list[TradeTotal]:
    sellers = peers[::4]
    return [
        {"seller": seller, "buyer": buyer, "energy_wh": energy, "amount_micro": energy * 62}
        for buyer in peers
        for seller in rng.sample(sellers, min(4, len(sellers)))
        if seller != buyer and (energy := round(rng.lognormvariate(7.5, 1)))
    ]


def synthetic_day(peers: int = 28, *, appliances: bool = True, trades: bool = True) -> DayResult:
    """A January day that hangs together well enough to be looked at; no model was asked."""
    rng = random.Random(7)
    names = [f"load-{number}" for number in range(1, peers + 1)]
    fleet = synthetic_fleet(names, rng) if appliances else Fleet()
    pairs = synthetic_trades(names, rng) if trades else []
    hours = [(6 + mtu / 4) % 24 for mtu in range(MTUS)]
    fixed = [round(peers * (380 + 420 * math.exp(-(((hour - 19) / 2.6) ** 2)))) for hour in hours]
    metered = [power + sum(acted[mtu] for acted in fleet.acted.values()) for mtu, power in enumerate(fixed)]
    before = [power + sum(eager[mtu] for eager in fleet.eager.values()) for mtu, power in enumerate(fixed)]
    limit = max(metered[mtu] for mtu in EVENING)
    free = [round(metered[mtu] * (1.25 if mtu < 60 else 0.9)) if mtu in EVENING else None for mtu in range(MTUS)]
    tariff = [95_000 if 13 <= hour < 23 else 60_000 for hour in hours]
    means = [(44_000 + price) // 2 if trades and mtu % 31 > 2 else None for mtu, price in enumerate(tariff)]
    return {
        "format": "gridpact.day.v1",
        "grid": "1-LV-rural1--2-sw",
        "day": "2016-01-20",
        "time_zone": "Europe/Berlin",
        "mtu_minutes": 15,
        "start": 1_453_266_000,
        "mtus": MTUS,
        "peers": [{"id": name, "section": "feeder-1", "profile": "H0-A"} for name in names],
        "devices": fleet.devices,
        "load": {
            "before_w": before,
            "without_limit_w": free,
            "scheduled_w": [power + rng.randint(-150, 0) for power in metered],
            "metered_w": metered,
            "upper_w": [limit if mtu in EVENING else 5714 * peers for mtu in range(MTUS)],
            "lower_w": [-5714 * peers] * MTUS,
        },
        "schedule": {name: list(acted) for name, acted in fleet.acted.items()},
        "acted": fleet.acted,
        "prices": {
            "import_micro_per_kwh": tariff,
            "export_micro_per_kwh": [39_000] * MTUS,
            "trade_mean_micro_per_kwh": means,
            "trade_min_micro_per_kwh": [mean and mean - rng.randint(500, 6000) for mean in means],
            "trade_max_micro_per_kwh": [mean and mean + rng.randint(500, 9000) for mean in means],
        },
        "trades": pairs,
        "ledger": [
            {
                "peer": name,
                "trades_micro": 3_100_000 - 20_000 * number,
                "network_charges_micro": 9_000,
                "imbalances_micro": -200,
                "uplifts_micro": 11_000 if number % 7 else -77_500,
            }
            for number, name in enumerate(names)
        ],
        "windows": [
            {
                "window": f"microgrids/rural1/windows/{number:02d}",
                "state": "ANCHORED",
                "gap": rng.uniform(0, 0.004),
                "trades": len(pairs),
            }
            for number in range(MTUS)
        ],
        "summary": {
            "traded_wh": sum(trade["energy_wh"] for trade in pairs),
            "neighbour_trades": 17 * len(pairs),
            "bill_before_micro": 97_200_000,
            "bill_tariff_micro": 88_110_000,
            "bill_micro": 84_100_000,
            "saved_micro": 13_100_000,
            "peak_before_w": max(before),
            "peak_scheduled_w": max(metered),
            "peak_metered_w": max(metered),
            "envelope_binding_mtus": 9,
            "evening_limit_w": limit,
            "peak_without_limit_w": max(power for power in free if power is not None),
            "switchings": 412,
            "devices_driven": len(fleet.devices),
            "imbalance_wh": 37,
            "uplift_micro": 310_000,
            "uplift_members": 4,
            "gas_per_window": 48_812,
            "gas_per_trade": 612.4,
            "root": "0x" + "5ac1" * 16,
            "currency": "EUR",
        },
        "checks": [
            {
                "name": "energy balances in every interval",
                "passed": True,
                "detail": "96 of 96, 0 Wh left over",
            },
            {"name": "postings sum to zero", "passed": True, "detail": "96 windows, 3,412 postings"},
            {"name": "no setpoint crosses the envelope", "passed": True, "detail": "tightest at 18:15"},
            {"name": "devices kept their minimum times", "passed": True, "detail": "412 switchings"},
            {"name": "each window is anchored once", "passed": True, "detail": "96 anchors"},
            {"name": "the day verifies from its root", "passed": True, "detail": "0 failures"},
        ],
    }


def hostile_day() -> DayResult:
    """A day in which words of every kind that came from outside are an attack."""
    text = json.dumps(synthetic_day())
    words = ("load-1", "electric vehicle", "1-LV-rural1--2-sw", "postings sum to zero", "ANCHORED", "EUR")
    for word in (*words, "412 switchings", "microgrids/rural1"):
        text = text.replace(f'"{word}', f'"{HOSTILE}')
    day: DayResult = json.loads(text)
    return day


DAYS = {
    "28 peers": synthetic_day(),
    "153 peers": synthetic_day(153),
    "nothing to trade or move": synthetic_day(appliances=False, trades=False),
    "hostile words": hostile_day(),
}


class Loads(HTMLParser):
    """Everything that a page would fetch by itself, and its text without scripts and style."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._inside = tag
        for name, value in attrs:
            fetches = name in {"src", "srcset", "href", "data", "poster", "action", "background"}
            if fetches and not (value or "").startswith("data:"):
                self.fetched.append(f"{tag} {name}={value}")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            self.fetched += re.findall(r"@import[^;]*|url\((?!data:)[^)]*\)", data)
        elif self._inside != "script":
            self.text += data


def read(page: str) -> Loads:
    parser = Loads()
    parser.feed(page)
    return parser


def written(day: DayResult, path: Path) -> str:
    write_report(day, path)
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", DAYS)
def test_page_fetches_nothing_and_carries_plotly_once(name: str, tmp_path: Path) -> None:
    page = written(DAYS[name], tmp_path / "report.html")
    parsed = read(page)
    assert parsed.fetched == []
    assert parsed.tags.count("script") == 3
    assert page.count("Plotly, Inc.") == 1
    assert "default-src 'none'" in page


@pytest.mark.parametrize(
    "markup",
    [
        '<img src="https://a.example/b.png">',
        "<script src='a.js'></script>",
        "<style>a{background:url(b)}</style>",
    ],
)
def test_a_page_that_fetches_something_is_noticed(markup: str) -> None:
    assert read(markup).fetched


def test_same_day_is_the_same_bytes_under_any_hash_seed_and_time_zone(tmp_path: Path) -> None:
    script = (
        "import json, sys; from pathlib import Path; from controller.demo.report import write_report;"
        "write_report(json.load(sys.stdin), Path(sys.argv[1]))"
    )
    for seed, zone in (("1", "Asia/Tokyo"), ("2", "America/Lima")):
        subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / seed)],
            input=json.dumps(DAYS["28 peers"]),
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone},
            cwd=Path(__file__).parents[3],
            text=True,
            check=True,
        )
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_hostile_words_stay_words(tmp_path: Path) -> None:
    parsed = read(written(DAYS["hostile words"], tmp_path / "report.html"))
    assert "img" not in parsed.tags
    assert f"A day in the microgrid {HOSTILE}: 20 January 2016" in parsed.text


def test_every_attribute_of_a_picture_is_one_that_plotly_knows(tmp_path: Path) -> None:
    from plotly.graph_objects import Figure

    for name, day in DAYS.items():
        for picture in pictures_in(written(day, tmp_path / f"{name}.html")):
            for layout in (picture["wide"], picture["narrow"]):
                Figure({"data": picture["traces"], "layout": layout})


def pictures_in(page: str) -> list[dict[str, object]]:
    match = re.search(r'<script type="application/json" id="pictures">(.*?)</script>', page)
    assert match is not None
    drawn: list[dict[str, object]] = json.loads(match[1])
    return drawn


def test_a_failed_check_is_said_first_and_in_words(tmp_path: Path) -> None:
    day = synthetic_day()
    day["checks"][3]["passed"] = False
    text = read(written(day, tmp_path / "report.html")).text
    assert "1 of 6 failed" in text
    assert text.index("✗ failedDevices kept their minimum times") < text.index("✓ passedEnergy balances")


def test_the_ledger_says_how_to_read_its_signs_and_has_no_nothing_from_below(tmp_path: Path) -> None:
    day = synthetic_day()
    day["ledger"][0] |= {"trades_micro": -4_000, "network_charges_micro": 4_999, "imbalances_micro": 0}
    text = read(written(day, tmp_path / "report.html")).text
    start = text.index("What each peer paid")
    ledger = text[start : text.index("Every dispatch window")]
    assert "Positive is paid, negative is received." in ledger
    assert "An uplift makes whole a peer that would have paid more than alone" in ledger
    assert "Amounts are rounded" in ledger
    assert "0.00 EUR" in ledger
    assert not re.search(r"[-−]0\.00\b", ledger)


def test_checks_say_that_meters_may_stray(tmp_path: Path) -> None:
    text = read(written(synthetic_day(), tmp_path / "report.html")).text
    said = text.index("Schedules and setpoints are checked against the grid operator's limits")
    assert text.index("Checks all 6 passed") < said < text.index("✓ passed")


def test_a_load_outside_its_envelope_is_said(tmp_path: Path) -> None:
    day = synthetic_day()
    assert "stays inside the envelope all day" in read(written(day, tmp_path / "kept.html")).text
    day["load"]["metered_w"][50] = day["load"]["upper_w"][50] + 1
    text = read(written(day, tmp_path / "left.html")).text
    assert "was carried past the grid operator's limits by forecast errors in 1 quarter-hour." in text
    assert "left the envelope in 1 quarter-hour." in text


def test_the_lower_limit_is_drawn_once_the_load_comes_near_it(tmp_path: Path) -> None:
    day = synthetic_day()
    assert "lies below the picture" in read(written(day, tmp_path / "far.html")).text
    day["load"]["lower_w"] = [2 * min(day["load"]["before_w"]) + 1] * MTUS
    page = written(day, tmp_path / "near.html")
    assert "lies below the picture" not in read(page).text
    assert '"name":"lower limit"' in page


def test_a_planned_run_that_did_not_happen_is_outlined(tmp_path: Path) -> None:
    day = synthetic_day()
    device = day["devices"][0]["id"]
    assert "did not happen" not in read(written(day, tmp_path / "ran.html")).text
    day["acted"][device] = [0] * MTUS
    assert "planned runs that did not happen" in read(written(day, tmp_path / "missed.html")).text


def test_wall_clock_repeats_the_hour_in_which_summer_time_ends() -> None:
    day = synthetic_day()
    day["start"], day["mtus"] = 1_477_713_600, 100
    assert [clock_span(day, mtu, mtu + 1) for mtu in (0, 80, 84, 88, 99)] == [
        "06:00–06:15",
        "02:00–02:15",
        "02:00–02:15",
        "03:00–03:15",
        "05:45–06:00",
    ]


def test_numbers_are_written_for_people() -> None:
    assert format_energy(-2500) == "−2.5 kWh"
    assert format_energy(1_780_600) == "1,781 kWh"
    assert format_money(-1_250_000, "EUR") == "−1.25 EUR"
    assert format_money(-4_999, "EUR") == "0.00 EUR"
    assert format_price(-40.0, "EUR") == "0.00 ct/kWh"
    assert shorten("substation-north-17", 12) == "substa…th-17"
    assert runs([True, False, True, True]) == [(0, 1), (2, 4)]


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    found = (
        os.environ.get("GRIDPACT_CHROMIUM"),
        *map(shutil.which, ("chromium", "chromium-browser", "google-chrome")),
    )
    executable = next(filter(None, found), None)
    if executable is None:
        reason = "no Chromium: got neither $GRIDPACT_CHROMIUM nor chromium or google-chrome on the path"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    flags = ("no-sandbox", "disable-gpu", "disable-background-networking", "disable-component-update")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=executable,
            args=["--headless", *(f"--{flag}" for flag in flags), "--disable-sync", "--no-first-run"],
        )
        yield chromium
        chromium.close()


@dataclass
class Troubles:
    """Everything that a page did and should not have done."""

    seen: list[str] = field(default_factory=list)

    def watch(self, page: "Page", url: str) -> None:
        page.on("console", lambda message: self.seen.append(f"console {message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.seen.append(f"error: {error}"))
        page.on("requestfailed", lambda request: self.seen.append(f"failed: {request.url[:200]}"))
        page.on(
            "request",
            lambda request: (
                None if request.url == url or request.url.startswith("data:") else self.seen.append(request.url)
            ),
        )


DRAWN = """() => Object.fromEntries([...document.querySelectorAll(".plot")].map(plot => {
  const real = element => {
    const box = element.getBoundingClientRect();
    const style = getComputedStyle(element);
    const drawn = element.tagName === "image" || element.getAttribute("d");
    const clear = style.visibility === "hidden" || style.opacity === "0";
    const flat = element.classList.contains("js-line");  // a level line has no height
    return drawn && !clear && (flat ? box.width + box.height > 3 : box.width > 0 && box.height > 0);
  };
  const count = selector => [...plot.querySelectorAll(selector)].filter(real).length;
  const box = plot.querySelector(".main-svg").getBoundingClientRect();
  return [plot.id, {
    width: box.width, height: box.height, alt: plot.getAttribute("aria-label"),
    lines: [...plot.querySelectorAll(".scatterlayer .trace")].filter(
      trace => [...trace.querySelectorAll("path.js-line, path.js-fill")].some(real)).length,
    bars: count(".barlayer .point path"), images: count(".heatmaplayer image"),
    words: [...plot.querySelectorAll("text")].map(text => text.textContent).join(" "),
  }];
}))"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "width"),
    [(name, 1280) for name in DAYS] + [(name, 390) for name in ("28 peers", "153 peers", "hostile words")],
)
def test_every_picture_draws_without_a_word_to_the_network(
    browser: "Browser", name: str, width: int, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    write_report(DAYS[name], path)
    page = browser.new_page(viewport={"width": width, "height": 900})
    troubles = Troubles()
    troubles.watch(page, path.as_uri())
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-drawn]")
    drawn = page.evaluate(DRAWN)
    overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    hostile = page.evaluate("window.hostile")
    page.close()

    assert troubles.seen == []
    assert overflow <= 0
    assert hostile is None
    expected = expected_marks(DAYS[name])
    assert drawn.keys() == expected.keys()
    for picture, marks in expected.items():
        got = drawn[picture]
        assert got["width"] > 0.8 * min(width, 1100), picture
        assert got["height"] >= 300, picture
        assert got["alt"], picture
        assert {kind: got[kind] for kind in marks} == marks, picture
    assert all(hour in drawn["picture-load"]["words"] for hour in ("06:00", "18:00", "21 Jan"))
    assert "negative is feeding in" in drawn["picture-load"]["words"]


def expected_marks(day: DayResult) -> dict[str, dict[str, int]]:
    """What must be visible in each picture of the day, counted from the day itself."""
    acted = day["acted"]
    movable = [device for device in day["devices"] if device["kind"] == "interruptible"]
    nonzero = sum(
        any(acted[device["id"]][mtu] for device in day["devices"] if device["kind"] == kind)
        for kind in ("interruptible", "battery", "curtailable")
        for mtu in range(MTUS)
    )
    ran = sum(len(runs([power > 0 for power in acted[device["id"]]])) for device in movable)
    over = any(power > limit for power, limit in zip(day["load"]["before_w"], day["load"]["upper_w"], strict=True))
    marks = {
        "picture-load": {"lines": 5 + over},
        "picture-schedule": {"bars": len(movable) + ran},
        "picture-devices": {"bars": nonzero},
        "picture-trades": {"images": 1},
        "picture-prices": {"lines": 4 if day["trades"] else 2},
    }
    absent = set() if movable else {"picture-schedule", "picture-devices"}
    absent |= set() if day["trades"] else {"picture-trades"}
    return {picture: marks[picture] for picture in PICTURES if picture not in absent}


@pytest.mark.slow
def test_a_page_that_misbehaves_is_noticed(browser: "Browser", tmp_path: Path) -> None:
    path = tmp_path / "bad.html"
    path.write_text("<img src='gone.png'><script>console.error('oh'); throw new Error('no')</script>")
    page = browser.new_page()
    troubles = Troubles()
    troubles.watch(page, path.as_uri())
    page.goto(path.as_uri())
    page.close()
    assert {entry.split(":")[0] for entry in troubles.seen} >= {"console error", "error", "failed"}
