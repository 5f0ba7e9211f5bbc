import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.flexibility import Plant, Relay, Storage
from controller.microgrid import (
    Bounds,
    Device,
    DeviceState,
    Member,
    Microgrid,
    Order,
    SettlementRule,
    SettlementTerms,
    TariffPeriod,
    ThermalForecast,
    Window,
)
from controller.snapshot import Limit, Snapshot, continued

MTU_S = 900
INTEGER = st.integers(-(2**63), 2**63 - 1)
NAME = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
TEXT = st.text(max_size=20)
SLOW = [HealthCheck.too_slow]
"""A busy machine draws slowly, and that says nothing."""


@st.composite
def snapshots(draw):
    """Any inputs at all: the text that is digested must not depend on their sense."""
    flexibility = st.one_of(
        st.builds(Relay, rated_w=INTEGER, start=INTEGER, end=INTEGER, required_s=INTEGER),
        st.builds(Storage, **dict.fromkeys(Storage.__dataclass_fields__, INTEGER)),
        st.builds(Plant, rated_w=INTEGER),
    )
    series = st.lists(INTEGER, max_size=4).map(tuple)
    period = st.builds(TariffPeriod, **dict.fromkeys(TariffPeriod.__dataclass_fields__, INTEGER))
    bounds = st.builds(Bounds, start=INTEGER, end=INTEGER, lower_w=st.none() | INTEGER, upper_w=st.none() | INTEGER)
    numbers = ("mtu_minutes", "window_minutes", "lead_minutes", "start", "end", "network_charge_micro_per_kwh")
    state = st.builds(
        DeviceState, device=NAME, instant=INTEGER, power_w=INTEGER, closed_s=INTEGER, stored_wh=st.none() | INTEGER
    )
    order = st.builds(
        Order,
        window=NAME,
        member=NAME,
        load_w=series,
        production=st.dictionaries(NAME, series, max_size=2),
        partners=st.dictionaries(NAME, INTEGER, max_size=3),
        offers=st.lists(st.tuples(INTEGER, INTEGER), max_size=2).map(tuple),
        attributes=st.dictionaries(st.sampled_from(["GREEN", "LOCAL"]), INTEGER),
    )
    return Snapshot(
        microgrid=draw(
            st.builds(
                Microgrid,
                id=NAME,
                time_zone=TEXT,
                currency=TEXT,
                tariff=st.lists(period, max_size=3).map(tuple),
                **dict.fromkeys(numbers, INTEGER),
            )
        ),
        window=draw(st.builds(Window, name=TEXT, start=INTEGER, end=INTEGER)),
        members=draw(st.lists(st.builds(Member, id=NAME, section=NAME), max_size=3).map(tuple)),
        devices=draw(st.lists(st.builds(Device, id=NAME, member=NAME, flexibility=flexibility), max_size=3).map(tuple)),
        states=draw(st.dictionaries(NAME, state, max_size=2)),
        orders=draw(st.dictionaries(NAME, order, max_size=3)),
        order_digests=draw(st.dictionaries(NAME, TEXT, max_size=3)),
        limits=draw(
            st.lists(
                st.builds(Limit, id=NAME, target=TEXT, periods=st.lists(bounds, max_size=2).map(tuple), digest=TEXT),
                max_size=2,
            ).map(tuple)
        ),
        carry=draw(st.dictionaries(NAME, INTEGER, max_size=3)),
        uplifts=draw(st.dictionaries(NAME, st.tuples(INTEGER, INTEGER), max_size=3)),
    )


@settings(max_examples=40, suppress_health_check=SLOW)
@given(snapshots())
def test_it_reads_back_as_it_was_frozen(snapshot):
    again = Snapshot.from_json(snapshot.to_json())
    assert again == snapshot
    assert again.to_json() == snapshot.to_json()
    assert again.digest() == snapshot.digest()


@settings(max_examples=40, suppress_health_check=SLOW)
@given(snapshots(), st.randoms())
def test_the_digest_does_not_depend_on_the_order_of_mappings(snapshot, random):
    def shuffled(mapping):
        items = list(mapping.items())
        random.shuffle(items)
        return dict(items)

    names = ("states", "orders", "order_digests", "carry", "uplifts")
    other = replace(snapshot, **{name: shuffled(getattr(snapshot, name)) for name in names})
    assert other.digest() == snapshot.digest()


@pytest.fixture
def frozen(settled):
    """What the village's second window was decided on."""
    return Snapshot.from_json(settled.row(1).snapshot)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: replace(s, carry={**s.carry, "peer ada": s.carry["peer ada"] + 1}),
        lambda s: replace(s, uplifts={"ada": (1, 0)}),
        lambda s: replace(s, members=s.members[:-1]),
        lambda s: replace(s, orders={k: v for k, v in s.orders.items() if k != "eve"}),
        lambda s: replace(s, order_digests={**s.order_digests, "eve": "00"}),
        lambda s: replace(s, microgrid=replace(s.microgrid, network_charge_micro_per_kwh=5001)),
        lambda s: replace(s, window=replace(s.window, end=s.window.end + 900)),
        lambda s: replace(s, devices=(replace(s.devices[0], flexibility=Plant(rated_w=1)), *s.devices[1:])),
    ],
)
def test_every_input_counts_in_the_digest(frozen, change):
    assert change(frozen).digest() != frozen.digest()


def test_the_digest_is_that_of_the_text_on_disk(settled):
    row = settled.row(1)
    assert hashlib.sha256(row.snapshot.encode()).digest() == row.inputs_digest
    assert row.snapshot == json.dumps(json.loads(row.snapshot), sort_keys=True, separators=(",", ":"))


def test_its_mtus_begin_with_the_window_and_end_with_the_horizon(frozen, settled):
    assert frozen.mtus() == tuple(range(settled.start + 1800, settled.start + 7200, 900))
    assert frozen.window_mtus() == (settled.start + 1800, settled.start + 2700)


class TestContinued:
    ORDER = Order(window="w", member="ada", load_w=(1, 2, 3, 4), production={"pv": (5, 6, 7, 8)}, partners={"bob": 9})

    def test_a_later_window_has_its_last_mtus(self):
        order, notes = continued(self.ORDER, offset=2, mtus=2, day=96)
        assert order == replace(self.ORDER, load_w=(3, 4), production={"pv": (7, 8)})
        assert notes == ()

    def test_its_own_window_has_all(self):
        assert continued(self.ORDER, offset=0, mtus=4, day=96) == (self.ORDER, ())

    @pytest.mark.parametrize(
        ("offset", "mtus", "day", "load_w"),
        [
            (0, 6, 96, (1, 2, 3, 4, 4, 4)),  # shorter than a day: its last value
            (0, 9, 3, (1, 2, 3, 4, 2, 3, 4, 2, 3)),  # as a day before, within the order
            (3, 3, 4, (4, 1, 2)),
            (10, 4, 3, (2, 3, 4, 2)),  # several days on, always the last that is known
            (9, 2, 96, (4, 4)),
        ],
    )
    def test_what_it_lacks_goes_on_as_the_day_before_and_is_marked(self, offset, mtus, day, load_w):
        order, notes = continued(self.ORDER, offset=offset, mtus=mtus, day=day)
        assert order.load_w == load_w
        known = sum(place < 4 for place in range(offset, offset + mtus))
        assert notes == (f"forecasts: got {known} of {mtus} MTUs, went on as the day before",)

    def test_a_series_that_says_nothing_goes_on_saying_nothing(self):
        order = replace(self.ORDER, thermal={"tank": ThermalForecast(draw_w=(1, 2, 3, 4))})
        found, _ = continued(order, offset=2, mtus=3, day=96)
        assert found.thermal["tank"] == ThermalForecast(draw_w=(3, 4, 4))


def test_equal_inputs_have_the_digests_of_earlier_versions(site):
    """What was anchored stays provable: a field that says nothing is not in the text."""
    site.live(until=site.start + 1500)
    assert [site.row(number).inputs_digest.hex() for number in range(2)] == [
        "11fb150df87831e8bf3230c4ffe053b11ee9e27addb06498e870e7e8c2a8edef",
        "c767317cadc0ebd6587978aa42439bdfdaf83e39f4805ce9b615ab92502f0592",
    ]


def test_terms_are_part_of_it_where_there_are_any(frozen):
    plain = frozen
    terms = SettlementTerms(rule=SettlementRule.RECEIVED, fee_micro_per_kwh=1, fee_micro_per_month=2, tax_ppm=3)
    other = replace(plain, microgrid=replace(plain.microgrid, terms=terms))
    assert "terms" not in plain.to_json()
    assert other.digest() != plain.digest()
    assert Snapshot.from_json(other.to_json()) == other
