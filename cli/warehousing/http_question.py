"""What an HTTP request asks, as ClickHouse's interface has it: URL, headers and body.

    query          in the URL, in the body, or begun in the one and ended in the other
    param_<name>   what {name:Type} stands for;  default_format, database, query_id
    compress       the answer comes in frames of ClickHouse's own; decompress: the body does
    settings       those of the answer's looks, and limits that are lower than ours

A form (multipart) carries `query` and parameters, too. What only a writer or a session needs is passed
over; what would change the answer and is not known here is refused. `tests/cli/test_http_interface.py`.
"""

import base64
import hmac
import re
import uuid
from typing import NamedTuple

from aiohttp import web

from chimera.cli.warehousing import http_blocks
from chimera.cli.warehousing.http_bodies import decoded
from chimera.stores.readers import Question, StatementFailed
from chimera.stores.statement import asked_format

PASSED_OVER = frozenset(
    [
        "add_http_cors_header",
        "async_insert",
        "buffer_size",
        "cancel_http_readonly_queries_on_client_close",
        "client_protocol_version",
        "close_session",
        "enable_http_compression",
        "http_headers_progress_interval_ms",
        "log_queries",
        "query",
        "query_id",
        "quota_key",
        "readonly",
        "role",
        "send_progress_in_http_headers",
        "session_check",
        "session_id",
        "session_timeout",
        "stacktrace",
        "user",
        "password",
        "database",
        "default_format",
        "wait_end_of_query",
        "wait_for_async_insert",
        "http_write_exception_in_output_format",
    ]
)
_TRUE = frozenset({"1", "true"})
_QUERY_ID = re.compile(r"[\x21-\x7e]{1,256}")


class Asked(NamedTuple):
    question: Question
    query_id: str
    is_whole: bool  # the client waits for the end: an error may still be told in the status
    accepts: str  # encodings
    is_framed: bool  # as ClickHouse frames compressed data; then in no encoding


async def read(request: web.Request) -> Asked:
    """Raises StatementFailed: it is no question, or asks for what is not here."""
    given = dict(request.query)
    is_framed, brings_frames = (given.pop(one, "0") in _TRUE for one in ("compress", "decompress"))
    body = await _body(request, given, is_framed=brings_frames)
    sql = f"{given.get('query', '')}\n{body}".strip()
    if not sql:
        raise StatementFailed("Code: 62. DB::Exception: Empty query. (SYNTAX_ERROR)")
    headers = request.headers
    settings = {
        name: value
        for name, value in given.items()
        if name not in PASSED_OVER and not name.startswith("param_")
    }
    question = Question(
        sql=sql,
        format=asked_format(sql)
        or given.get("default_format")
        or headers.get("X-ClickHouse-Format")
        or "TabSeparated",
        parameters={
            name.removeprefix("param_"): value
            for name, value in given.items()
            if name.startswith("param_")
        },
        settings=settings,
        database=given.get("database") or headers.get("X-ClickHouse-Database") or "",
    )
    query_id = given.get("query_id") or ""
    wants_encoding = given.get("enable_http_compression", "1") in _TRUE
    return Asked(
        question,
        query_id if _QUERY_ID.fullmatch(query_id) else str(uuid.uuid4()),
        given.get("wait_end_of_query") in _TRUE,
        headers.get("Accept-Encoding", "") if wants_encoding else "",
        is_framed,
    )


def is_admitted(request: web.Request, password: str | None) -> bool:
    """Whether the request brings the password, in one of the ways that ClickHouse takes it."""
    if password is None:
        return True
    given = request.headers.get("X-ClickHouse-Key") or request.query.get("password", "")
    authorization = request.headers.get("Authorization", "")
    if authorization.lower().startswith("basic "):
        try:
            pair = base64.b64decode(authorization[len("basic ") :], validate=True).decode()
        except ValueError:
            return False
        given = pair.partition(":")[2]
    return hmac.compare_digest(given.encode(), password.encode())


async def _body(request: web.Request, given: dict[str, str], *, is_framed: bool) -> str:
    """The body's part of the statement; a form's fields go to `given`."""
    if request.content_type == "multipart/form-data":
        for name, field in (await request.post()).items():
            if not isinstance(field, str):
                raise StatementFailed(
                    "Code: 48. DB::Exception: External data is not here. (NOT_IMPLEMENTED)"
                )
            given[name] = field
        return ""
    try:
        body = decoded(await request.read(), request.headers.get("Content-Encoding", ""))
        return (http_blocks.decoded(body) if is_framed else body).decode()
    except ValueError as error:  # of UTF-8, too
        raise StatementFailed(f"Code: 62. DB::Exception: {error}. (SYNTAX_ERROR)") from None
