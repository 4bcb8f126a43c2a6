"""Retention as a setting: changed where it differs, and kept by the engine."""

from chimera.stores import retention
from chimera.stores.clickhouse import ClickHouse

FOREVER: dict[str, int | None] = dict.fromkeys(retention.COLUMNS)


def ttl(engine: ClickHouse, table: str) -> bool:
    ((found,),) = engine.rows(
        "SELECT engine_full LIKE '% TTL %' FROM system.tables WHERE name = {table:String}",
        {"table": table},
    )
    return bool(found)


def test_retention_is_changed_only_where_it_differs(engine: ClickHouse) -> None:
    try:
        assert retention.keep(engine, FOREVER) == []
        some = {**FOREVER, "model_log": 36_500}
        assert retention.keep(engine, some) == ["model_log"]
        assert retention.keep(engine, some) == []
        assert (ttl(engine, "model_log"), ttl(engine, "inference_log")) == (True, False)
        assert retention.keep(engine, {**some, "model_log": 36_501}) == ["model_log"]
    finally:
        assert retention.keep(engine, FOREVER) == ["model_log"]
    assert not ttl(engine, "model_log")


def test_rows_past_their_day_go(engine: ClickHouse) -> None:
    engine.command(
        "INSERT INTO chimera.training_log (event, appended_at) VALUES"
        " ('old', now() - INTERVAL 3 DAY), ('new', now())"
    )
    try:
        retention.keep(engine, {**FOREVER, "training_log": 2})
        engine.command("OPTIMIZE TABLE chimera.training_log FINAL")
        left = engine.rows("SELECT event FROM chimera.training_log WHERE event IN ('old', 'new')")
        assert [tuple(row) for row in left] == [("new",)]
    finally:
        retention.keep(engine, FOREVER)
        engine.command("DELETE FROM chimera.training_log WHERE event = 'new'")
