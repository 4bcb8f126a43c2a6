"""What nobody gets through the warehouse's HTTP interface: files, addresses, and any change."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chimera.stores.clickhouse import ClickHouse
from tests.cli.http_served import Served


@pytest.fixture(scope="module")
def served(engine: ClickHouse, engine_folder: Path) -> Iterator[Served]:
    found = Served(engine_folder)
    yield found
    found.close()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM file('{secret}', 'LineAsString')",
        "SELECT * FROM `file`('{secret}', 'LineAsString')",
        "SELECT * FROM \"fi\\x6ce\"('{secret}')",
        "SELECT * FROM FILE /* */ ('{secret}', 'LineAsString')",
        "DESCRIBE file('{secret}', 'LineAsString')",
        "SELECT file('{secret}')",
        "SELECT (SELECT file ('{secret}'))",
        "SELECT * FROM '{secret}'",
        "SELECT * FROM numbers(1), '{secret}'",
        "SELECT * FROM numbers(1) AS a, numbers(1) AS b, '{secret}' AS c",
        "DESCRIBE '{secret}'",
        "SELECT (SELECT * FROM numbers(1), '{secret}')",
        "SELECT trim((SELECT * FROM '{secret}'))",
        "SELECT trim(LEADING (SELECT * FROM '{secret}') FROM 'a')",
        "SELECT 1 IN (FROM '{secret}' SELECT *)",
        "SELECT * FROM `{secret}`",
        "SELECT * FROM default.`{secret}`",
        "SELECT * FROM fileCluster('default', '{secret}', 'LineAsString')",
        "SELECT * FROM url('http://127.0.0.1:{port}/ping', 'LineAsString')",
        "SELECT * FROM urlCluster('default', 'http://127.0.0.1:{port}/ping', 'LineAsString')",
        "SELECT * FROM s3('http://127.0.0.1:{port}/bucket/key', 'CSV', 'a String')",
        "SELECT * FROM gcs('http://127.0.0.1:{port}/bucket/key', 'CSV', 'a String')",
        "SELECT * FROM hdfs('hdfs://127.0.0.1:{port}/key', 'CSV', 'a String')",
        "SELECT * FROM azureBlobStorage('a', 'b', 'c', 'CSV')",
        "SELECT * FROM iceberg('http://127.0.0.1:{port}/bucket/key')",
        "SELECT * FROM deltaLake('http://127.0.0.1:{port}/bucket/key')",
        "SELECT * FROM remote('127.0.0.1:{port}', 'system.one')",
        "SELECT * FROM remoteSecure('127.0.0.1:{port}', 'system.one')",
        "SELECT * FROM cluster('default', 'system.one')",
        "SELECT * FROM mysql('127.0.0.1:{port}', 'a', 'b', 'c', 'd')",
        "SELECT * FROM postgresql('127.0.0.1:{port}', 'a', 'b', 'c', 'd')",
        "SELECT * FROM mongodb('127.0.0.1:{port}', 'a', 'b', 'c', 'd', 'e String')",
        "SELECT * FROM redis('127.0.0.1:{port}', 'k', 'k String')",
        "SELECT * FROM sqlite('{secret}', 'a')",
        "SELECT * FROM executable('x', 'TSV', 'a String')",
        "SELECT * FROM Python(os)",
        "SELECT * FROM eval('SELECT 1')",
        "SELECT 1 INTO OUTFILE '{made}'",
        "SELECT 1 INTO/**/OUTFILE '{made}' TRUNCATE",
        "SELECT 1; SELECT file('{secret}')",
        "INSERT INTO FUNCTION file('{made}', 'CSV') SELECT 1",
        "INSERT INTO migrations (version, name) VALUES (99, 'x')",
        "CREATE TABLE default.t (a Int8) ENGINE = Memory",
        "CREATE TEMPORARY TABLE t (a Int8)",
        "DROP TABLE inference_log",
        "ALTER TABLE inference_log DELETE WHERE 1",
        "TRUNCATE TABLE inference_log",
        "SYSTEM STOP MERGES",
        "KILL QUERY WHERE 1",
        "SET readonly = 0",
        "SELECT 1 SETTINGS max_execution_time = 0",
        "BACKUP TABLE inference_log TO File('{made}')",
        "ATTACH DATABASE x",
        "WATCH x",
    ],
)
def test_nothing_is_written_and_no_file_or_address_is_read(
    served: Served, tmp_path: Path, sql: str
) -> None:
    secret, made = tmp_path / "secret.csv", tmp_path / "made"
    secret.write_text("hidden\n")
    said = served.ask(sql.replace("{secret}", str(secret)).format(port=served.port, made=made))
    assert said.status >= 400, said.body
    assert b"hidden" not in said.body
    assert not made.exists()


@pytest.mark.parametrize("sql", ["SELECT * FROM {t:Identifier}", "SELECT * FROM `{secret}`"])
@pytest.mark.parametrize("database", ["chimera", "default"])
@pytest.mark.parametrize("name", ["{secret}", "file('{secret}')", "'{secret}'"])
def test_no_name_of_a_table_is_a_file(
    served: Served, tmp_path: Path, sql: str, database: str, name: str
) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("hidden\n")
    asked = sql.replace("{secret}", str(secret))
    said = served.ask(asked, database=database, param_t=name.replace("{secret}", str(secret)))
    assert said.status >= 400, said.body
    assert b"hidden" not in said.body
