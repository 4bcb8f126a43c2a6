"""A witness over HTTP: C2SP tlog-witness's two calls, and nothing else.

    POST /add-checkpoint              200 and the cosignature, or 400, 403, 404, 409, 422 and why
    GET  /<origin hash>/checkpoint    the checkpoint that was cosigned last

There is no account: a checkpoint's own signature says who asks. `tests/cli/test_witness.py`.
"""

import asyncio

from aiohttp import web

from chimera.schemas.transparency.witnessing import CONFLICT, MAX_REQUEST_BYTES
from chimera.stores.witness import Cosigned, Witness

_SIZE_TYPE, _TEXT_TYPE = "text/x.tlog.size", "text/plain"


def application(witness: Witness) -> web.Application:
    """For one witness, which stays the caller's to close."""

    async def add_checkpoint(request: web.Request) -> web.Response:
        answer = await asyncio.to_thread(witness.submit, await request.read())
        if isinstance(answer, Cosigned):
            return _text(200, answer.line)
        if answer.status == CONFLICT:
            return _text(CONFLICT, f"{answer.size}\n", _SIZE_TYPE)
        return _text(answer.status, f"{answer.reason}\n")

    async def checkpoint(request: web.Request) -> web.Response:
        origin_hash = request.match_info["origin_hash"]
        note = await asyncio.to_thread(witness.latest, origin_hash)
        if note is None:
            return _text(404, "no checkpoint of this log was cosigned here\n")
        return _text(200, note.decode())

    app = web.Application(client_max_size=MAX_REQUEST_BYTES)
    app.router.add_post("/add-checkpoint", add_checkpoint)
    app.router.add_get("/{origin_hash:[0-9a-f]{64}}/checkpoint", checkpoint)
    return app


def _text(status: int, text: str, content_type: str = _TEXT_TYPE) -> web.Response:
    return web.Response(status=status, body=text.encode(), content_type=content_type)
