import pytest

from device_drivers.errors import InvalidValueError
from device_drivers.lease import Granted, LeaseFence
from device_drivers.refusal import Refused

# Each walk is a list of steps in time. ("beat", at) sends the next heartbeat; ("welcome", epoch) is a
# controller that names itself; ("command", at, heartbeat, epoch, sequence, ttl) arrives, with the instant
# until which it may act, or with a part of the reason why it may not.
WALKS = {
    "lease counts from the heartbeat, not from the arrival": [
        ("beat", 100),
        (("command", 130, 1, 1, 1, 60), 160),
    ],
    "command before any heartbeat": [
        (("command", 0, 1, 1, 1, 60), "unknown heartbeat: got 1, wanted none"),
    ],
    "heartbeat that was never sent": [
        ("beat", 100),
        (("command", 101, 2, 1, 1, 60), "unknown heartbeat: got 2, wanted 1 to 1"),
        (("command", 101, 0, 1, 1, 60), "unknown heartbeat"),
    ],
    "heartbeat forgotten": [
        *[("beat", at) for at in range(4)],
        (("command", 5, 1, 1, 1, 60), "unknown heartbeat: got 1, wanted 2 to 4"),
        (("command", 5, 2, 1, 1, 60), 61),
    ],
    "late command": [
        ("beat", 100),
        (("command", 160, 1, 1, 1, 60), "expired lease: it ended 0.000 s ago"),
        ("beat", 200),
        (("command", 259.5, 2, 1, 2, 60), 260),
    ],
    "no time at all": [
        ("beat", 100),
        (("command", 100, 1, 1, 1, 0), "empty lease"),
        (("command", 100, 1, 1, 2, -5), "empty lease"),
        (("command", 100, 1, 1, 3, 14_401), "endless lease"),
    ],
    "duplicate": [
        ("beat", 100),
        (("command", 101, 1, 1, 1, 60), 160),
        (("command", 102, 1, 1, 1, 60), "old sequence: got 1, wanted more than 1"),
        ("beat", 110),
        (("command", 111, 2, 1, 1, 60), "old sequence"),
    ],
    "reordered": [
        ("beat", 100),
        ("beat", 110),
        (("command", 112, 2, 1, 8, 60), 170),
        (("command", 113, 1, 1, 7, 60), "old sequence: got 7, wanted more than 8"),
    ],
    "superseded by one that came too late": [
        ("beat", 100),
        (("command", 170, 1, 1, 8, 60), "expired lease"),
        ("beat", 180),
        (("command", 181, 2, 1, 7, 60), "old sequence"),
    ],
    "old epoch": [
        ("beat", 100),
        (("command", 101, 1, 5, 1, 60), 160),
        (("command", 102, 1, 4, 99, 60), "old epoch: got 4, wanted 5 or later"),
        (("command", 103, 1, 5, 2, 60), 160),
    ],
    "new epoch resets the sequence": [
        ("beat", 100),
        (("command", 101, 1, 5, 99, 60), 160),
        (("command", 102, 1, 6, 1, 60), 160),
        (("command", 103, 1, 6, 1, 60), "old sequence"),
        (("command", 103, 1, 5, 100, 60), "old epoch"),
    ],
    "welcome raises the epoch and never lowers it": [
        ("welcome", 7),
        ("beat", 100),
        (("command", 101, 1, 6, 1, 60), "old epoch"),
        (("command", 101, 1, 7, 1, 60), 160),
        ("welcome", 6),
        (("command", 101, 1, 6, 2, 60), "old epoch"),
        ("welcome", 7),
        (("command", 101, 1, 7, 1, 60), "old sequence"),
    ],
    "unknown heartbeat teaches nothing": [
        ("beat", 100),
        (("command", 101, 9, 99, 99, 60), "unknown heartbeat"),
        (("command", 102, 1, 1, 1, 60), 160),
    ],
    "renewal extends, also after the end": [
        ("beat", 100),
        (("command", 101, 1, 1, 1, 60), 160),
        ("beat", 150),
        (("command", 151, 2, 1, 2, 60), 210),
        ("beat", 300),
        (("command", 301, 3, 1, 3, 60), 360),
    ],
    "renewal may shorten": [
        ("beat", 100),
        (("command", 101, 1, 1, 1, 60), 160),
        (("command", 102, 1, 1, 2, 5), 105),
    ],
}


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS.keys())
def test_lease_walk(make_command, walk):
    fence = LeaseFence(memory=3)
    for step in walk:
        match step:
            case ("beat", at):
                fence.heartbeat(at)
            case ("welcome", epoch):
                fence.observe_epoch(epoch)
            case (("command", at, heartbeat, epoch, sequence, ttl), wanted):
                answer = fence.accept(
                    make_command(heartbeat_counter=heartbeat, epoch=epoch, sequence=sequence, ttl_s=ttl), at
                )
                if isinstance(wanted, str):
                    assert isinstance(answer, Refused), step
                    assert wanted in answer.reason
                else:
                    assert answer == Granted(expires_at=wanted), step
            case _:
                pytest.fail(f"no such step: {step}")


def test_heartbeats_count_up_from_one():
    fence = LeaseFence()
    assert [fence.heartbeat(0.0) for _ in range(3)] == [1, 2, 3]


def test_memory_of_heartbeats_is_positive():
    with pytest.raises(InvalidValueError, match="got 0"):
        LeaseFence(memory=0)
