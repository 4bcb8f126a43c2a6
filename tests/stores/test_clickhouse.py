"""The embedded engine: what it answers, what it refuses, and what a reader may not do."""

from pathlib import Path

import pytest

from chimera.schemas.errors import ClickHouseRefused, ClickHouseUnavailable
from chimera.stores import clickhouse, warehouse_tables
from chimera.stores.clickhouse import ClickHouse

LIMITS = {"max_execution_time": 60, "max_memory_usage": 2_000_000_000, "max_result_rows": 1_000}
THROW = "allow_custom_error_code_in_throwif = 1"


def test_migrations_are_done_once(engine: ClickHouse) -> None:
    assert warehouse_tables.migrate(engine) == []
    ((count,),) = engine.rows("SELECT count() FROM chimera.migrations")
    assert count == len(warehouse_tables.MIGRATIONS)


def test_interrupted_migration_is_done_again(engine: ClickHouse) -> None:
    last = warehouse_tables.MIGRATIONS[-1]
    engine.command(f"DELETE FROM chimera.migrations WHERE version = {last.version}")
    assert warehouse_tables.migrate(engine) == [last.name]


def test_statement_that_is_wrong_is_refused(engine: ClickHouse) -> None:
    with pytest.raises(ClickHouseRefused, match="nope"):
        engine.rows("SELECT nope")


def test_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(ClickHouseUnavailable):
        clickhouse.server("http://localhost:1")


def test_errors_that_pass_have_the_engines_codes(engine: ClickHouse) -> None:
    found = engine.rows(
        "SELECT code, name FROM system.errors SETTINGS system_events_show_zero_values = 1"
    )
    assert clickhouse.PASSING.items() <= {int(code): name for code, name in found}.items()


@pytest.mark.parametrize(("code", "passes"), [(243, True), (745, True), (60, False)])
def test_error_that_passes_is_told_from_a_refusal(
    engine: ClickHouse, code: int, passes: bool
) -> None:
    with pytest.raises(ClickHouseUnavailable if passes else ClickHouseRefused):
        engine.rows(f"SELECT throwIf(1, 'full', {code}::Int16) SETTINGS {THROW}")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM file('/etc/hostname', 'LineAsString')",
        "SELECT * FROM url('http://localhost:1/', 'LineAsString')",
        "SELECT file('/etc/hostname')",
        "SELECT * FROM numbers(1001)",
        "SET readonly = 0",
        "SET max_execution_time = 0",
        "INSERT INTO migrations (version, name) VALUES (9, 'x')",
        "DROP TABLE inference_log",
        "CREATE TABLE t (a Int8) ENGINE = Memory",
    ],
)
def test_reader_changes_nothing_and_reads_no_file(
    engine: ClickHouse, engine_folder: Path, statement: str
) -> None:
    reader = clickhouse.embedded(engine_folder)
    try:
        reader.read_only(LIMITS)
        with pytest.raises(ClickHouseRefused):
            reader.ask(statement)
        answer = reader.ask("SELECT 1 AS one, 'x' AS x")
        assert (list(answer.names), [list(row) for row in answer.rows]) == (
            ["one", "x"],
            [[1, "x"]],
        )
    finally:
        reader.close()
    engine.command("SET max_execution_time = 0")  # others may still do what they may
