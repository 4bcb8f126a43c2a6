"""aiokafka's connections, changed in two places for all clients of this process.

    send      On uvloop a write to a closed transport raises RuntimeError, where a plain loop ignores
              it; aiokafka does not expect that, and whatever task was sending ends, for example the
              one that fetches. Here it is the KafkaConnectionError that everybody tries again after.
    receive   aiokafka reads through a stream, whose task wakes for each 64 KiB of a fetch and copies
              it three times. Here the kernel writes into the place where an answer is put together.

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
LEAST_BYTES = 64 << 10  # of the place where answers are put together
MOST_BYTES = 16 << 20  # a larger place is given back when its answer was taken

plain_connect: Any = AIOKafkaConnection.connect
plain_send: Any = AIOKafkaConnection.send


def install() -> None:
    """For the whole process; once or more often."""
    connection: Any = AIOKafkaConnection
    connection.connect = _connect
    connection.send = _send


class Answers(asyncio.BufferedProtocol):
    """Takes over a connection that waits for no answer: hands it whole answers from then on."""

    def __init__(self, connection: Any, before: Any) -> None:
        """`before`: the stream's protocol, which still hears of all but data."""
        self._connection = connection
        self._before = before
        self._place = memoryview(bytearray(LEAST_BYTES))
        self._held = 0
        self._needed = SIZE_BYTES

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._place[self._held :]

    def buffer_updated(self, nbytes: int) -> None:
        self._held += nbytes
        if self._held < self._needed:
            return
        at = 0
        while (start := at + SIZE_BYTES) <= self._held:
            stop = start + int.from_bytes(self._place[at:start], "big")
            if stop > self._held:
                break
            if not self._hand_on(bytes(self._place[start:stop])):
                self._held = 0
                return
            at = stop
        self._keep(at)

    def _hand_on(self, answer: bytes) -> bool:
        """False: nothing can be read on."""
        try:
            self._connection._handle_frame(answer)
        except Exception as error:  # noqa: BLE001  # as aiokafka's own reader
            log.warning("connection_out_of_sync", error=repr(error))
            self._connection.close(reason=CloseReason.OUT_OF_SYNC, exc=error)
            return False
        return True

    def _keep(self, at: int) -> None:
        """What is held from there on is of the next answer: to the front of a place for all of it."""
        rest = bytes(self._place[at : self._held])
        self._held, self._needed = len(rest), SIZE_BYTES
        if len(rest) >= SIZE_BYTES:
            self._needed += int.from_bytes(rest[:SIZE_BYTES], "big")
        size = len(self._place)
        if self._needed > size or size > max(MOST_BYTES, self._needed):
            self._place = memoryview(
                bytearray(1 << (max(LEAST_BYTES, self._needed) - 1).bit_length())
            )
        self._place[: self._held] = rest

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
        transport.pause_reading()  # a transport decides how it reads when it begins to
        transport.set_protocol(Answers(self, transport.get_protocol()))
        transport.resume_reading()
    return found


def _send(self: Any, request: Any, expect_response: bool = True) -> Any:
    try:
        return plain_send(self, request, expect_response)
    except RuntimeError as error:
        self.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"{self.host}:{self.port}: {error}") from error
