"""ClickHouse's HTTP interface over the embedded engine: asked by clickhouse-connect, and by hand."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false
# (clickhouse-connect's types are partial, and cramjam ships none for what it returns)

import datetime
import decimal
import gzip
import http.client
import ipaddress
import json
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import clickhouse_connect
import cramjam
import pytest
from clickhouse_connect.driver import exceptions
from clickhouse_connect.driver.client import Client

from chimera.cli.warehousing import http_blocks
from chimera.cli.warehousing.http_answers import WAITING_EACH
from chimera.cli.warehousing.http_bodies import MOST_BYTES
from chimera.cli.warehousing.http_writes import Patience
from chimera.stores.clickhouse import ClickHouse
from tests.cli.http_served import READERS, Served
from tests.waiting import until

LONG = "SELECT sum(sipHash64(number)) FROM numbers(1000000000000)"
KINDS: list[tuple[str, Any]] = [
    ("Int8", -128),
    ("UInt8", 255),
    ("Int64", -(2**63)),
    ("UInt64", 2**64 - 1),
    ("Int128", -(2**127)),
    ("UInt256", 2**256 - 1),
    ("Float64", 1.5e300),
    ("Bool", True),
    ("Decimal(18, 4)", decimal.Decimal("-12345678901234.5678")),
    ("Decimal(38, 10)", decimal.Decimal("1234567890123456789.0123456789")),
    ("Date", datetime.date(2106, 2, 7)),
    ("Date32", datetime.date(1900, 1, 1)),
    ("DateTime64(3, 'UTC')", datetime.datetime(2026, 1, 2, 3, 4, 5, 678_000, datetime.UTC)),
    ("String", "a\0b\n\tµ'"),
    ("FixedString(4)", b"a\0\0b"),
    ("LowCardinality(String)", "few"),
    ("LowCardinality(Nullable(String))", None),
    ("Nullable(Int32)", None),
    ("Nullable(String)", "there"),
    ("Array(Array(UInt16))", [[1, 2], [], [65535]]),
    ("Map(String, UInt64)", {"a": 1, "b": 2}),
    ("Tuple(UInt8, String)", (7, "x")),
    ("UUID", uuid.UUID("61f0c404-5cb3-11e7-907b-a6006ad3dba0")),
    ("IPv4", ipaddress.IPv4Address("192.0.2.1")),
    ("IPv6", ipaddress.IPv6Address("2001:db8::1")),
    ("Enum8('one' = 1, 'two' = 2)", "two"),
]


@pytest.fixture(scope="module")
def served(engine: ClickHouse, engine_folder: Path) -> Iterator[Served]:
    found = Served(engine_folder)
    yield found
    found.close()


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Client]:
    found = clickhouse_connect.get_client(host="127.0.0.1", port=served.port)
    yield found
    found.close()


def test_values_of_all_kinds_come_back_through_the_real_client(
    client: Client, engine_folder: Path
) -> None:
    columns = ", ".join(f"c{at} {kind}" for at, (kind, _) in enumerate(KINDS))
    row = [value for _, value in KINDS]
    with clickhouse_connect.get_client(interface="chdb", path=str(engine_folder)) as writer:
        writer.command("DROP TABLE IF EXISTS chimera.kinds")
        writer.command(f"CREATE TABLE chimera.kinds ({columns}) ENGINE = Memory")
        writer.insert("chimera.kinds", [row, row])
    found = client.query("SELECT * FROM kinds", tz_mode="aware")
    assert [list(one) for one in found.result_rows] == [row, row]
    assert [kind.name for kind in found.column_types] == [kind for kind, _ in KINDS]


def test_client_has_parameters_streams_frames_and_commands(client: Client) -> None:
    found = client.query(
        "SELECT {text:String}, {some:Array(Int8)}", {"text": "a\0'\\", "some": [1]}
    )
    assert list(found.result_rows[0]) == ["a\0'\\", [1]]
    with client.query_row_block_stream("SELECT number FROM numbers(300000)") as stream:
        blocks = [len(block) for block in stream]
    assert (sum(blocks), len(blocks) > 1) == (300_000, True)
    assert client.command("SELECT 7") == 7
    assert client.query_df("SELECT number AS n FROM numbers(3)")["n"].tolist() == [0, 1, 2]
    assert client.ping()


@pytest.mark.parametrize("encoding", ["lz4", "zstd", "gzip", False])
def test_client_reads_each_compression(served: Served, encoding: str | bool) -> None:
    port = served.port
    with clickhouse_connect.get_client(host="127.0.0.1", port=port, compress=encoding) as client:
        found = client.query("SELECT number FROM numbers(200000)").result_columns[0]
        assert sum(found) == 200_000 * 199_999 // 2


def test_client_gets_the_engines_error(client: Client) -> None:
    with pytest.raises(exceptions.DatabaseError, match="UNKNOWN_IDENTIFIER"):
        client.query("SELECT nope")
    with (
        pytest.raises(exceptions.Error, match="Value passed to 'throwIf'"),
        client.query_rows_stream(
            "SELECT throwIf(number = 3000000) FROM numbers(5000000)"
        ) as stream,
    ):
        for _ in stream:
            pass


def test_query_stands_in_the_url_in_the_body_or_in_both(served: Served) -> None:
    assert served.say("/?query=SELECT%201").body == b"1\n"
    assert served.say("/", b"SELECT 2").body == b"2\n"
    assert served.say("/?query=SELECT", b"3 + {a:UInt8}").status == 400
    assert served.say("/?query=SELECT&param_a=4", b"3 + {a:UInt8}").body == b"7\n"
    assert served.say("/?param_t=a%5Ctb", b"SELECT {t:String} = 'a\\tb'").body == b"1\n"
    assert served.say("/").body == b"Ok.\n"


def test_form_carries_query_and_parameters(served: Served) -> None:
    parts = {"query": "SELECT {a:UInt8} + 1", "param_a": "5"}
    body = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in parts.items()
    )
    kind = "multipart/form-data; boundary=b"
    assert served.say("/", f"{body}--b--\r\n".encode(), Content_Type=kind).body == b"6\n"


def test_format_is_the_statements_or_the_default(served: Served) -> None:
    plain = served.ask("SELECT 1 AS one")
    assert (plain.body, plain.headers["X-ClickHouse-Format"]) == (b"1\n", "TabSeparated")
    named = served.ask("SELECT 1 AS one FORMAT JSONEachRow -- at last;")
    assert (json.loads(named.body), named.headers["X-ClickHouse-Format"]) == (
        {"one": 1},
        "JSONEachRow",
    )
    assert named.headers["Content-Type"].startswith("application/x-ndjson")
    whole = served.ask("SELECT number FROM numbers(200000)", default_format="JSONCompact")
    assert json.loads(whole.body)["rows"] == 200_000
    parquet = served.ask("SELECT number FROM numbers(200000) FORMAT Parquet").body
    assert (parquet[:4], parquet[-4:]) == (b"PAR1", b"PAR1")


def test_answer_tells_its_id_zone_and_sum(served: Served) -> None:
    said = served.ask("SELECT number FROM numbers(1000)", query_id="mine-1", wait_end_of_query="1")
    assert said.headers["X-ClickHouse-Query-Id"] == "mine-1"
    assert said.headers["X-ClickHouse-Timezone"]
    summary = json.loads(said.headers["X-ClickHouse-Summary"])
    assert (summary["read_rows"], summary["result_rows"]) == ("1000", "1000")
    assert uuid.UUID(served.ask("SELECT 1").headers["X-ClickHouse-Query-Id"])


@pytest.mark.parametrize("whole", ["0", "1"])
def test_answer_is_as_small_as_the_client_wants(served: Served, whole: str) -> None:
    unpack: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.decompress,
        "deflate": zlib.decompress,
        "lz4": lambda body: bytes(cramjam.lz4.decompress(body)),
        "zstd": lambda body: bytes(cramjam.zstd.decompress(body)),
    }
    path = f"/?wait_end_of_query={whole}"
    plain = served.say(path, b"SELECT number FROM numbers(200000)").body
    for name, unpacked in unpack.items():
        said = served.say(
            path, b"SELECT number FROM numbers(200000)", Accept_Encoding=f"br;q=1, {name}"
        )
        assert said.headers["Content-Encoding"] == name
        assert (unpacked(said.body) == plain, len(said.body) < len(plain)) == (True, True)
    for name, packed in (
        ("gzip", gzip.compress(b"SELECT 5")),
        ("lz4", bytes(cramjam.lz4.compress(b"SELECT 5"))),
        ("zstd", bytes(cramjam.zstd.compress(b"SELECT 5"))),
    ):
        assert served.say(path, packed, Content_Encoding=name).body == b"5\n"


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("lz4", cramjam.lz4.compress),
        ("zstd", cramjam.zstd.compress),
    ],
)
def test_question_that_unpacks_to_too_much_is_refused(
    served: Served, encoding: str, packed: Callable[[bytes], Any]
) -> None:
    statement = b"SELECT 5"
    longest = bytes(packed(statement.ljust(MOST_BYTES)))
    assert len(longest) < 1 << 16
    assert served.say("/", longest, Content_Encoding=encoding).body == b"5\n"
    bomb = bytes(packed(statement.ljust(64 * MOST_BYTES)))
    said = served.say("/", bomb, Content_Encoding=encoding)
    assert said.status in (400, 413)
    assert served.say("/", longest, Content_Encoding=encoding).body == b"5\n"


def test_frames_of_clickhouses_own_are_written_and_read(served: Served) -> None:
    """As JDBC drivers ask for them."""
    said = served.ask("SELECT number FROM numbers(300000)", compress="1")
    assert "Content-Encoding" not in said.headers
    assert http_blocks.decoded(said.body) == b"".join(b"%d\n" % at for at in range(300_000))
    failed = served.ask("SELECT * FROM nope", compress="1")
    assert (failed.status, failed.headers["X-ClickHouse-Exception-Code"]) == (404, "60")
    assert http_blocks.decoded(failed.body).startswith(b"Code: 60. DB::Exception")
    asked = http_blocks.Frames().encode(b"SELECT 5")
    assert served.say("/?decompress=1", asked).body == b"5\n"
    assert served.say("/?decompress=1", asked[:-1]).status == 400


@pytest.mark.parametrize(
    ("sql", "status", "code"),
    [
        ("SELEC 1", 403, 497),
        ("SELECT 1 +", 400, 62),
        ("SELECT * FROM nope", 404, 60),
        ("SELECT nope()", 404, 46),
        ("SELECT 1 FORMAT Nope", 404, 73),
        ("SELECT throwIf(1)", 500, 395),
        ("SELECT {a:UInt8}", 400, 456),
        ("SELECT number FROM numbers(20000000) FORMAT JSONCompact", 500, 396),
    ],
)
def test_error_has_clickhouses_code(served: Served, sql: str, status: int, code: int) -> None:
    said = served.ask(sql)
    assert (said.status, said.headers["X-ClickHouse-Exception-Code"]) == (status, str(code))
    assert said.body.startswith(f"Code: {code}. DB::".encode())


def test_error_after_the_first_block_is_told_in_the_body(served: Served) -> None:
    said = served.ask("SELECT throwIf(number = 3000000) FROM numbers(5000000)")
    tag = said.headers["X-ClickHouse-Exception-Tag"].encode()
    end = said.body.rpartition(b"\r\n__exception__\r\n" + tag)[0]
    assert said.status == 200
    assert said.body.endswith(tag + b"\r\n__exception__\r\n")
    assert b"Code: 395. DB::Exception" in said.body[len(end) :]


def test_settings_of_looks_are_taken_and_limits_only_lowered(served: Served) -> None:
    quoted = served.ask(
        "SELECT toUInt64(1) AS a FORMAT JSONEachRow", output_format_json_quote_64bit_integers="1"
    )
    assert quoted.body == b'{"a":"1"}\n'
    asked = "SELECT getSetting('max_execution_time'), getSetting('readonly')"
    assert served.ask(asked, max_execution_time="3").body.split() == [b"3", b"1"]
    assert served.ask(asked, max_execution_time="0").body.split() == [b"20", b"1"]
    assert served.ask(asked, max_execution_time="999").body.split() == [b"20", b"1"]
    of_writers = {"async_insert": "1", "wait_for_async_insert": "1"}  # a JDBC driver says so always
    assert served.ask("SELECT 1", **of_writers).body == b"1\n"
    refused = served.ask("SELECT 1", allow_introspection_functions="1")
    assert (refused.status, refused.headers["X-ClickHouse-Exception-Code"]) == (403, "164")
    assert served.ask("SELECT currentDatabase()", database="system").body == b"system\n"
    assert served.ask("SELECT 1", database="x; DROP").status == 404


def running(engine: ClickHouse) -> int:
    ((count,),) = engine.rows(
        "SELECT count() FROM system.processes WHERE query LIKE '%sipHash64(number)%'"
        " AND query NOT LIKE '%processes%'"
    )
    return int(count)


def leave(served: Served, sql: str) -> http.client.HTTPConnection:
    """Ask, and do not wait."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port)
    connection.request("GET", f"/?query={quote(sql)}")
    return connection


def test_client_that_goes_away_ends_its_statement(served: Served, engine: ClickHouse) -> None:
    for _ in range(2):  # twice as many as there are readers, all in all
        left = [leave(served, LONG) for _ in range(READERS)]
        until(lambda: running(engine) == READERS)
        for connection in left:
            connection.close()
        until(lambda: running(engine) == 0)
    assert served.ask("SELECT 1").body == b"1\n"


@pytest.mark.parametrize("patience", [Patience(20, piece_s=0.5), Patience(0.5, piece_s=20)])
def test_client_that_stops_reading_loses_its_statement(
    engine: ClickHouse, engine_folder: Path, patience: Patience
) -> None:
    patient = Served(engine_folder, patience=patience)
    try:
        left = [leave(patient, "SELECT * FROM numbers(10000000)") for _ in range(READERS)]
        assert patient.ask("SELECT 1").body == b"1\n"
        for connection in left:
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                connection.getresponse().read()
            connection.close()
    finally:
        patient.close()


def test_client_that_reads_slowly_keeps_its_statement(
    engine: ClickHouse, engine_folder: Path
) -> None:
    patient = Served(engine_folder, patience=Patience(20, piece_s=2))
    try:
        connection = leave(patient, "SELECT * FROM numbers(3000000)")
        answer, size = connection.getresponse(), 0
        while part := answer.read(2_000_000):
            size += len(part)
            time.sleep(0.2)
        assert size == sum(len(str(number)) + 1 for number in range(3_000_000))
        connection.close()
    finally:
        patient.close()


def test_more_than_may_wait_are_refused(served: Served, engine: ClickHouse) -> None:
    left = [leave(served, LONG) for _ in range(READERS * (1 + WAITING_EACH))]
    try:
        until(lambda: served.ask("SELECT 1").status == 503)
        until(lambda: running(engine) == READERS)
    finally:
        for connection in left:
            connection.close()
    until(lambda: served.ask("SELECT 1").status == 200)
    until(lambda: running(engine) == 0)
    assert served.ask("SELECT 1").body == b"1\n"


def test_password_is_asked_for_where_there_is_one(engine_folder: Path, engine: ClickHouse) -> None:
    guarded = Served(engine_folder, "s3cret")
    try:
        refused = guarded.ask("SELECT 1")
        assert (refused.status, refused.headers["X-ClickHouse-Exception-Code"]) == (403, "516")
        assert guarded.ask("SELECT 1", password="wrong").status == 403
        assert guarded.ask("SELECT 1", password="s3cret").body == b"1\n"
        assert guarded.say("/", b"SELECT 1", X_ClickHouse_Key="s3cret").body == b"1\n"
        with clickhouse_connect.get_client(
            host="127.0.0.1", port=guarded.port, password="s3cret"
        ) as client:
            assert client.command("SELECT 1") == 1
        assert guarded.say("/ping", Host="db.example:8123").body == b"Ok.\n"
    finally:
        guarded.close()


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.2:8", "[::1]:9"]
)
def test_request_names_this_machine_as_its_host(served: Served, host: str) -> None:
    assert served.say("/", b"SELECT 1", Host=host).body == b"1\n"


@pytest.mark.parametrize(
    "host", ["evil.example:8123", "localhost.evil.example", "10.0.0.1", "[", ""]
)
@pytest.mark.parametrize("path", ["/?query=SELECT%201", "/metrics"])
def test_request_that_names_another_host_is_refused_without_a_password(
    served: Served, host: str, path: str
) -> None:
    said = served.say(path, Host=host)
    assert (said.status, said.body[:18]) == (403, b"without a password")


def test_metrics_are_shown(served: Served) -> None:
    assert b"chimera_sink_rows_total 7.0" in served.say("/metrics").body
