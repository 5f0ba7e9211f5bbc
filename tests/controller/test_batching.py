import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.batch import Batch, first_hole
from controller.batching import BatchPolicy, following

NAME = "microgrids/village"


def hashes(count):
    return tuple(k.to_bytes(32) for k in range(1, count + 1))


@pytest.mark.parametrize(
    ("windows", "minutes", "waiting", "waited_s", "sizes"),
    [
        (96, 0, 0, 0, ()),
        (96, 0, 1, 0, (1,)),
        (96, 0, 97, 0, (96, 1)),
        (96, 60, 97, 0, (96,)),
        (96, 60, 95, 3599, ()),
        (96, 60, 95, 3600, (95,)),
        (1, 0, 3, 0, (1, 1, 1)),
        (2, 10, 4, 0, (2, 2)),
    ],
)
def test_a_batch_is_due_when_it_is_full_or_has_waited(windows, minutes, waiting, waited_s, sizes):
    assert BatchPolicy(windows=windows, minutes=minutes).sizes(waiting, waited_s=waited_s) == sizes


@given(waiting=st.integers(0, 500), windows=st.integers(1, 100), waited=st.integers(0, 7200))
def test_no_batch_is_too_large_and_nobody_waits_for_good(waiting, windows, waited):
    sizes = BatchPolicy(windows=windows, minutes=60).sizes(waiting, waited_s=waited)
    assert all(1 <= size <= windows for size in sizes)
    assert waiting - sum(sizes) < (windows if waited < 3600 else 1)


@pytest.mark.parametrize("wrong", [{"windows": 0}, {"windows": 4097}, {"minutes": -1}])
def test_no_policy_is_beyond_its_bounds(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}: got"):
        BatchPolicy(**wrong)


def test_batches_follow_each_other_without_a_hole():
    first = following(NAME, None, hashes(5), (2, 2))
    rest = following(NAME, first[-1], hashes(9)[4:], (3, 2))
    assert [len(batch.headers) for batch in (*first, *rest)] == [2, 2, 3, 2]
    assert first_hole((*first, *rest)) is None
    assert b"".join(b"".join(batch.headers) for batch in (*first, *rest)) == b"".join(hashes(9))


def test_none_are_made_of_nothing():
    batch = Batch(microgrid=NAME, number=0, previous=bytes(32), first=0, headers=hashes(1))
    assert following(NAME, None, (), ()) == following(NAME, batch, (), ()) == ()
