"""The answers that a case brings along: reading them, and comparing a result with them."""

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, TypedDict

import numpy as np

from controller.case.fields import check_fields, number
from controller.case.format import BILATERAL, WATTS, Case, Expected
from controller.case.result import Result
from controller.demo.strict import Reader
from controller.errors import InputError
from optimization.community import Floats
from optimization.market import LARGEST, Market

TOLERANCE = 1e-6
"""Relative, of a value against the answer."""

DIGITS = 6
"""An answer written with so many significant digits or more counts as rounded at the last one."""

TRADES = 1e-6
"""Of the largest power: a peer that bought or sold less than this has no price as a buyer or a seller."""

SCENARIO = ("fee_per_side", "link_limit", "market", "published", "note", "source")
BUYERS = ("price_buyer", "price_buyers", "price_buy")
SELLERS = ("price_seller", "price_sellers", "price_sell")
QUANTITY = re.compile(r"(produced|traded)(?:_(w|kw|mw|gw))?")
WARM_START = "warm_start_at_optimum_iterations"
TOTALS = ("objective", "welfare", WARM_START)
PRICES = ("price", "uniform_price", *BUYERS, *SELLERS)
NAMES = (*TOTALS, *PRICES, "powers", "prices", "produced", "traded")


class Comparison(TypedDict):
    """One value beside its answer; of several, the one farthest off."""

    key: str
    wanted: float
    got: float | None
    ok: bool


def read_expected(reader: Reader, market: Market, fee_per_side: float) -> tuple[Expected, ...]:
    """The answers of a case."""
    if not reader.has("expected"):
        return ()
    return tuple(_entry(item, market, fee_per_side) for item in reader.field("expected").items())


def _entry(reader: Reader, market: Market, fee_per_side: float) -> Expected:
    entries = reader.entries()
    quantities = [name for name in entries if QUANTITY.fullmatch(name)]
    check_fields(reader, (*SCENARIO, *NAMES, *quantities))
    answers: dict[str, Any] = {}
    for name, entry in entries.items():
        if name in SCENARIO:
            continue
        if name in {"powers", "prices"}:
            answers[name] = _of_peers(entry, market)
        elif name in TOTALS:
            answers[name] = number(entry, lower=-(LARGEST**2), upper=LARGEST**2)
        else:
            answers[name] = _value(entry, market.mtus)
    return Expected(
        fee_per_side=entries["fee_per_side"].number() if "fee_per_side" in entries else fee_per_side,
        link_limit=entries["link_limit"].number() if "link_limit" in entries else np.inf,
        market=entries["market"].text() if "market" in entries else BILATERAL,
        answers=answers,
    )


def _of_peers(reader: Reader, market: Market) -> dict[str, Any]:
    """Values by peer: an object, or a list in the order of the peers. Powers may be given for each asset."""
    if isinstance(reader.value, list):
        items = reader.items()
        if len(items) != len(market.peers):
            raise InputError(f"{reader.place}: got {len(items)} values, wanted {len(market.peers)}, one for each peer")
        return {peer: _value(item, market.mtus) for peer, item in zip(market.peers, items, strict=True)}
    values: dict[str, Any] = {}
    for peer, item in reader.entries().items():
        if peer not in market.peers:
            raise InputError(f"{reader.place}: got peer {peer!r}, wanted peers of the case")
        nested = isinstance(item.value, dict)
        values[peer] = (
            {asset: _value(value, market.mtus) for asset, value in item.entries().items()}
            if nested
            else _value(item, market.mtus)
        )
    return values


def _value(reader: Reader, mtus: int) -> float | list[float]:
    if not isinstance(reader.value, list):
        return number(reader, lower=-(LARGEST**2), upper=LARGEST**2)
    items = reader.items()
    if len(items) != mtus:
        raise InputError(f"{reader.place}: got {len(items)} values, wanted one number, or {mtus}, one for each MTU")
    return [number(item, lower=-(LARGEST**2), upper=LARGEST**2) for item in items]


def compare(
    case: Case, expected: Expected, result: Result, *, tolerance: float, warm_start: Callable[[], int] | None
) -> list[Comparison]:
    """A result beside the answers to its scenario.

    Parameters
    ----------
    case : the case
    expected : answers
    result : what was found, in the case's own sign
    tolerance : relative
    warm_start : counts the iterations from the optimum; None where the solver does not start from anything
    """
    comparisons = []
    for key, wanted in expected.answers.items():
        if key == WARM_START:
            if warm_start is not None:
                comparisons += [_compared(key, wanted, np.array(float(warm_start())), tolerance)]
            continue
        for name, value, got in _pairs(case, key, wanted, result):
            comparisons.append(_compared(name, value, got, tolerance))
    return comparisons


def _pairs(case: Case, key: str, wanted: Any, result: Result) -> Iterator[tuple[str, Any, Floats]]:
    """(name, answer, values) of one answer; the values of shape () or (T,), or (any, T) that should all equal it."""
    if (quantity := QUANTITY.fullmatch(key)) is not None:
        unit = next((unit for unit in WATTS if unit.lower() == quantity[2]), case.unit)
        sold = np.maximum(result.net_sold, 0.0).sum(axis=0)
        total = result.produced(case.injection) if quantity[1] == "produced" else sold
        yield key, wanted, total * (WATTS[case.unit] / WATTS[unit])
    elif key in {"objective", "welfare"}:
        total = np.nan if result.objective is None else result.objective
        yield key, wanted, np.array(total if key == "objective" else -total)
    elif key in PRICES:
        yield key, wanted, _prices(key, result)
    else:
        for peer, value in wanted.items():
            yield from _of_peer(key, peer, value, result)


def _of_peer(key: str, peer: str, wanted: Any, result: Result) -> Iterator[tuple[str, Any, Floats]]:
    if key == "prices":
        yield f"prices.{peer}", wanted, result.price[result.peers.index(peer)]
        return
    powers = result.powers.get(peer, {})
    if not isinstance(wanted, Mapping):
        yield f"powers.{peer}", wanted, sum(powers.values(), np.zeros(result.mtus))
        return
    for asset, value in wanted.items():
        yield f"powers.{peer}.{asset}", value, powers.get(asset, np.full(result.mtus, np.nan))


def _prices(key: str, result: Result) -> Floats:
    """(any, T) prices of all peers, or of those that sell or buy in at least one MTU; NaN where a peer does not."""
    if key in BUYERS or key in SELLERS:
        sold = result.net_sold if key in SELLERS else -result.net_sold
        trading = sold > TRADES * max(1e-9, float(np.abs(sold).max(initial=0.0)))
        return np.where(trading, result.price, np.nan)
    return result.price


def _compared(key: str, wanted: Any, got: Floats, tolerance: float) -> Comparison:
    """The value that is farthest off; NaN is no value, and none at all is wrong."""
    answers, values = np.broadcast_arrays(np.asarray(wanted, dtype=np.float64), got)
    there = ~np.isnan(values)
    if not there.any():
        return Comparison(key=key, wanted=float(answers.flat[0]), got=None, ok=False)
    off = np.where(there, np.abs(values - answers) - _allowed(answers, tolerance), -np.inf)
    worst = int(np.argmax(off))
    return Comparison(
        key=key, wanted=float(answers.flat[worst]), got=float(values.flat[worst]), ok=bool(off.flat[worst] <= 0)
    )


def _allowed(answers: Floats, tolerance: float) -> Floats:
    """How far a value may be from its answer: what rounding the answer lost, where it looks rounded, counts too."""
    allowed = tolerance * np.abs(answers)
    rounding = np.array([_half_unit(float(answer)) for answer in answers.flat]).reshape(answers.shape)
    # An answer of nothing has no size for a tolerance to be relative to.
    return np.asarray(np.where(answers == 0, tolerance, np.maximum(allowed, rounding)), dtype=np.float64)


def _half_unit(answer: float) -> float:
    digits = Decimal(repr(answer)).as_tuple()
    significant = len("".join(map(str, digits.digits)).rstrip("0"))
    if significant < DIGITS or not isinstance(digits.exponent, int):
        return 0.0
    return 0.5 * 10.0**digits.exponent
