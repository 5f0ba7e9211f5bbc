import struct

from controller.refusals import exhausted
from controller.services.answers import to_status
from tests.benchmarks.wire import HEADERS, _retry_s, frame


def test_a_frame_has_its_length_kind_flags_and_stream_before_it():
    assert frame(HEADERS, 4, 3, b"abc") == b"\x00\x00\x03" + b"\x01" + b"\x04" + struct.pack(">I", 3) + b"abc"


def test_the_delay_is_found_in_trailers_as_they_are():
    status = to_status(exhausted("village/streams", "too many", retry_s=2.5)).SerializeToString()
    assert _retry_s(b"\x40\x17grpc-status-details-bin\x7f\x00\x00" + status) == 2.5


def test_without_a_delay_there_is_none():
    assert _retry_s(b"\x40\x0bgrpc-status\x011") is None
