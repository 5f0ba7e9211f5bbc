import pytest

from device_drivers.address import DeviceUrl
from device_drivers.errors import InvalidValueError


def test_a_url_is_taken_apart():
    url = DeviceUrl.parse("modbus://user:p%40ss@[::1]:502/unit%201/coil?map=relay&unit=3")
    assert (url.scheme, url.host, url.port, url.path) == ("modbus", "::1", 502, "unit 1/coil")
    assert (url.username, url.password, dict(url.query)) == ("user", "p@ss", {"map": "relay", "unit": "3"})
    assert "p@ss" not in f"{url} {url!r}"
    assert str(url) == "modbus://[::1]:502/unit 1/coil"


def test_what_is_not_named_is_none():
    url = DeviceUrl.parse("simulated://relay")
    assert (url.host, url.port, url.path, dict(url.query), url.username) == ("relay", None, "", {}, None)


@pytest.mark.parametrize(
    "text",
    [
        "", "relay", "simulated:relay", "://relay", "simulated://", "9x://h", "kasa://h:0", "kasa://h:65536", "kasa://h:x",
        "kasa://h#part", "kasa://h?a=1&a=2", "kasa://h?a", "kasa://a b", "kasa://h\n", "kasa://[::1",
    ],
)  # fmt: skip
def test_what_is_no_url_is_refused_with_what_was_wanted(text):
    with pytest.raises(InvalidValueError, match=r"^url: got .*wanted "):
        DeviceUrl.parse(text)


def test_no_message_repeats_a_password():
    with pytest.raises(InvalidValueError) as refused:
        DeviceUrl.parse("mqtt://me:secret@h:99999")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "ocpp://h:9000/CP1?password=hu sh",
        "ocpp://h:9000/CP1?password=hush&&x",
        "ocpp://h:9000/CP1?password=a&hush",
        "ocpp://h:99999/CP1?password=hush",
        "ocpp://[::/CP1?password=hush",
        "s2://:hush/hush@h:1/x",
        "shelly://ad@min:hush/@h/",
        "shelly://admin:hu#sh@h:x/",
    ],
)
def test_no_message_repeats_a_password_that_is_written_wrongly(text):
    with pytest.raises(InvalidValueError) as caught:
        DeviceUrl.parse(text)
    assert "hu" not in str(caught.value)
    assert "***" in str(caught.value)
