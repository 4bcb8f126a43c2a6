"""An answer on its way to a client, who has to take it: others wait for the turn that it holds.

    a piece ── taken within `piece_s`, and all of them within `whole_s` ── the next one
            └─ not: the connection is cut, and with it the statement

`tests/cli/test_http_interface.py` has clients that stop reading.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, NamedTuple

from aiohttp import web

PIECE_BYTES = 1 << 18
PIECE_WITHIN_S = 10.0  # more: idle clients keep others out for longer; less: slow lines fail


class Patience(NamedTuple):
    """Seconds that an answer's client has."""

    whole_s: float
    piece_s: float = PIECE_WITHIN_S


class ClientStalled(Exception):
    """It does not read what it has asked for."""


class Writes:
    """Of one response that is prepared; its time begins now."""

    def __init__(
        self, request: web.Request, response: web.StreamResponse, patience: Patience
    ) -> None:
        self._request, self._response, self._patience = request, response, patience
        self._ends_s = asyncio.get_running_loop().time() + patience.whole_s

    async def add(self, part: bytes) -> None:
        """Raises ClientStalled; the connection is gone then."""
        view = memoryview(part)
        for at in range(0, len(part), PIECE_BYTES):
            await self._within(self._response.write(view[at : at + PIECE_BYTES]))

    async def end(self) -> None:
        """Raises as `add`."""
        await self._within(self._response.write_eof())

    async def _within(self, sent: Coroutine[Any, Any, None]) -> None:
        until_s = min(asyncio.get_running_loop().time() + self._patience.piece_s, self._ends_s)
        try:
            async with asyncio.timeout_at(until_s):
                await sent
        except TimeoutError:
            if self._request.transport is not None:
                self._request.transport.abort()
            raise ClientStalled from None
