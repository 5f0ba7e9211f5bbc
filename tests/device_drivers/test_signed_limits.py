"""Limits that the driver checks itself."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from device_drivers.errors import InvalidValueError
from device_drivers.messages import read_group_limit
from device_drivers.refusal import Refused
from device_drivers.setpoint import Bounds
from device_drivers.signed_limits import GroupLimit, LimitBook, read_key
from gridpact.v1 import dso_pb2

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
GROUP = "microgrids/m/groups/g"
DEFAULT = Bounds(lower_w=0, upper_w=500)
KEY = Ed25519PrivateKey.generate()


def book(tmp_path):
    return LimitBook({"k": KEY.public_key()}, {GROUP: DEFAULT}, tmp_path / "limits.json")


def limit(counter=1, *, upper_w=4000, for_s=600, group=GROUP):
    expires = NOON + timedelta(seconds=for_s)
    return GroupLimit(
        group=group, driver="gw", bounds=Bounds(lower_w=None, upper_w=upper_w), counter=counter, expires=expires
    )


def test_the_default_holds_before_and_after_a_fresh_limit(tmp_path):
    one = book(tmp_path)
    assert one.bounds(GROUP, 0) == DEFAULT
    assert one.take(limit(), 0, NOON) is None
    assert one.bounds(GROUP, 599.9).upper_w == 4000
    assert one.next_end() == 600
    assert one.bounds(GROUP, 600) == DEFAULT
    assert one.next_end() is None


def test_no_clock_that_is_set_prolongs_a_limit(tmp_path):
    one = book(tmp_path)
    one.take(limit(for_s=600), 0, NOON)
    assert one.take(limit(for_s=600), 300, NOON - timedelta(days=1)) is None
    assert one.bounds(GROUP, 600) == DEFAULT
    assert one.take(limit(2, for_s=10 * 86_400), 600, NOON) is None
    assert one.bounds(GROUP, 600 + 86_400) == DEFAULT


def test_an_old_counter_is_refused_across_restarts_and_the_same_limit_is_not(tmp_path):
    one = book(tmp_path)
    one.take(limit(5), 0, NOON)
    for other in (one, book(tmp_path)):
        refused = other.take(limit(4, upper_w=9000), 0, NOON)
        assert isinstance(refused, Refused)
        assert "got 4, wanted more than 5" in refused.reason
    assert isinstance(one.take(limit(5, upper_w=9000), 0, NOON), Refused)
    again = book(tmp_path)
    assert again.bounds(GROUP, 0) == DEFAULT
    assert again.take(limit(5), 0, NOON) is None
    assert again.bounds(GROUP, 0).upper_w == 4000


def test_what_has_expired_or_is_of_another_group_does_not_count(tmp_path):
    one = book(tmp_path)
    assert "expired" in one.take(limit(for_s=-1), 0, NOON).reason
    assert "wanted one of this driver's" in one.take(limit(group="microgrids/m/groups/h"), 0, NOON).reason
    assert one.bounds(GROUP, 0) == DEFAULT


def test_only_the_operators_signature_over_that_type_verifies(tmp_path):
    one = book(tmp_path)
    good = KEY.sign(b"gridpact.v1.GroupLimit\0payload")
    assert one.verifies(b"payload", good, "k")
    for payload, signature, key_id in (
        (b"payloae", good, "k"),
        (b"payload", good, "other"),
        (b"payload", KEY.sign(b"gridpact.v1.Envelope\0payload"), "k"),
        (b"payload", Ed25519PrivateKey.generate().sign(b"gridpact.v1.GroupLimit\0payload"), "k"),
        (b"payload", b"", "k"),
    ):
        assert not one.verifies(payload, signature, key_id)


def test_counters_that_cannot_be_read_stop_the_driver(tmp_path):
    for text in ("{", "[]", '{"g": -1}', '{"g": true}'):
        (tmp_path / "limits.json").write_text(text)
        with pytest.raises(InvalidValueError, match=r"limits\.json"):
            book(tmp_path)


def test_payloads_are_read_or_refused():
    message = dso_pb2.GroupLimit(group=GROUP, driver="gw", counter=1, bounds={"upper_w": 4000})
    message.expire_time.FromDatetime(NOON + timedelta(seconds=600))
    assert read_group_limit(message.SerializeToString()) == limit()
    message.bounds.lower_w = 1
    assert isinstance(read_group_limit(message.SerializeToString()), Refused)
    assert isinstance(read_group_limit(b"\xff\xff"), Refused)
    message = dso_pb2.GroupLimit(group=GROUP, counter=1)
    assert read_group_limit(message.SerializeToString()).expires < NOON


def test_keys_are_read_from_files(tmp_path):
    def written(key):
        path = tmp_path / "key.pub"
        pem = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        path.write_bytes(key.public_key().public_bytes(*pem))
        return path

    assert read_key(written(KEY)) == KEY.public_key()
    with pytest.raises(InvalidValueError, match="wanted Ed25519"):
        read_key(written(X25519PrivateKey.generate()))
    with pytest.raises(InvalidValueError, match="dso_keys: "):
        read_key(tmp_path / "none.pub")
