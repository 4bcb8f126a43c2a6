"""How long the warehouse's tables keep their rows: a setting, not a migration, so it may change.

A row goes some time after its day; the audit log has no such day. What is already as it should be is
left alone: a table's TTL that changes is worked out anew for all of its parts.
`tests/stores/test_retention.py`.
"""

from collections.abc import Mapping

from chimera.stores.clickhouse import DATABASE, ClickHouse

COLUMNS = {
    "inference_log": "committed_at",
    "model_log": "appended_at",
    "training_log": "appended_at",
}
_TTL = " TTL "


def keep(clickhouse: ClickHouse, days: Mapping[str, int | None]) -> list[str]:
    """Keep each table's rows so long, None for ever; the tables whose retention was changed.

    Raises:
        ClickHouseUnavailable, ClickHouseRefused: it stopped there, and may be called again.
    """
    changed: list[str] = []
    for table, kept in days.items():
        engine = _engine(clickhouse, table)
        wanted = f"toDateTime({COLUMNS[table]}) + toIntervalDay({kept})"
        if kept is None and _TTL in engine:
            clickhouse.command(f"ALTER TABLE {DATABASE}.{table} REMOVE TTL")
        elif kept is not None and f" TTL {wanted} " not in f"{engine} ":
            clickhouse.command(f"ALTER TABLE {DATABASE}.{table} MODIFY TTL {wanted}")
        else:
            continue
        changed.append(table)
    return changed


def forgets(clickhouse: ClickHouse, table: str) -> bool:
    """Whether its rows go after some time. Raises ClickHouseUnavailable."""
    return _TTL in _engine(clickhouse, table)


def _engine(clickhouse: ClickHouse, table: str) -> str:
    ((engine,),) = clickhouse.rows(
        "SELECT engine_full FROM system.tables"
        " WHERE database = {database:String} AND name = {table:String}",
        {"database": DATABASE, "table": table},
    )
    return str(engine)
