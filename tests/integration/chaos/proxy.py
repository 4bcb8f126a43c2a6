"""A bad network between clients and a broker: latency, stalls, resets, and single lost requests.

The client's side is read as Kafka's frames (length, API key), so that one EndTxn can be held while
all else passes. A held request is delivered even when its client has long given up: that is the
delayed packet which a transaction protocol must survive. `advertised.listeners` of the broker must
name this port (`listening`), or clients would go around it.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from chimera.cli.stack.ports import HOST, free_port
from tests.integration.chaos.background import Background

PRODUCE, FETCH, HEARTBEAT, INIT_PRODUCER_ID, END_TXN, TXN_OFFSET_COMMIT = 0, 1, 12, 22, 26, 28
CHUNK = 65_536
LINGER_S = 2.0  # the broker's side stays open so long after its client has gone
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, zero seconds

Action = Literal["hold", "lose_request", "lose_answer"]


@dataclass
class Rule:
    """What happens to requests of one kind: from the `after`-th on, `times` of them."""

    api_key: int
    action: Action
    seconds: float = 0.0  # for hold
    times: int = 1
    after: int = 0
    fired: int = 0

    def take(self, api_key: int) -> bool:
        if api_key != self.api_key or self.fired >= self.times:
            return False
        self.after -= 1
        if self.after >= 0:
            return False
        self.fired += 1
        return True


def listening(direct: int, proxied: int, proxy: int, controller: int) -> Mapping[str, str]:
    """Broker settings: `direct` for the harness, `proxied` for those who come through `proxy`."""
    ports = f"PLAINTEXT://{HOST}:{direct},PROXIED://{HOST}:{proxied}"
    return {
        "listeners": f"{ports},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{direct},PROXIED://{HOST}:{proxy}",
        "listener.security.protocol.map": (
            "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT"
        ),
        "inter.broker.listener.name": "PLAINTEXT",
        "controller.quorum.voters": f"1@{HOST}:{controller}",
    }


class Proxy(Background):
    """A context: listens on `port`, passes on to `upstream`; attributes and methods change what it does."""

    def __init__(self, upstream: int, port: int = 0) -> None:
        super().__init__("proxy")
        self.port = port or free_port()
        self.latency_s = 0.0  # added to each request
        self.drop_after: int | None = None  # a connection is reset after so many bytes of requests
        self.rules: list[Rule] = []
        self._upstream = upstream
        self._clients: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._settled = threading.Event()  # whether it listens
        self._listens = False
        self._passing = asyncio.Event()
        self._passing.set()

    def __enter__(self) -> Self:
        super().__enter__()
        self._settled.wait()
        if not self._listens:
            self.end()
        return self

    def stall(self) -> None:
        """From now on nothing passes, and nothing ends."""
        self._loop.call_soon_threadsafe(self._passing.clear)

    def go_on(self) -> None:
        """After `stall`: what waited passes now."""
        self._loop.call_soon_threadsafe(self._passing.set)

    def reset_all(self) -> None:
        """Reset every connection that is open now."""
        self._loop.call_soon_threadsafe(self._reset_all)

    def _reset_all(self) -> None:
        for client in list(self._clients):
            _reset(client)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        finally:
            self._settled.set()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, HOST, self.port)
        self._listens = True
        self._settled.set()
        await asyncio.to_thread(self._stopping.wait)
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        self._spawn(self._pass(reader, client))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _pass(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            answers, broker = await asyncio.open_connection(HOST, self._upstream)
        except OSError:
            _reset(client)
            return
        self._clients.add(client)
        back = self._spawn(self._answers(answers, client))
        try:
            # either side has gone: that ends the connection
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._requests(reader, client, broker)
            await asyncio.wait([back], timeout=LINGER_S)
        finally:
            self._clients.discard(client)
            back.cancel()
            client.close()
            broker.close()

    async def _requests(
        self,
        reader: asyncio.StreamReader,
        client: asyncio.StreamWriter,
        broker: asyncio.StreamWriter,
    ) -> None:
        passed = 0
        while True:
            head = await reader.readexactly(4)
            frame = head + await reader.readexactly(struct.unpack(">i", head)[0])
            api_key = struct.unpack_from(">h", frame, 4)[0]
            await self._delay()
            rule = next((rule for rule in self.rules if rule.take(api_key)), None)
            if rule is not None and rule.action == "hold":
                await asyncio.sleep(rule.seconds)
            if rule is not None and rule.action == "lose_request":
                _reset(client)
                return
            broker.write(frame)
            await broker.drain()
            passed += len(frame)
            lost = rule is not None and rule.action == "lose_answer"
            if lost or (self.drop_after is not None and passed > self.drop_after):
                _reset(client)
                return

    async def _answers(self, answers: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            while chunk := await answers.read(CHUNK):
                await self._passing.wait()
                if not client.is_closing():
                    client.write(chunk)
                    await client.drain()
        except OSError:
            return  # the client has gone; `_requests` notices too
        client.close()

    async def _delay(self) -> None:
        await self._passing.wait()
        if self.latency_s:
            await asyncio.sleep(self.latency_s)


def _reset(client: asyncio.StreamWriter) -> None:
    plain = client.get_extra_info("socket")
    if plain is not None and plain.fileno() >= 0:  # else it is closed already
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    client.transport.abort()
