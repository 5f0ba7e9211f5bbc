from controller.composing import Stretch, Target
from controller.hub import LeasedCommand
from controller.microgrid import SetpointKind
from controller.wire.driver import command_message


def command(*targets):
    stretches = tuple(
        Stretch(start=900 * mtu, end=900 * (mtu + 1), target=target) for mtu, target in enumerate(targets)
    )
    return LeasedCommand(id="c", window="", epoch=1, sequence=2, heartbeat_counter=3, ttl_s=60, setpoints=stretches)


def test_each_kind_of_setpoint_says_its_interval_and_value():
    message = command_message(
        command(
            Target(SetpointKind.RELAY, 0), Target(SetpointKind.POWER, -500), Target(SetpointKind.PRODUCTION_LIMIT, 7)
        )
    )
    assert [(s.interval.start_time.seconds, s.interval.end_time.seconds) for s in message.setpoints] == [
        (0, 900),
        (900, 1800),
        (1800, 2700),
    ]
    assert [s.WhichOneof("target") for s in message.setpoints] == ["relay_closed", "power_w", "production_limit_w"]
    assert [message.setpoints[0].relay_closed, message.setpoints[1].power_w] == [False, -500]
    assert message.setpoints[2].production_limit_w == 7


def test_two_devices_that_are_told_the_same_share_nothing():
    one, other = (command_message(command(Target(SetpointKind.POWER, 500))) for _ in range(2))
    one.setpoints[0].power_w = 1
    assert other.setpoints[0].power_w == 500
    assert command_message(command(Target(SetpointKind.POWER, 500))).setpoints[0].power_w == 500
