"""aiokafka's connections as a node has them: what breaks, and what comes in pieces."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportPrivateUsage=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import KafkaConnectionError

from chimera.topics import connections, protocol
from chimera.topics.connections import LEAST_BYTES, MOST_BYTES, Answers
from chimera.topics.protocol import Exact

ASK = Exact(protocol.ApiVersionsStruct, "chimera", "0")
Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiokafka as it comes; whatever is installed is undone afterwards."""
    monkeypatch.setattr(AIOKafkaConnection, "send", connections.plain_send)
    monkeypatch.setattr(AIOKafkaConnection, "connect", connections.plain_connect)


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, plain: None) -> Iterator[Run]:
    connections.install()
    yield request.param


async def connect(bootstrap: str) -> Any:
    host, port = bootstrap.split(":")
    return await create_conn(host, int(port))


async def send_on_a_closed_transport(bootstrap: str) -> None:
    connection = await connect(bootstrap)
    await connection.send(ASK)
    connection._writer.transport.abort()
    await asyncio.sleep(0)  # the transport is closed, and aiokafka has not been told yet
    try:
        await connection.send(ASK)
    finally:
        connection.close()


def test_sending_on_a_connection_that_just_broke_is_a_connection_error(
    kafka: str, plain: None
) -> None:
    with pytest.raises(RuntimeError, match="closed"):
        uvloop.run(send_on_a_closed_transport(kafka))
    connections.install()
    with pytest.raises(KafkaConnectionError, match="closed"):
        uvloop.run(send_on_a_closed_transport(kafka))


def test_answers_come_in_the_requests_order(kafka: str, run: Run) -> None:
    async def ask() -> None:
        connection = await connect(kafka)
        assert isinstance(connection._writer.transport.get_protocol(), Answers)
        answers = await asyncio.gather(*(connection.send(ASK) for _ in range(20)))
        assert all(answer.error_code == 0 for answer in answers)
        await connection.close()

    run(ask())


class Recorder:
    """Stands where aiokafka's connection is: keeps answers, or cannot make sense of them."""

    def __init__(self, *, fails: bool = False) -> None:
        self.frames: list[bytes] = []
        self.closed: list[Any] = []
        self._fails = fails

    def _handle_frame(self, frame: bytes | memoryview) -> None:
        if self._fails:
            raise IndexError("nobody asked")
        self.frames.append(bytes(frame))

    def close(self, reason: Any, exc: Any) -> None:
        self.closed.append((reason, exc))


def receive(answers: Answers, data: bytes) -> None:
    """As a transport does it: into the buffer, as much as it takes."""
    while data:
        buffer = answers.get_buffer(-1)
        count = min(len(buffer), len(data))
        buffer[:count] = data[:count]
        answers.buffer_updated(count)
        data = data[count:]


SMALL = [b"", b"a", b"second answer", bytes(40), b"", b"last"]
LARGE = [b"first", random.Random(1).randbytes(5 * LEAST_BYTES), b"", bytes(16 << 10), b"last"]
HUGE = [random.Random(2).randbytes(MOST_BYTES + 1), b"small", bytes(LEAST_BYTES - 4), b"last"]


@pytest.mark.parametrize(
    ("frames", "size"),
    [
        *((SMALL, size) for size in (1, 2, 3, 4, 5, 7, 11, 100)),
        *((LARGE, size) for size in (1_000, LEAST_BYTES, 10 * LEAST_BYTES)),
        *((HUGE, size) for size in (250_000, 2 * MOST_BYTES)),
    ],
    ids=lambda given: str(given) if isinstance(given, int) else str(max(map(len, given))),
)
def test_answers_in_pieces_of_any_size_are_put_together(frames: list[bytes], size: int) -> None:
    stream = b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)
    recorder = Recorder()
    answers = Answers(recorder, None)
    for at in range(0, len(stream), size):
        receive(answers, stream[at : at + size])
    assert recorder.frames == frames


def test_answer_that_nobody_asked_for_closes_the_connection() -> None:
    recorder = Recorder(fails=True)
    receive(Answers(recorder, None), b"\0\0\0\1x\0\0\0\1y")
    assert len(recorder.closed) == 1


def test_connection_that_the_broker_closes_fails_what_waits_for_an_answer(run: Run) -> None:
    async def serve_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(4), "big")
        asked = await reader.readexactly(size)
        answer = asked[4:8] + b"\0\0" + b"\0\0\0\0"  # ApiVersions 0: no error, no keys
        writer.write(len(answer).to_bytes(4, "big") + answer)
        await reader.readexactly(4)
        writer.close()

    async def ask() -> None:
        server = await asyncio.start_server(serve_once, "127.0.0.1", 0)
        async with server:
            host, port = server.sockets[0].getsockname()
            connection: Any = await create_conn(host, port)
            with pytest.raises(KafkaConnectionError):
                await asyncio.wait_for(connection.send(ASK), 10)
            assert not connection.connected()

    run(ask())
