"""The warehouse's views: the questions that analysts ask first, by their names.

    requests              each row, and whether its request stands before it already (`is_repeat`)
    latency_by_model      an hour's percentiles of a version on a tier
    throughput_by_minute  requests and errors of a model each minute
    errors_by_code        a day's errors, and their share of all outcomes
    slowest_requests      the ten slowest of each model and hour, and where their time went
    usage_by_tenant       a day's requests, bytes and computing time of a tenant
    batch_efficiency      what a request costs in batches of each size
    served_by_version     which weights answered, from when to when

They are of `inference_log`. A request that went to a retry topic has a row there with the outcome
`retry` and another one where it ended: only the latter counts. So does only the first row of a request
that was computed again, as a lane does that serves at least once: the sink writes what the journal says,
and `requests` finds repeats by their coordinates, in lanes that ever served so; others cost nothing. Times are in milliseconds, and computing
time of a request is its part of its batch's. `docs/analytics.md` uses them; `tests/stores/test_analytics.py`.
"""

from chimera.stores.clickhouse import DATABASE

_FROM = f"FROM {DATABASE}.requests WHERE outcome != 'retry' AND NOT is_repeat"
_LANES = (
    f"(SELECT DISTINCT topic, partition FROM {DATABASE}.inference_log"
    " WHERE guarantee != 'exactly_once')"
)

VIEWS = {
    "requests": f"""
SELECT *, toUInt8(0) AS is_repeat
FROM {DATABASE}.inference_log WHERE (topic, partition) NOT IN {_LANES}
UNION ALL
SELECT *, toUInt8(row_number() OVER (PARTITION BY topic, partition, offset ORDER BY journal_offset) > 1)
FROM {DATABASE}.inference_log WHERE (topic, partition) IN {_LANES}""",
    "latency_by_model": f"""
SELECT tenant, model, version, tier, toStartOfHour(committed_at) AS hour, count() AS requests,
    quantileTDigest(0.5)(total_us) / 1000 AS p50_ms,
    quantileTDigest(0.95)(total_us) / 1000 AS p95_ms,
    quantileTDigest(0.99)(total_us) / 1000 AS p99_ms,
    max(total_us) / 1000 AS max_ms,
    avg(queue_us) / 1000 AS queue_ms,
    avg(compute_us) / 1000 AS compute_ms
{_FROM} AND outcome = 'ok'
GROUP BY tenant, model, version, tier, hour""",
    "throughput_by_minute": f"""
SELECT toStartOfMinute(committed_at) AS minute, tenant, model, count() AS requests,
    count() / 60 AS requests_per_s,
    countIf(outcome != 'ok') AS errors,
    sum(input_bytes) AS bytes_in,
    sum(output_bytes) AS bytes_out
{_FROM}
GROUP BY minute, tenant, model""",
    "errors_by_code": f"""
SELECT day, tenant, model, version, code, errors, errors / requests AS share, first_at, last_at
FROM
(
    SELECT toDate(committed_at) AS day, tenant, model, version, outcome AS code, count() AS errors,
        sum(errors) OVER (PARTITION BY day, tenant, model, version) AS requests,
        min(committed_at) AS first_at,
        max(committed_at) AS last_at
    {_FROM}
    GROUP BY day, tenant, model, version, code
)
WHERE code != 'ok'""",
    "slowest_requests": f"""
SELECT tenant, model, version, tier, toStartOfHour(committed_at) AS hour, id, topic, partition, offset,
    outcome, total_us / 1000 AS total_ms, queue_us / 1000 AS queue_ms, compute_us / 1000 AS compute_ms,
    batch_size, executor, node, committed_at
{_FROM}
ORDER BY total_us DESC
LIMIT 10 BY tenant, model, hour""",
    "usage_by_tenant": f"""
SELECT toDate(committed_at) AS day, tenant, model, count() AS requests,
    countIf(outcome != 'ok') AS errors,
    sum(input_bytes) AS bytes_in,
    sum(output_bytes) AS bytes_out,
    sum(compute_us / greatest(batch_size, 1)) / 1000000 AS compute_s
{_FROM}
GROUP BY day, tenant, model""",
    "batch_efficiency": f"""
SELECT model, version, tier, batch_size, count() AS requests,
    count() / batch_size AS batches,
    avg(compute_us) / 1000 AS batch_ms,
    avg(compute_us) / batch_size AS compute_us_per_request,
    batch_size / (avg(compute_us) / 1000000) AS requests_per_s
{_FROM} AND batch_size > 0
GROUP BY model, version, tier, batch_size""",
    "served_by_version": f"""
SELECT tenant, model, version, digest, count() AS requests,
    countIf(outcome != 'ok') AS errors,
    min(committed_at) AS first_at,
    max(committed_at) AS last_at,
    groupUniqArray(tier) AS tiers
{_FROM} AND digest != ''
GROUP BY tenant, model, version, digest""",
}


def statements() -> tuple[str, ...]:
    """They may be repeated."""
    return tuple(
        f"CREATE OR REPLACE VIEW {DATABASE}.{name} AS{body}" for name, body in VIEWS.items()
    )
