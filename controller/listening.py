"""Why an address cannot be listened on: gRPC does not say."""

import errno
import socket

from controller.config import listen_address


def why_not(address: str) -> str:
    """What keeps a server from listening on HOST:PORT, in a few words; tries it for a moment."""
    try:
        host, port = listen_address(address)
        for family, kind, protocol, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
                probe.listen()
    except (OSError, ValueError) as err:
        if isinstance(err, OSError) and err.errno == errno.EADDRINUSE:
            return "the port is in use"
        return str(getattr(err, "strerror", None) or err)
    return "the port was in use, or the name has no address here"
