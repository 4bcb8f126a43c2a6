"""Free ports on loopback, below the range that the kernel gives to outgoing connections.

So a port that a server has left for a moment is not taken by somebody's connection meanwhile.
"""

import random
import socket

from chimera.schemas.errors import ConfigurationError

HOST = "127.0.0.1"
_FROM, _TO = 15_000, 31_999


def free_port(except_for: int = 0) -> int:
    """A port that nobody listens on now; whoever is first has it.

    Raises:
        ConfigurationError: none was found.
    """
    for _ in range(200):
        port = random.randint(_FROM, _TO)
        if port != except_for and is_free(port):
            return port
    raise ConfigurationError(f"no free port on {HOST} between {_FROM} and {_TO}")


def is_free(port: int) -> bool:
    """As a server would ask: the remains of closed connections do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
