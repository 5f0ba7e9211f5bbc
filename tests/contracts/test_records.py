from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from contracts.books import round_half_even, traded_energy_wh, turnover_micro
from contracts.errors import EvidenceError
from contracts.hashing import keccak
from contracts.header import WindowHeader, anchor_key
from contracts.leaves import PostingLeaf, ReadingLeaf, TradeLeaf
from contracts.records import Record

TRADE = TradeLeaf(
    window="microgrids/rural1/windows/20161019T040000Z",
    index=3,
    seller="anna",
    buyer="bert",
    mtu_start=1476849600,
    energy_wh=125,
    price_micro_per_kwh=-180_000,
    salt=bytes(range(32)),
)
READING = ReadingLeaf(
    window="w",
    index=0,
    meter="meters/anna",
    instant=1476850500,
    import_wh=1000,
    export_wh=0,
    quality="measured",
    salt=bytes(32),
)
POSTING = PostingLeaf(window="w", index=0, account="anna", kind="energy", reference="", amount_micro=-5, salt=bytes(32))
HEADER = WindowHeader(
    microgrid="microgrids/rural1",
    window="w",
    window_start=1476849600,
    window_end=1476850500,
    run=0,
    previous=bytes(32),
    inputs_digest=b"\x01" * 32,
    trades_root=b"\x02" * 32,
    trades_count=1,
    settlement_root=b"\x03" * 32,
    readings_count=1,
    postings_count=2,
    traded_energy_wh=125,
    turnover_micro=-22_500,
)
RECORDS: list[Any] = [TRADE, READING, POSTING, HEADER]
FIELDS = [(record, name) for record in RECORDS for name in record.columns()]


def altered(value: int | str | bytes) -> int | str | bytes:
    match value:
        case int():
            return value + 1
        case str():
            return value + "x"
        case bytes():
            return bytes([value[0] ^ 1, *value[1:]])


def test_a_leaf_is_the_double_hash_that_openzeppelin_makes() -> None:
    types = ["string", "string", "uint64", "string", "string", "uint64", "uint64", "int64", "bytes32"]
    values = ["gridpact.trade.v1", *(getattr(TRADE, name) for name in TRADE.columns())]
    assert TRADE.hash == keccak(keccak(encode(types, values)))


def test_a_header_is_hashed_once_with_its_schema() -> None:
    values = ["gridpact.header.v1", *(getattr(HEADER, name) for name in HEADER.columns())]
    assert HEADER.hash == keccak(encode(HEADER.abi_types(), values))


def test_an_anchor_key_depends_on_microgrid_start_and_run() -> None:
    keys = {
        HEADER.anchor_key,
        anchor_key("microgrids/rural2", HEADER.window_start, 0),
        anchor_key(HEADER.microgrid, HEADER.window_start + 1, 0),
        anchor_key(HEADER.microgrid, HEADER.window_start, 1),
    }
    assert len(keys) == 4


@pytest.mark.parametrize(("record", "name"), FIELDS)
def test_every_field_changes_the_hash(record: Any, name: str) -> None:
    if name != "schema":
        assert replace(record, **{name: altered(getattr(record, name))}).hash != record.hash


@pytest.mark.parametrize("record", RECORDS)
def test_json_gives_the_record_back(record: Record) -> None:
    assert type(record).from_json(record.to_json()) == record


@pytest.mark.parametrize(("record", "name"), FIELDS)
def test_a_missing_field_is_named(record: Record, name: str) -> None:
    fields = record.to_json()
    del fields[name]
    with pytest.raises(EvidenceError, match=f"field '{name}'.*missing"):
        type(record).from_json(fields)


@pytest.mark.parametrize(("record", "name"), FIELDS)
@pytest.mark.parametrize("wrong", [None, True, 1.0, [], {}, "\ud800", -(2**70), 2**70])
def test_a_mistyped_field_is_named(record: Record, name: str, wrong: object) -> None:
    with pytest.raises(EvidenceError, match=f"field '{name}'"):
        type(record).from_json({**record.to_json(), name: wrong})


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(EvidenceError, match="field 'colour'"):
        TradeLeaf.from_json({**TRADE.to_json(), "colour": "green"})


@pytest.mark.parametrize("text", ["0x", "00" * 32, "0x" + "AB" * 32, "0x" + "0" * 63, "0x" + "٠" * 64])
def test_a_salt_has_one_spelling(text: str) -> None:
    with pytest.raises(EvidenceError, match="field 'salt'"):
        TradeLeaf.from_json({**TRADE.to_json(), "salt": text})


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("index", -1),
        ("index", True),
        ("energy_wh", -1),
        ("energy_wh", 10**12 + 1),
        ("energy_wh", 1.0),
        ("price_micro_per_kwh", 10**9 + 1),
        ("price_micro_per_kwh", -(10**9) - 1),
        ("salt", bytes(31)),
        ("salt", "0x" + "00" * 32),
        ("seller", ""),
        ("seller", "a\nb"),
        ("seller", "a" * 256),
    ],
)
def test_construction_refuses_what_is_out_of_bounds(name: str, wrong: object) -> None:
    with pytest.raises(EvidenceError, match=f"field '{name}'"):
        replace(TRADE, **{name: wrong})


def test_bounds_themselves_are_allowed() -> None:
    extreme = replace(TRADE, energy_wh=10**12, price_micro_per_kwh=-(10**9))
    assert TradeLeaf.from_json(extreme.to_json()).hash == extreme.hash


def test_a_window_ends_after_its_start() -> None:
    with pytest.raises(EvidenceError, match="field 'window_end'"):
        replace(HEADER, window_end=HEADER.window_start)


def test_trades_with_the_grid_count_in_no_total() -> None:
    trades = [TRADE, replace(TRADE, seller="grid"), replace(TRADE, buyer="grid")]
    assert traded_energy_wh(trades) == 125
    assert turnover_micro(trades) == -22_500


@given(st.integers(min_value=-(10**20), max_value=10**20))
def test_rounding_is_half_to_even(numerator: int) -> None:
    from fractions import Fraction

    assert round_half_even(numerator, 1000) == round(Fraction(numerator, 1000))


@pytest.mark.parametrize(("energy_wh", "turnover"), [(1, 0), (3, 2), (5, 2), (7, 4)])
def test_each_trade_is_rounded_on_its_own(energy_wh: int, turnover: int) -> None:
    half = replace(TRADE, energy_wh=energy_wh, price_micro_per_kwh=500)
    assert turnover_micro([half, half]) == 2 * turnover


def test_a_message_says_what_it_got_and_what_it_wanted(make_trade: Callable[..., TradeLeaf]) -> None:
    with pytest.raises(EvidenceError) as caught:
        make_trade(energy_wh=-1)
    error = caught.value.at("trades.jsonl", 17)
    wanted = "trades.jsonl line 17 field 'energy_wh': got -1, wanted an integer from 0 to 1000000000000"
    assert str(error) == wanted


@pytest.fixture
def make_trade() -> Callable[..., TradeLeaf]:
    return lambda **fields: replace(TRADE, **fields)
