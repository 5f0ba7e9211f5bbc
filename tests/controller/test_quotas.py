import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.access import Identity, Role
from controller.quotas import IDLE, Bucket, Daily, Limits, Quotas
from controller.refusals import Code, Refusal

ADA = Identity(grid="village", role=Role.PARTICIPANT, id="ada")
LIMITS = Limits(
    calls_per_s=2, calls_burst=3, bytes_per_s=10, bytes_burst=100, streams=2, messages_per_s=1, messages_burst=2
)


@pytest.fixture
def quotas():
    """Small ones, the same for each role."""
    return Quotas(dict.fromkeys(Role, LIMITS))


def test_a_burst_of_calls_is_let_in_and_no_more(quotas):
    answers = [quotas.call(ADA, 0, 0.0) for _ in range(4)]
    assert answers[:3] == [None] * 3
    assert answers[3].code is Code.RESOURCE_EXHAUSTED
    assert (answers[3].quota, answers[3].retry_s) == ("spiffe://village/participant/ada/calls", 0.5)


def test_who_waits_as_long_as_was_said_is_let_in(quotas):
    for _ in range(3):
        quotas.call(ADA, 0, 0.0)
    wait = quotas.call(ADA, 0, 0.0).retry_s
    assert quotas.call(ADA, 0, wait) is None
    assert quotas.call(ADA, 0, wait) is not None


def test_bytes_are_counted_too(quotas):
    assert quotas.call(ADA, 100, 0.0) is None
    assert quotas.call(ADA, 1, 0.0).quota == "spiffe://village/participant/ada/bytes"
    assert quotas.call(ADA, 10, 1.0) is None


def test_one_identity_does_not_use_up_what_another_may(quotas):
    for _ in range(4):
        quotas.call(ADA, 0, 0.0)
    assert quotas.call(Identity(grid="village", role=Role.PARTICIPANT, id="bob"), 0, 0.0) is None


def test_streams_are_counted_while_they_are_open(quotas):
    assert not isinstance(quotas.open_stream(ADA, 0.0), Refusal)
    assert not isinstance(quotas.open_stream(ADA, 0.0), Refusal)
    refusal = quotas.open_stream(ADA, 0.0)
    assert refusal.quota == "spiffe://village/participant/ada/streams"
    quotas.close_stream(ADA, 0.0)
    assert not isinstance(quotas.open_stream(ADA, 0.0), Refusal)


def test_messages_are_counted_for_each_stream(quotas):
    one, other = quotas.open_stream(ADA, 0.0), quotas.open_stream(ADA, 0.0)
    assert [quotas.message(ADA, one, 0, 0.0) for _ in range(2)] == [None, None]
    assert quotas.message(ADA, one, 0, 0.0).quota == "spiffe://village/participant/ada/messages"
    assert quotas.message(ADA, other, 0, 0.0) is None


def test_those_who_left_are_forgotten_and_those_with_a_stream_are_not(quotas):
    quotas.open_stream(ADA, 0.0)
    for number in range(10 * IDLE):
        quotas.call(Identity(grid="village", role=Role.DRIVER, id=f"d{number}"), 1, float(number))
    assert len(quotas) <= IDLE + 1
    assert not isinstance(quotas.open_stream(ADA, 1e6), Refusal)
    assert isinstance(quotas.open_stream(ADA, 1e6), Refusal)


@given(
    rate=st.floats(0.1, 100),
    burst=st.floats(1, 100),
    asked=st.lists(st.tuples(st.floats(0, 5), st.floats(0, 10)), max_size=60),
)
def test_no_bucket_gives_more_than_its_burst_and_what_flowed_in(rate, burst, asked):
    bucket, now, taken = Bucket(rate, burst, 0.0), 0.0, 0.0
    for pause, amount in asked:
        now += pause
        if not bucket.take(amount, now):
            taken += amount
        assert taken <= burst + rate * now + 1e-6


def test_a_clock_that_goes_back_fills_nothing():
    bucket = Bucket(1, 1, 10.0)
    assert bucket.take(1, 10.0) == 0
    assert bucket.take(1, 5.0) > 0
    assert bucket.take(1, 10.5) > 0


@pytest.mark.parametrize("name", ["calls_per_s", "calls_burst", "bytes_per_s", "streams", "messages_burst"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_limit_that_is_not_positive_is_refused(name, value):
    with pytest.raises(ValueError, match=name):
        Limits(**{name: value})


@pytest.mark.parametrize("name", ["orders", "overrides"])
def test_nobody_is_allowed_nothing_for_a_day(name):
    with pytest.raises(ValueError, match=f"daily.{name}: got 0, wanted a positive number"):
        Daily(**{name: 0})
