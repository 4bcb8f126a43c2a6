"""The real engine behind ClickHouse's HTTP interface, for writing too, as a process that can be killed.

    python -m tests.integration.clickhouse_server FOLDER PORT READY_FILE

It stands where a ClickHouse server would: no registry that is reached from here has one of these
years. The engine, its parts on the disk and its deduplication are ClickHouse's own; the HTTP before it is ours.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (chdb ships types for little)

import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import chdb
from aiohttp import web

from chimera.cli.warehousing.http_question import read
from chimera.cli.warehousing.http_statuses import status_of
from chimera.stores.readers import Question, StatementFailed

_INSERT = re.compile(rb"\s*(INSERT INTO [^\n]+?)\s+FORMAT Native\n")
_ASKED = ("insert_deduplication_token", "async_insert")
_LIMITS = ("max_execution_time", "max_memory_usage", "max_result_rows", "readonly")  # in this order


class Server:
    """One statement at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._handle: Any = chdb.connect(str(folder / "data"))  # type: ignore[no-untyped-call]  # it has no types

    async def answer(self, request: web.Request) -> web.Response:
        try:
            body = await request.read()
            insert = _INSERT.match(body)
            if insert is not None:
                settings = {name: request.query[name] for name in _ASKED if name in request.query}
                return web.Response(body=self._insert(insert[1], body[insert.end() :], settings))
            question = (await read(request)).question
            answer = self._asked(question, request.query)
            return web.Response(body=answer, headers={"X-ClickHouse-Format": question.format})
        except StatementFailed as error:
            code = {"X-ClickHouse-Exception-Code": str(error.code)}
            return web.Response(status=status_of(error.code), text=str(error), headers=code)

    async def ping(self, _: web.Request) -> web.Response:
        return web.Response(text="Ok.\n")

    def _insert(self, statement: bytes, rows: bytes, settings: dict[str, str]) -> bytes:
        asked = ", ".join(f"{name} = '{value}'" for name, value in settings.items())
        with tempfile.NamedTemporaryFile(dir=self._folder) as file:
            file.write(rows)
            file.flush()
            clauses = f"FROM INFILE '{file.name}' SETTINGS {asked} FORMAT Native"
            return self._run(f"{statement.decode()} {clauses}", "TabSeparated", {})

    def _asked(self, question: Question, given: Mapping[str, str]) -> bytes:
        """Settings are one request's: it has a handle of its own."""
        handle: Any = chdb.connect(str(self._folder / "data"))  # type: ignore[no-untyped-call]  # it has no types
        try:
            if "database" in given:
                self._run(f"USE {given['database']}", "TabSeparated", {}, handle)
            for name in _LIMITS:
                if name in given:
                    self._run(f"SET {name} = {int(given[name])}", "TabSeparated", {}, handle)
            return self._run(question.sql, question.format, dict(question.parameters), handle)
        finally:
            handle.close()

    def _run(self, sql: str, form: str, parameters: dict[str, str], handle: Any = None) -> bytes:
        try:
            return (handle or self._handle).query(sql, form, params=parameters).bytes() or b""
        except (chdb.ChdbError, RuntimeError) as error:
            raise StatementFailed(str(error)) from None


def main(folder: Path, port: int, ready: Path) -> None:
    server = Server(folder)
    app = web.Application(client_max_size=1 << 30)
    app.router.add_get("/ping", server.ping)
    app.router.add_route("*", "/", server.answer)

    def begun(_: str) -> None:
        ready.touch()

    web.run_app(app, host="127.0.0.1", port=port, print=begun)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
