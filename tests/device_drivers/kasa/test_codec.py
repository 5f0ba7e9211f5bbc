import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_drivers.errors import DeviceError
from device_drivers.kasa.codec import HEADER_BYTES, LONGEST_BYTES, body_bytes, decode, encode

REQUESTS = st.dictionaries(st.text(max_size=9), st.none() | st.integers() | st.text(max_size=9), max_size=4)


@settings(max_examples=50)
@given(REQUESTS)
def test_what_is_encoded_is_decoded(request_):
    frame = encode(request_)
    assert body_bytes(frame[:HEADER_BYTES]) == len(frame) - HEADER_BYTES
    assert decode(frame[HEADER_BYTES:]) == request_


def test_a_frame_of_another_implementation_is_understood():
    frame = base64.b64decode("AAAAI9Dw0qHYq9+61/XPtJS20bTAn+yV5o/hh+jK8J7rh+vLtpbr")
    assert body_bytes(frame[:HEADER_BYTES]) == len(frame) - HEADER_BYTES
    assert decode(frame[HEADER_BYTES:]) == {"system": {"get_sysinfo": None}}


@pytest.mark.parametrize("length", [0, LONGEST_BYTES + 1, 2**32 - 1])
def test_a_length_that_no_plug_says_is_refused(length):
    with pytest.raises(DeviceError, match=str(length)):
        body_bytes(length.to_bytes(HEADER_BYTES, "big"))


@given(st.binary(max_size=200))
def test_garbage_is_an_object_or_an_error_of_the_device(body):
    try:
        answer = decode(body)
    except DeviceError:
        return
    assert isinstance(answer, dict)
