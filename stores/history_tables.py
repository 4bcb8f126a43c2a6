"""Tables of the warehouse that are not about requests: training, and the audit log.

What people look for in a leaf or an event is taken from its bytes by the engine, once (MATERIALIZED)
or whenever it is asked (ALIAS): who writes a row sends the bytes alone. The audit log has no retention,
and an index by the request's id, so that one leaf is found without reading the others.
`tests/stores/test_audit_log.py` and `test_training_log.py`.
"""

from chimera.stores.clickhouse import DATABASE

WINDOW = 10_000  # inserts whose tokens a table remembers

_MOMENT = "DateTime64(3, 'UTC') CODEC(Delta, ZSTD)"
_REMEMBERS = f"SETTINGS non_replicated_deduplication_window = {WINDOW}"

TRAINING_LOG = f"""
CREATE TABLE IF NOT EXISTS {DATABASE}.training_log
(
    event LowCardinality(String),
    event_id String,
    run_id String,
    trigger_id String,
    tenant LowCardinality(String),
    model LowCardinality(String),
    source LowCardinality(String),
    actor LowCardinality(String),
    outcome LowCardinality(String),
    reason String CODEC(ZSTD),
    error String CODEC(ZSTD),
    body String CODEC(ZSTD(3)),
    step UInt64 ALIAS JSONExtractUInt(body, 'step'),
    loss Nullable(Float64) ALIAS JSONExtract(body, 'loss', 'Nullable(Float64)'),
    at {_MOMENT},
    appended_at {_MOMENT},
    events_partition UInt32 CODEC(ZSTD),
    events_offset Int64 CODEC(Delta, ZSTD)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(appended_at)
ORDER BY (run_id, appended_at, events_offset)
{_REMEMBERS}
"""

AUDIT_LOG = f"""
CREATE TABLE IF NOT EXISTS {DATABASE}.audit_log
(
    log_index UInt64 CODEC(Delta, ZSTD),
    body String CODEC(ZSTD(3)),
    leaf_hash FixedString(32) CODEC(NONE),
    chain_hash FixedString(32) CODEC(NONE),
    leaf LowCardinality(String) MATERIALIZED JSONExtractString(body, 'leaf'),
    tenant LowCardinality(String) MATERIALIZED JSONExtractString(body, 'tenant'),
    request_id String MATERIALIZED JSONExtractString(body, 'request_id') CODEC(ZSTD),
    appended_at {_MOMENT},
    log_partition UInt32 CODEC(ZSTD),
    log_offset Int64 CODEC(Delta, ZSTD),
    INDEX by_request_id request_id TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = MergeTree
ORDER BY log_index
{_REMEMBERS}
"""

AUDIT_SUBTREES = f"""
ALTER TABLE {DATABASE}.audit_log ADD COLUMN IF NOT EXISTS subtrees String CODEC(ZSTD) AFTER chain_hash
"""

AUDIT_CHECKPOINTS = f"""
CREATE TABLE IF NOT EXISTS {DATABASE}.audit_checkpoints
(
    origin LowCardinality(String),
    size UInt64 CODEC(Delta, ZSTD),
    root FixedString(32) CODEC(NONE),
    note String CODEC(ZSTD(3)),
    error String CODEC(ZSTD),
    signers Array(String) ALIAS extractAll(note, '(?m)^\u2014 (\\S+) '),
    appended_at {_MOMENT},
    checkpoints_partition UInt32 CODEC(ZSTD),
    checkpoints_offset Int64 CODEC(Delta, ZSTD)
)
ENGINE = MergeTree
ORDER BY (origin, size, checkpoints_offset)
{_REMEMBERS}
"""
