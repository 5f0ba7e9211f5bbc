import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.flexibility import Plant, Relay, Storage
from controller.microgrid import (
    Bounds,
    Device,
    DeviceState,
    Member,
    Microgrid,
    Order,
    TariffPeriod,
    Window,
)
from controller.snapshot import Limit, Snapshot, cut

MTU_S = 900
INTEGER = st.integers(-(2**63), 2**63 - 1)
NAME = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
TEXT = st.text(max_size=20)


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


@settings(max_examples=40)
@given(snapshots())
def test_it_reads_back_as_it_was_frozen(snapshot):
    again = Snapshot.from_json(snapshot.to_json())
    assert again == snapshot
    assert again.to_json() == snapshot.to_json()
    assert again.digest() == snapshot.digest()


@settings(max_examples=40)
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


class TestCut:
    ORDER = Order(window="w", member="ada", load_w=(1, 2, 3, 4), production={"pv": (5, 6, 7, 8)}, partners={"bob": 9})

    def test_it_keeps_the_last_mtus(self):
        assert cut(self.ORDER, 2) == replace(self.ORDER, load_w=(3, 4), production={"pv": (7, 8)})

    def test_of_all_it_keeps_all(self):
        assert cut(self.ORDER, 4) == self.ORDER
