from hypothesis import given
from hypothesis import strategies as st

from contracts.hashing import ZERO_HASH
from controller.sealed import records_of
from controller.sealing import random_salts, seal, seeded_salts
from controller.store import registry

PLACE = st.tuples(st.text(max_size=9), st.sampled_from(["trade", "reading", "posting"]), st.integers(0, 99))


@given(st.binary(min_size=1), st.lists(PLACE, unique=True, max_size=20))
def test_seeded_salts_repeat_and_differ_from_each_other(seed, places):
    salts = [seeded_salts(seed)(*place) for place in places]
    assert salts == [seeded_salts(seed)(*place) for place in places]
    assert len(set(salts)) == len(places)
    assert {len(salt) for salt in salts} <= {32}


def test_another_seed_gives_other_salts():
    assert seeded_salts(b"one")("w", "trade", 0) != seeded_salts(b"other")("w", "trade", 0)


def test_random_salts_do_not_repeat():
    salts = {random_salts("w", "trade", 0) for _ in range(100)}
    assert len(salts) == 100
    assert {len(salt) for salt in salts} == {32}


def test_the_first_header_follows_nothing(settled):
    row = settled.row(0)
    microgrid = settled.database.run(registry.microgrid, "village")
    records = settled.database.run(records_of, row.name)
    header = seal(microgrid, microgrid.windows()[0], records, previous=None, inputs_digest=row.inputs_digest)
    assert header.previous == ZERO_HASH
    assert header.hash == settled.rows("headers")[0]["hash"]
    assert (header.trades_count, header.readings_count, header.postings_count) == (
        len(records.trades),
        len(records.readings),
        len(records.postings),
    )
