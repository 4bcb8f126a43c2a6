"""Readers of the embedded engine: handles that change nothing, for statements of strangers.

    open ── a handle ── limits SET, then `readonly` ── whole answer, or block by block ── close
    end  ── the statement is killed by its name, from another handle

A handle takes a millisecond to open, so each statement has its own: nothing of one is left for the
next. They live in the process that owns the folder, beside its writer. What the engine's `readonly`
still lets through is refused by its words (`statement.py`). All of it blocks.
`tests/cli/test_http_interface.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (chdb ships types for little)

import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from chimera.schemas.errors import ChimeraError, ClickHouseRefused
from chimera.stores.clickhouse import DATABASE
from chimera.stores.statement import require_harmless

T = TypeVar("T")

_CODE = re.compile(r"Code: (\d+)\. DB::")
_UNKNOWN_CODE = 1002
_DATABASE = re.compile(r"[A-Za-z_]\w{0,63}")
_LOWERED = {
    "max_execution_time": "seconds",
    "max_memory_usage": "memory_bytes",
    "max_result_rows": "rows",
}
_LOOKS = re.compile(
    r"extremes|join_use_nulls|session_timezone|date_time_(in|out)put_format|max_block_size"
    r"|max_threads|result_overflow_mode|format_csv_\w+|format_tsv_\w+|output_format_\w+"
)


class StatementFailed(ChimeraError):
    """The engine's refusal, in its own words; `code` is ClickHouse's."""

    def __init__(self, message: str) -> None:
        found = _CODE.search(message)
        self.code = int(found[1]) if found else _UNKNOWN_CODE
        super().__init__(message[found.start() :] if found else message)


@dataclass(frozen=True, slots=True)
class ReaderLimits:
    """Of one statement; its own may be lower."""

    seconds: int = 60
    memory_bytes: int = 2_000_000_000
    rows: int = 10_000_000  # of its answer


@dataclass(frozen=True, slots=True)
class Question:
    """A statement, and how its answer should look."""

    sql: str
    format: str = "TabSeparated"  # where it names none itself
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    database: str = DATABASE


class Summary(NamedTuple):
    """Of a statement that is done."""

    read_rows: int
    read_bytes: int
    result_rows: int
    result_bytes: int
    elapsed_ns: int


class Whole(NamedTuple):
    body: bytes
    summary: Summary


class Reader:
    """One statement's handle; made by `Readers.opened`."""

    def __init__(self, handle: Any, name: str, question: Question) -> None:
        self.name = name
        self._handle = handle
        self._question = question

    def whole(self) -> Whole:
        """All of the answer. Raises StatementFailed."""
        asked, began_ns = self._question, time.monotonic_ns()
        found = _tried(
            lambda: self._handle.query(asked.sql, asked.format, params=dict(asked.parameters))
        )
        body: bytes = found.bytes() or b""
        read = found.storage_rows_read(), found.storage_bytes_read()
        elapsed_ns = time.monotonic_ns() - began_ns
        return Whole(body, Summary(*read, found.rows_read(), len(body), elapsed_ns))

    def blocks(self) -> Iterator[bytes]:
        """The answer as it is computed. Raises StatementFailed."""
        asked = self._question
        found = _tried(
            lambda: self._handle.send_query(asked.sql, asked.format, params=dict(asked.parameters))
        )
        while (block := _tried(found.fetch)) is not None:
            yield block.bytes()


class Readers:
    """Of one folder, in the process that owns it."""

    def __init__(self, folder: Path, limits: ReaderLimits, size: int) -> None:
        """`size`: statements at a time."""
        self.size = size
        self._path = os.path.realpath(folder)
        self._limits = limits
        self._control = self._connect()  # it kills
        self._turn = threading.Lock()
        self._table_functions = frozenset(
            self._told("SELECT lower(name) FROM system.table_functions").split()
        )
        self.timezone = self._told("SELECT timezone()").strip()

    @contextmanager
    def opened(self, question: Question) -> Generator[Reader]:
        """A handle for this statement, closed at the end.

        Raises:
            StatementFailed: it may not be asked, or a setting is none or not allowed.
        """
        try:
            require_harmless(question.sql, self._table_functions)
        except ClickHouseRefused as error:
            raise StatementFailed(str(error)) from None
        name, handle = uuid.uuid4().hex, self._connect()
        try:
            for statement in _preparation(self._limits, question, name):
                _tried(lambda statement=statement: handle.query(statement, "TabSeparated"))  # type: ignore[misc]  # bound at once
            yield Reader(handle, name, question)
        finally:
            handle.close()

    def end(self, reader: Reader) -> None:
        """Kill what it runs, if it runs."""
        with self._turn:
            self._control.query(
                f"KILL QUERY WHERE Settings['log_comment'] = '{reader.name}' ASYNC", "TabSeparated"
            )

    def close(self) -> None:
        self._control.close()

    def _connect(self) -> Any:
        import chdb

        return chdb.connect(self._path)  # type: ignore[no-untyped-call]  # it has no types

    def _told(self, sql: str) -> str:
        found: bytes = self._control.query(sql, "TabSeparated").bytes()
        return found.decode()


def _preparation(limits: ReaderLimits, question: Question, name: str) -> Iterator[str]:
    """What makes a handle a reader. Raises StatementFailed."""
    wanted = {setting: getattr(limits, limit) for setting, limit in _LOWERED.items()}
    database = question.database or DATABASE
    if not _DATABASE.fullmatch(database):
        raise StatementFailed(
            f"Code: 81. DB::Exception: No database {database!r}. (UNKNOWN_DATABASE)"
        )
    yield f"USE {database}"
    for setting, value in question.settings.items():
        if setting in wanted:
            wanted[setting] = _lowered(setting, value, wanted[setting])
        elif _LOOKS.fullmatch(setting):
            yield f"SET {setting} = '{_escaped(value)}'"
        else:
            raise StatementFailed(
                f"Code: 164. DB::Exception: Cannot modify '{setting}' setting in readonly mode."
                " (READONLY)"
            )
    for setting, limit in wanted.items():
        yield f"SET {setting} = {limit}"
    yield f"SET log_comment = '{name}'"
    yield "SET readonly = 1"


def _lowered(setting: str, value: str, limit: int) -> int:
    """Our limit, or the client's where that is lower; 0 is ClickHouse's word for none."""
    if not value.isdigit():
        raise StatementFailed(
            f"Code: 72. DB::Exception: {setting}: {value!r} is no number. (CANNOT_PARSE_NUMBER)"
        )
    return min(int(value) or limit, limit)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _tried(call: Callable[[], T]) -> T:
    """Raises StatementFailed: the engine did."""
    import chdb

    try:
        return call()
    except (chdb.ChdbError, RuntimeError) as error:
        raise StatementFailed(str(error)) from None
