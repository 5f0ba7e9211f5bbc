import socket

import pytest

from controller.listening import why_not


@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0"])
def test_a_port_that_somebody_listens_on_is_in_use(bound):
    with socket.socket() as taken:
        taken.bind((bound, 0))
        taken.listen()
        assert why_not(f"127.0.0.1:{taken.getsockname()[1]}") == "the port is in use"


def test_an_address_of_another_machine_is_not_a_port_in_use():
    assert why_not("192.0.2.1:0") == "Cannot assign requested address"
