"""A broker to break: it can be killed, sent away, and reached through a bad network.

The harness talks to it directly; nodes of campaigns about the network come through the proxy.
"""

import time
from contextlib import ExitStack
from typing import Any, Self

from chimera.cli.kafka.server import EmbeddedKafka
from chimera.cli.stack.ports import HOST, free_port
from tests.integration.chaos.proxy import Proxy, listening


class Broker:
    """A context: one embedded Kafka on fixed ports, and a proxy in front of its second listener."""

    def __init__(self) -> None:
        direct, proxied, controller = (free_port() for _ in range(3))
        self.proxy = Proxy(upstream=proxied)
        extra = listening(direct, proxied, self.proxy.port, controller)
        self._kafka = EmbeddedKafka(port=direct, extra=extra, is_brief=True)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._kafka)
            stack.enter_context(self.proxy)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:  # noqa: PYI036  # handed on as it comes
        self._stack.__exit__(*error)

    @property
    def bootstrap(self) -> str:
        return self._kafka.bootstrap

    @property
    def proxied(self) -> str:
        """The address behind the bad network."""
        return f"{HOST}:{self.proxy.port}"

    def kill(self, away_s: float) -> None:
        """kill -9, and start again after a while; returns when it serves."""
        self._kafka.kill()
        time.sleep(away_s)
        self._kafka.start()
