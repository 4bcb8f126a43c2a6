"""ClickHouse's HTTP interface to the embedded engine, for reading: what analysts' own tools speak.

    GET, POST /   a statement's answer: whole, or block by block while it is computed
    GET /ping     Ok.        GET /metrics   of the sinks, for Prometheus

A reader serves one statement at a time; some wait their turn, and more are refused. A client that goes
away, or that stops reading, ends its statement. Without a password, who names another host than this
machine is refused. Errors have ClickHouse's text, code and status; one that comes after the first
block is told in the body, behind a tag that a header announced, as ClickHouse does it.
`tests/cli/test_http_interface.py` asks with clickhouse-connect and by hand.
"""

import json
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from chimera.cli.warehousing.http_answers import Answering, Answers
from chimera.cli.warehousing.http_blocks import Frames
from chimera.cli.warehousing.http_bodies import MOST_BYTES, Encoder, Plain, encoder
from chimera.cli.warehousing.http_hosts import in_url, names_loopback
from chimera.cli.warehousing.http_question import Asked, is_admitted, read
from chimera.cli.warehousing.http_statuses import content_type, status_of
from chimera.cli.warehousing.http_writes import ClientStalled, Patience, Writes
from chimera.schemas.errors import ConfigurationError
from chimera.stores.readers import StatementFailed, Summary
from chimera.stores.statement import STREAMED

_TAG_BYTES = 8


class Interface:
    """Of one warehouse."""

    def __init__(
        self,
        answers: Answers | None,
        password: str | None,
        metrics: CollectorRegistry,
        patience: Patience,
    ) -> None:
        """`answers`: none where a server of one's own is asked itself."""
        self._answers = answers
        self._password = password
        self._metrics = metrics
        self._patience = patience

    def application(self) -> web.Application:
        guards = [_require_loopback] if self._password is None else []
        app = web.Application(client_max_size=MOST_BYTES, middlewares=guards)
        app.router.add_get("/ping", self._ping)
        app.router.add_get("/replicas_status", self._ping)
        app.router.add_get("/metrics", self._show_metrics)
        if self._answers is not None:
            answer = partial(self._answer, self._answers)
            app.router.add_route("GET", "/", answer)
            app.router.add_route("POST", "/", answer)
        return app

    async def _ping(self, _: web.Request) -> web.Response:
        return web.Response(text="Ok.\n")

    async def _show_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._metrics), content_type="text/plain")

    async def _answer(self, answers: Answers, request: web.Request) -> web.StreamResponse:
        if request.method == "GET" and not request.query_string:
            return await self._ping(request)
        query_id, is_framed = "", False
        try:
            if not is_admitted(request, self._password):
                raise StatementFailed(
                    "Code: 516. DB::Exception: Authentication failed: password is incorrect."
                    " (AUTHENTICATION_FAILED)"
                )
            asked = await read(request)
            query_id, is_framed = asked.query_id, asked.is_framed
            zone = answers.timezone
            async with answers.taken(asked.question) as answering:
                if asked.is_whole or asked.question.format not in STREAMED:
                    return await _whole(asked, answering, zone)
                return await self._streamed(request, asked, answering, zone)
        except StatementFailed as error:
            return _failed(error, query_id, is_framed=is_framed)

    async def _streamed(
        self, request: web.Request, asked: Asked, answering: Answering, timezone: str
    ) -> web.StreamResponse:
        blocks = answering.blocks()
        first = await anext(blocks, b"")  # what fails before it has a status of its own
        name, encoding = _encoder(asked)
        tag = secrets.token_hex(_TAG_BYTES)
        headers = _headers(asked, name, timezone) | {"X-ClickHouse-Exception-Tag": tag}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        writes = Writes(request, response, self._patience)
        with suppress(ClientStalled):
            try:
                await writes.add(encoding.encode(first))
                async for block in blocks:
                    await writes.add(encoding.encode(block))
            except StatementFailed as error:
                await writes.add(encoding.encode(_marked(str(error), tag)))
            await writes.add(encoding.finish())
            await writes.end()
        return response


@web.middleware
async def _require_loopback(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    if not names_loopback(request.headers.get("Host", "")):
        raise web.HTTPForbidden(text="without a password, ask as localhost or 127.0.0.1\n")
    return await handler(request)


async def _whole(asked: Asked, answering: Answering, timezone: str) -> web.Response:
    found = await answering.whole()
    name, encoding = _encoder(asked)
    body = await answering.apart(lambda: encoding.encode(found.body) + encoding.finish())
    headers = _headers(asked, name, timezone) | {"X-ClickHouse-Summary": _told(found.summary)}
    return web.Response(body=body, headers=headers)


def _encoder(asked: Asked) -> tuple[str | None, Encoder]:
    """Frames are ClickHouse's own, and no encoding of HTTP's."""
    return (None, Frames()) if asked.is_framed else encoder(asked.accepts)


def _headers(asked: Asked, encoding: str | None, timezone: str) -> dict[str, str]:
    found = {
        "Content-Type": content_type(asked.question.format),
        "X-ClickHouse-Format": asked.question.format,
        "X-ClickHouse-Query-Id": asked.query_id,
        "X-ClickHouse-Server-Display-Name": "chimera",
        "X-ClickHouse-Timezone": timezone,
    }
    return found if encoding is None else found | {"Content-Encoding": encoding}


def _told(summary: Summary) -> str:
    return json.dumps({name: str(value) for name, value in summary._asdict().items()})


def _failed(error: StatementFailed, query_id: str, *, is_framed: bool) -> web.Response:
    headers = {"X-ClickHouse-Exception-Code": str(error.code), "X-ClickHouse-Query-Id": query_id}
    told, encoding = f"{error}\n".encode(), Frames() if is_framed else Plain()
    return web.Response(
        status=status_of(error.code),
        body=encoding.encode(told),
        headers=headers,
        content_type="text/plain",
        charset="utf-8",
    )


def _marked(message: str, tag: str) -> bytes:
    told = message.encode() + b"\n"
    edge = b"__exception__\r\n"
    mark = tag.encode()
    return b"\r\n%s%s\r\n%s%d %s\r\n%s" % (edge, mark, told, len(told), mark, edge)


@asynccontextmanager
async def serving(interface: Interface, host: str, port: int) -> AsyncGenerator[str]:
    """Its URL; clients that go away cancel what they asked.

    Raises:
        ConfigurationError: the port is taken.
    """
    runner = web.AppRunner(interface.application(), handler_cancellation=True, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ConfigurationError(f"CHIMERA_CLICKHOUSE__HTTP_PORT: {error}") from None
        found_host, found_port = runner.addresses[0][:2]
        yield f"http://{in_url(found_host)}:{found_port}"
    finally:
        await runner.cleanup()
