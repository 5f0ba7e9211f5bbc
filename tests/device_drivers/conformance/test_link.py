import asyncio
from random import Random

import pytest

from device_drivers.conformance.link import FaultyLink, Trouble


async def said_through(trouble, *, device_dials):
    """What the driver hears of what the device says, and the device of what the driver says, under a trouble."""
    accepted = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda *end: accepted.set_result(end), "127.0.0.1", 0)
    link = FaultyLink(
        "127.0.0.1",
        server.sockets[0].getsockname()[1],
        randomness=Random(1),
        delay_s=5.0,
        device_dials=device_dials,
    )
    dialled = await asyncio.open_connection("127.0.0.1", await link.start())
    device, driver = (dialled, await accepted) if device_dials else (await accepted, dialled)
    await link.set(trouble)
    heard = []
    for speaker, listener in ((driver, device), (device, driver)):
        speaker[1].write(b"twelve bytes")
        heard.append(await listener[0].read(100))
    await link.aclose()
    for end in (dialled, await accepted):
        end[1].close()
    server.close()
    return tuple(heard)


@pytest.mark.parametrize("device_dials", [False, True])
def test_what_the_device_says_is_spoilt_whoever_dials(device_dials):
    assert asyncio.run(said_through(None, device_dials=device_dials)) == (b"twelve bytes", b"twelve bytes")
    assert asyncio.run(said_through(Trouble.HALF, device_dials=device_dials)) == (b"twelve bytes", b"twelve")
    told, heard = asyncio.run(said_through(Trouble.GARBAGE, device_dials=device_dials))
    assert told == b"twelve bytes"
    assert len(heard) == 12
    assert heard != b"twelve bytes"
