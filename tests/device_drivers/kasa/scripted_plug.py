"""A plug that answers from a script, for what the simulator never says."""

import asyncio
from contextlib import asynccontextmanager

from device_drivers.kasa.codec import HEADER_BYTES, body_bytes, decode, encode

INFO = {"err_code": 0, "relay_state": 0, "on_time": 0, "feature": "TIM:ENE"}


@asynccontextmanager
async def scripted_plug(answers):
    """The port of a plug whose answers to ``module.method`` are replaced; yields it and the requests that came."""
    requests = []

    def answer_to(module, method):
        given = answers.get(f"{module}.{method}", {"err_code": 0})
        return given() if callable(given) else given

    async def serve(reader, writer):
        header = await reader.readexactly(HEADER_BYTES)
        request = decode(await reader.readexactly(body_bytes(header)))
        requests.append(request)
        writer.write(
            encode(
                {
                    module: {method: answer_to(module, method) for method in methods}
                    for module, methods in request.items()
                    if module != "context"
                }
            )
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], requests
