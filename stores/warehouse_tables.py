"""The warehouse's tables, as migrations: each once, in order, and never changed afterwards.

    migrations      which of them were done
    sink_batches    what a sink was about to insert: the batch that a restart must repeat exactly
    inference_log   a row for each request, by `inference_log.py`
    model_log       a row for each event of a model, by `model_log.py`
    training_log, audit_log, audit_checkpoints   of `stores/history_tables.py`
    views           of `stores/warehouse_views.py`

Plain MergeTree: a row is never replaced in silence, and what is there twice is seen to be. Its
deduplication window has to be set, as it is 0. A month is a partition, so that one INSERT of rows
that were committed in one month lies inside one. Statements may be repeated: a migration that was
interrupted is done again. `tests/stores/test_clickhouse.py`.
"""

from dataclasses import dataclass

from chimera.stores import history_tables, warehouse_views
from chimera.stores.clickhouse import DATABASE, ClickHouse
from chimera.stores.history_tables import WINDOW

WIDE_BYTES = 64 << 20
"""A smaller part is one file: a file each for 29 columns, as they were inserted and merged, cost a
file system more than their rows did (0.8 us a row instead of 0.46)."""


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    name: str
    statements: tuple[str, ...]


_MIGRATIONS_TABLE = f"""
CREATE TABLE IF NOT EXISTS {DATABASE}.migrations
(version UInt32, name String, done_at DateTime64(3, 'UTC') DEFAULT now64(3))
ENGINE = MergeTree ORDER BY version
"""

_SINK_BATCHES = f"""
CREATE TABLE IF NOT EXISTS {DATABASE}.sink_batches
(
    sink LowCardinality(String),
    partition UInt32,
    first Int64,
    last Int64,
    rows UInt64,
    token String,
    decided_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = MergeTree ORDER BY (sink, partition, first)
TTL toDateTime(decided_at) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = {WINDOW}
"""

_INFERENCE_LOG = f"""
CREATE TABLE IF NOT EXISTS {DATABASE}.inference_log
(
    tenant LowCardinality(String),
    model LowCardinality(String),
    version LowCardinality(String),
    digest LowCardinality(String),
    tier LowCardinality(String),
    outcome LowCardinality(String),
    id String CODEC(ZSTD),
    topic LowCardinality(String),
    partition UInt32 CODEC(ZSTD),
    offset Int64 CODEC(Delta, ZSTD),
    origin String CODEC(ZSTD),
    attempt UInt16 CODEC(ZSTD),
    guarantee LowCardinality(String),
    node LowCardinality(String),
    executor LowCardinality(String),
    batch_size UInt32 CODEC(ZSTD),
    input_bytes UInt32 CODEC(ZSTD),
    output_bytes UInt32 CODEC(ZSTD),
    input_commitment FixedString(32) CODEC(NONE),
    output_commitment FixedString(32) CODEC(NONE),
    queue_us UInt32 CODEC(ZSTD),
    compute_us UInt32 CODEC(ZSTD),
    total_us UInt32 CODEC(ZSTD),
    slack_ms Nullable(Int32) CODEC(ZSTD),
    appended_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    committed_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    journal_partition UInt32 CODEC(ZSTD),
    journal_offset Int64 CODEC(Delta, ZSTD)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(committed_at)
ORDER BY (tenant, model, committed_at, partition, offset)
SETTINGS non_replicated_deduplication_window = {WINDOW}
"""

_MODEL_LOG = f"""
CREATE TABLE IF NOT EXISTS {DATABASE}.model_log
(
    event LowCardinality(String),
    event_id String,
    tenant LowCardinality(String),
    model LowCardinality(String),
    version LowCardinality(String),
    source LowCardinality(String),
    command_id String,
    action LowCardinality(String),
    outcome LowCardinality(String),
    verdict LowCardinality(String),
    reason String CODEC(ZSTD),
    error String CODEC(ZSTD),
    revision UInt64 CODEC(ZSTD),
    body String CODEC(ZSTD),
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    appended_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    events_partition UInt32 CODEC(ZSTD),
    events_offset Int64 CODEC(Delta, ZSTD)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(appended_at)
ORDER BY (tenant, model, appended_at, events_offset)
SETTINGS non_replicated_deduplication_window = {WINDOW}
"""

_REQUESTS_BY_ID = (
    f"""
ALTER TABLE {DATABASE}.inference_log
ADD INDEX IF NOT EXISTS by_id id TYPE bloom_filter(0.001) GRANULARITY 1
""",
    f"ALTER TABLE {DATABASE}.inference_log MATERIALIZE INDEX by_id",
)

_COMMITMENT_KEY = f"""
ALTER TABLE {DATABASE}.inference_log
ADD COLUMN IF NOT EXISTS commitment_key LowCardinality(String) AFTER output_commitment
"""

_SINK_LIVES = f"""
ALTER TABLE {DATABASE}.sink_batches
ADD COLUMN IF NOT EXISTS topic_id String, ADD COLUMN IF NOT EXISTS life UInt64
"""

_COMPACT_PARTS = tuple(
    f"ALTER TABLE {DATABASE}.{table} MODIFY SETTING min_bytes_for_wide_part = {WIDE_BYTES}"
    for table in ("inference_log", "audit_log")
)

MIGRATIONS = (
    Migration(1, "inference_log", (_SINK_BATCHES, _INFERENCE_LOG)),
    Migration(2, "model_log", (_MODEL_LOG,)),
    Migration(3, "training_log", (history_tables.TRAINING_LOG,)),
    Migration(4, "audit_log", (history_tables.AUDIT_LOG, history_tables.AUDIT_CHECKPOINTS)),
    Migration(5, "views", warehouse_views.statements()),
    Migration(6, "audit_subtrees", (history_tables.AUDIT_SUBTREES,)),
    Migration(7, "sink_lives", (_SINK_LIVES,)),
    Migration(8, "requests_by_id", _REQUESTS_BY_ID),
    Migration(9, "commitment_key", (_COMMITMENT_KEY,)),
    Migration(10, "compact_parts", _COMPACT_PARTS),
    Migration(11, "repeats", warehouse_views.statements()),
)


def migrate(clickhouse: ClickHouse) -> list[str]:
    """Bring the tables to this release; the names of what was done now.

    Raises:
        ClickHouseUnavailable, ClickHouseRefused: it stopped there, and may be called again.
    """
    clickhouse.command(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
    clickhouse.command(_MIGRATIONS_TABLE)
    done = {
        int(version) for (version,) in clickhouse.rows(f"SELECT version FROM {DATABASE}.migrations")
    }
    found: list[str] = []
    for migration in MIGRATIONS:
        if migration.version in done:
            continue
        for statement in migration.statements:
            clickhouse.command(statement)
        clickhouse.command(
            f"INSERT INTO {DATABASE}.migrations (version, name) "
            f"VALUES ({migration.version}, '{migration.name}')"
        )
        found.append(migration.name)
    return found
