"""aiokafka's connections, changed in two places for all clients of this process.

    send      On uvloop a write to a closed transport raises RuntimeError, where a plain loop ignores
              it; aiokafka does not expect that, and whatever task was sending ends, for example the
              one that fetches. Here it is the KafkaConnectionError that everybody tries again after.
    receive   aiokafka reads through a stream, whose task wakes for each 64 KiB of a fetch and copies
              it three times. Here pieces are kept until an answer is whole, and joined once.

`tests/integration/test_connections.py` breaks connections, and cuts answers in pieces.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
from typing import Any

import structlog
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

log = structlog.get_logger(__name__)

SIZE_BYTES = 4  # an answer's length comes before it

plain_connect: Any = AIOKafkaConnection.connect
plain_send: Any = AIOKafkaConnection.send


def install() -> None:
    """For the whole process; once or more often."""
    connection: Any = AIOKafkaConnection
    connection.connect = _connect
    connection.send = _send


class Answers(asyncio.Protocol):
    """Takes over a connection that waits for no answer: hands it whole answers from then on."""

    def __init__(self, connection: Any, before: Any) -> None:
        """`before`: the stream's protocol, which still hears of all but data."""
        self._connection = connection
        self._before = before
        self._pieces: list[bytes] = []
        self._held = 0
        self._needed = SIZE_BYTES

    def data_received(self, data: bytes) -> None:
        self._pieces.append(data)
        self._held += len(data)
        while self._held >= self._needed:
            held = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            size = int.from_bytes(held[:SIZE_BYTES], "big")
            stop = SIZE_BYTES + size
            if len(held) < stop:
                self._pieces, self._needed = [held], stop
                return
            rest = held[stop:]
            self._pieces = [rest] if rest else []
            self._held, self._needed = len(rest), SIZE_BYTES
            try:
                self._connection._handle_frame(held[SIZE_BYTES:stop])
            except Exception as error:  # noqa: BLE001  # as aiokafka's own reader: nothing can be read on
                log.warning("connection_out_of_sync", error=repr(error))
                self._connection.close(reason=CloseReason.OUT_OF_SYNC, exc=error)
                return

    def eof_received(self) -> bool | None:
        return bool(self._before.eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        self._before.connection_lost(exc)

    def pause_writing(self) -> None:
        self._before.pause_writing()

    def resume_writing(self) -> None:
        self._before.resume_writing()


async def _connect(self: Any) -> Any:
    found = await plain_connect(self)
    if not self._requests:  # nothing is on its way, so no answer is half read
        transport = self._writer.transport
        transport.set_protocol(Answers(self, transport.get_protocol()))
    return found


def _send(self: Any, request: Any, expect_response: bool = True) -> Any:
    try:
        return plain_send(self, request, expect_response)
    except RuntimeError as error:
        self.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"{self.host}:{self.port}: {error}") from error
