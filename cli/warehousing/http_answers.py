"""Answers of the engine to a loop: each statement on a thread, for as long as somebody listens.

    taken ── a turn, or too many wait ── a reader ── whole, or block by block
          └─ at the end, however it comes: the statement is killed, its thread awaited, the turn free

`tests/cli/test_http_interface.py`.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from typing import Any, TypeVar

from chimera.stores.readers import Question, Reader, Readers, StatementFailed, Whole

T = TypeVar("T")

WAITING_EACH = 8  # statements that may wait, for each that may run
_KILL_EVERY_S = 0.1  # until it is gone: it may only just have begun


class Answering:
    """One statement's."""

    def __init__(self, readers: Readers, threads: ThreadPoolExecutor, question: Question) -> None:
        self._readers = readers
        self._threads = threads
        self._question = question
        self._opened = ExitStack()
        self._reader: Reader | None = None
        self._running: asyncio.Future[Any] | None = None

    async def whole(self) -> Whole:
        """Raises StatementFailed."""
        return await self.apart(lambda: self._open().whole())

    async def blocks(self) -> AsyncIterator[bytes]:
        """Raises StatementFailed."""
        blocks = await self.apart(lambda: self._open().blocks())
        while (block := await self.apart(lambda: next(blocks, None))) is not None:
            yield block

    async def apart(self, call: Callable[[], T]) -> T:
        """Off the loop; it goes on when nobody waits for it any more."""
        running = asyncio.get_running_loop().run_in_executor(self._threads, call)
        self._running = running
        return await asyncio.shield(running)

    async def end(self) -> None:
        """Nothing of it runs any more when it returns."""
        running = self._running
        while running is not None and not running.done():
            if self._reader is not None:
                await asyncio.to_thread(self._readers.end, self._reader)
            await asyncio.wait([running], timeout=_KILL_EVERY_S)
        await asyncio.get_running_loop().run_in_executor(self._threads, self._opened.close)

    def _open(self) -> Reader:
        self._reader = self._opened.enter_context(self._readers.opened(self._question))
        return self._reader


class Answers:
    """Of all readers of one engine."""

    def __init__(self, readers: Readers) -> None:
        self.timezone = readers.timezone
        self._readers = readers
        self._threads = ThreadPoolExecutor(readers.size, "reader")
        self._turns = asyncio.Semaphore(readers.size)
        self._room = readers.size * (1 + WAITING_EACH)

    @asynccontextmanager
    async def taken(self, question: Question) -> AsyncGenerator[Answering]:
        """Whoever leaves early ends its statement.

        Raises:
            StatementFailed: too many wait already.
        """
        if not self._room:
            raise StatementFailed(
                "Code: 202. DB::Exception: Too many simultaneous queries."
                " (TOO_MANY_SIMULTANEOUS_QUERIES)"
            )
        self._room -= 1
        try:
            async with self._turns:
                answering = Answering(self._readers, self._threads, question)
                try:
                    yield answering
                finally:
                    await asyncio.shield(answering.end())
        finally:
            self._room += 1

    def close(self) -> None:
        """Nobody is answered any more."""
        self._threads.shutdown()
        self._readers.close()
