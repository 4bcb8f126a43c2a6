"""ClickHouse, embedded or a server: commands, rows of a query, and an INSERT of one finished block.

The embedded engine is chDB, in this process, behind the same client library as a server; one process
owns its folder. Everything here blocks: an event loop calls it from a thread, one call at a time.
An error that may pass is `ClickHouseUnavailable`; whatever was being inserted may be there or not,
and is inserted again under the same token. `tests/stores/test_clickhouse.py`.
"""

# pyright: reportUnknownMemberType=false
# (clickhouse-connect's types are partial)

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from chimera.schemas.errors import ChimeraError, ClickHouseRefused, ClickHouseUnavailable
from chimera.stores.statement import require_harmless

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

T = TypeVar("T")

DATABASE = "chimera"
PASSING: Mapping[int, str] = {
    75: "CANNOT_WRITE_TO_FILE_DESCRIPTOR",
    159: "TIMEOUT_EXCEEDED",
    173: "CANNOT_ALLOCATE_MEMORY",
    198: "DNS_ERROR",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    209: "SOCKET_TIMEOUT",
    210: "NETWORK_ERROR",
    225: "NO_ZOOKEEPER",
    236: "ABORTED",
    241: "MEMORY_LIMIT_EXCEEDED",
    242: "TABLE_IS_READ_ONLY",
    243: "NOT_ENOUGH_SPACE",
    252: "TOO_MANY_PARTS",
    279: "ALL_CONNECTION_TRIES_FAILED",
    319: "UNKNOWN_STATUS_OF_INSERT",
    394: "QUERY_WAS_CANCELLED",
    425: "SYSTEM_ERROR",
    439: "CANNOT_SCHEDULE_TASK",
    499: "S3_ERROR",
    733: "TABLE_IS_BEING_RESTARTED",
    745: "SERVER_OVERLOADED",
    999: "KEEPER_EXCEPTION",
}
"""Errors that pass, or that somebody mends while it is asked again: a full disk, too."""

Row = Sequence[Any]

_AS_THEY_REST = {"String": "bytes"}


class Answer(NamedTuple):
    """Of a query."""

    names: Sequence[str]
    rows: Sequence[Row]


class ClickHouse:
    """One handle; see `embedded` and `server`."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    def command(self, sql: str) -> None:
        """A statement without rows. Raises as `rows`."""
        self._tried(lambda: self._client.command(sql))

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Row]:
        """All rows of a query; parameters stand in it as {name:Type}.

        Raises:
            ClickHouseUnavailable: it does not answer, or has no room now.
            ClickHouseRefused: the statement is wrong.
        """
        return self._tried(lambda: self._client.query(sql, dict(parameters or {})).result_rows)

    def columns(
        self, names: Sequence[str], source: str, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Sequence[Any]]:
        """These columns of what `source` says (FROM ...); texts are bytes, as they rest.

        Raises:
            ClickHouseUnavailable, ClickHouseRefused: as `rows`.
        """
        sql, given, forms = f"SELECT {', '.join(names)} {source}", parameters or {}, _AS_THEY_REST
        found = self._tried(
            lambda: self._client.query(sql, dict(given), query_formats=forms).result_columns
        )
        return found or [()] * len(names)

    def ask(self, sql: str) -> Answer:
        """A stranger's question, answered with the columns' names. Raises as `rows`.

        Refused, too: what reads a file or an address, which a reader could.
        """
        functions = self.rows("SELECT lower(name) FROM system.table_functions")
        require_harmless(sql, {name for (name,) in functions})
        found = self._tried(lambda: self._client.query(sql))
        return Answer(tuple(found.column_names), found.result_rows)

    def read_only(self, limits: Mapping[str, int]) -> None:
        """From now on this handle of the engine changes nothing; `limits` by their settings' names."""
        sets = (f"SET {name} = {value}" for name, value in limits.items())
        for statement in (f"USE {DATABASE}", *sets, "SET readonly = 1"):
            self.command(statement)

    def insert(self, table: str, columns: Sequence[str], block: bytes, token: str) -> None:
        """All rows of a Native block or none; nothing, if that token was inserted already."""
        settings = {"insert_deduplication_token": token, "async_insert": 0}
        self._tried(
            lambda: self._client.raw_insert(
                f"{DATABASE}.{table}", list(columns), block, settings=settings, fmt="Native"
            )
        )

    def close(self) -> None:
        self._client.close()

    def _tried(self, call: Callable[[], T]) -> T:
        from clickhouse_connect.driver import exceptions

        try:
            return call()
        except (exceptions.Error, OSError) as error:
            raise _judged(error) from None


def embedded(folder: Path) -> ClickHouse:
    """The engine in this process, with its data in `folder`; a process has one folder for life."""
    import clickhouse_connect

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return ClickHouse(clickhouse_connect.get_client(interface="chdb", path=str(folder)))


def server(dsn: str) -> ClickHouse:
    """A server over HTTP.

    Raises:
        ClickHouseUnavailable: it does not answer. ClickHouseRefused: it does not let us in.
    """
    return ClickHouse(_client(dsn))


def reader(dsn: str, limits: Mapping[str, int]) -> ClickHouse:
    """A server that is asked alone: each request says that it changes nothing, and how far it may go.

    What the account may not set itself is left as it is: it is a reader's account already. Raises as
    `server`; ClickHouseRefused: it has no database of ours.
    """
    client = _client(dsn, DATABASE)
    known = client.server_settings.get("readonly")
    account = known.value if known is not None else "0"
    wanted: dict[str, int] = {} if account == "1" else dict(limits)
    if account == "0":
        wanted["readonly"] = 1
    for name, value in wanted.items():
        client.set_client_setting(name, value)
    return ClickHouse(client)


def _client(dsn: str, database: str | None = None) -> "Client":
    import clickhouse_connect
    from clickhouse_connect.driver import exceptions

    try:
        return clickhouse_connect.get_client(
            dsn=dsn, database=database, autogenerate_session_id=False
        )
    except (exceptions.Error, OSError) as error:
        raise _judged(error) from None


def _judged(error: Exception) -> ChimeraError:
    """A database's error with a code that does not pass is a refusal."""
    code = getattr(error, "code", None)
    kind = ClickHouseUnavailable if code is None or code in PASSING else ClickHouseRefused
    return kind(_first_line(error))


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:500]
