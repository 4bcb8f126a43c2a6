"""The verdict on a run: the ledger's promises against what was seen, each violation counted by SQL.

    lost            acknowledged, but no result               duplicated   more than one result
    mismatched      another code, answer or key than due      reordered    overtaken within its key
    unknown         a result for what nobody sent             letters_*    dead letters that are
    committed_early an offset passed an undecided request                  missing, extra, altered
    left_behind     partitions whose offset is not at the end vanished     acknowledged, not in Kafka
    withdrawn_answered   records of aborted transactions      unmet        what else it should do

Where versions are deployed, `turns` has more of them; where runs are trained, `training.rules`.

An offset was committed early if a request below it got its outcome only after a sample had seen the
offset. Outcome and offset are one transaction, and the outcome's append comes before the commit; a
sample that is stale is too low, and proves nothing wrong. Broker and sampler share a clock.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.integration.chaos import turns
from tests.integration.chaos.ledger import Ledger
from tests.integration.chaos.training import rules

_SAME = "topic = r.topic AND partition = r.partition AND offset = r.offset"

_COUNTS = {
    "requests": "SELECT count(*) FROM requests",
    "results": "SELECT count(*) FROM results",
    "dead_letters": "SELECT count(*) FROM letters",
    "retried": "SELECT count(*) FROM retries",
    "lost": f"""SELECT count(*) FROM requests r WHERE
        NOT EXISTS (SELECT 1 FROM results WHERE {_SAME})
        AND NOT EXISTS (SELECT 1 FROM removed WHERE {_SAME} AND NOT answered)""",
    "duplicated": """SELECT sum(n - 1) FROM
        (SELECT count(*) n FROM results GROUP BY topic, partition, offset)""",
    "mismatched": """SELECT count(*) FROM results a JOIN requests r USING (topic, partition, offset)
        WHERE instr('|' || r.expected || '|', '|' || a.code || '|') = 0 OR a.key IS NOT r.key
        OR (a.code = 'ok' AND a.answer IS NOT r.answer) OR a.at_partition != a.partition""",
    "reordered": """SELECT count(*) FROM (SELECT a.offset < max(a.offset) OVER (
            PARTITION BY a.topic, a.partition, a.key ORDER BY a.at_offset
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS overtaken
        FROM results a JOIN requests r USING (topic, partition, offset)
        WHERE a.key IS NOT NULL AND r.ordered) WHERE overtaken""",
    "unknown": f"""SELECT count(*) FROM results r WHERE
        NOT EXISTS (SELECT 1 FROM present WHERE {_SAME})
        AND NOT EXISTS (SELECT 1 FROM removed WHERE {_SAME})""",
    "letters_missing": f"""SELECT count(*) FROM results r WHERE code != 'ok'
        AND NOT EXISTS (SELECT 1 FROM letters l WHERE {_SAME} AND l.code = r.code)""",
    "letters_extra": f"""SELECT (SELECT count(*) FROM letters r WHERE
            NOT EXISTS (SELECT 1 FROM results a WHERE {_SAME} AND a.code = r.code))
        + (SELECT coalesce(sum(n - 1), 0) FROM
            (SELECT count(*) n FROM letters GROUP BY topic, partition, offset))""",
    "letters_altered": """SELECT count(*) FROM letters JOIN requests r
        USING (topic, partition, offset) WHERE letters.digest != r.digest""",
    "vanished": f"""SELECT count(*) FROM requests r WHERE
        NOT EXISTS (SELECT 1 FROM present WHERE {_SAME})
        AND NOT EXISTS (SELECT 1 FROM removed WHERE {_SAME})""",
    "withdrawn_answered": f"""SELECT count(*) FROM withdrawn r WHERE
        EXISTS (SELECT 1 FROM results WHERE {_SAME}) OR EXISTS (SELECT 1 FROM letters WHERE {_SAME})
        OR EXISTS (SELECT 1 FROM retries WHERE {_SAME})""",
    **turns.COUNTS,
    **rules.TOTALS,
    **rules.COUNTS,
}

VIOLATIONS = (
    "lost",
    "duplicated",
    "mismatched",
    "reordered",
    "unknown",
    "letters_missing",
    "letters_extra",
    "letters_altered",
    "committed_early",
    "vanished",
    "withdrawn_answered",
    "left_behind",
    "unmet",
    *turns.COUNTS,
    *rules.COUNTS,
)


@dataclass(frozen=True)
class Verdict:
    """Of one campaign: `violations` is empty when everything held."""

    counts: dict[str, int]
    faults: dict[str, int]
    codes: dict[str, int]
    stalls_ms: dict[str, int]
    samples: int
    recoveries_ms: dict[str, int]
    unmet: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def violations(self) -> dict[str, int]:
        return {name: self.counts[name] for name in VIOLATIONS if self.counts[name]}

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"violations": self.violations}

    def require_none(self, ledger: Ledger) -> None:
        """Raises AssertionError with examples of what went wrong."""
        if self.violations:
            raise AssertionError(f"{self.violations}; {examples(ledger)}; {self.as_json()}")


def judge(
    ledger: Ledger,
    left_behind: int,
    unmet: Sequence[str] = (),
    missed: Sequence[str] = (),
    **notes: Any,
) -> Verdict:
    """Count everything.

    Args:
        left_behind: partitions whose last requests the group has not committed, as the caller saw.
        unmet: what the system should have done and did not.
        missed: faults that were planned and did not come about; no violation, but nothing shown.
    """
    counts = {name: ledger.number(query) for name, query in _COUNTS.items()}
    counts["committed_early"] = _committed_early(ledger)
    counts["left_behind"] = left_behind
    counts["unmet"] = len(unmet)
    return Verdict(
        counts,
        dict(ledger.rows("SELECT name, count(*) FROM faults GROUP BY name ORDER BY name")),
        dict(ledger.rows("SELECT code, count(*) FROM results GROUP BY code ORDER BY code")),
        _stalls(ledger),
        ledger.number("SELECT count(*) FROM samples"),
        _recoveries(ledger),
        tuple(unmet),
        tuple(missed),
        notes,
    )


def _committed_early(ledger: Ledger) -> int:
    """Samples that had seen an offset before some request below it had its outcome."""
    decided = ledger.rows(
        """SELECT topic, partition, offset, min(appended_ms) FROM
        (SELECT topic, partition, offset, appended_ms FROM results
         UNION ALL SELECT topic, partition, offset, appended_ms FROM retries)
        GROUP BY topic, partition, offset ORDER BY topic, partition, offset"""
    )
    samples = ledger.rows("SELECT * FROM samples ORDER BY topic, partition, committed")
    early, index, latest_ms, where = 0, 0, 0, ("", -1)
    for topic, partition, committed, by_ms in samples:
        if (topic, partition) != where:
            where, latest_ms = (topic, partition), 0
        while index < len(decided) and decided[index][:3] < (topic, partition, committed):
            if decided[index][:2] == where:
                latest_ms = max(latest_ms, decided[index][3])
            index += 1
        early += by_ms < latest_ms
    return early


def examples(ledger: Ledger, limit: int = 5) -> dict[str, list[tuple[Any, ...]]]:
    """A few coordinates of what is lost, repeated, or answered wrongly."""
    lost = _COUNTS["lost"].replace("count(*)", "r.kind, r.partition, r.offset")
    wrong = _COUNTS["mismatched"].replace(
        "count(*)", "r.kind, r.partition, r.offset, r.expected, a.code, r.answer, a.answer"
    )
    repeated = """SELECT partition, offset, count(*) FROM results
        GROUP BY topic, partition, offset HAVING count(*) > 1"""
    queries = {"lost": lost, "mismatched": wrong, "duplicated": repeated}
    return {name: ledger.rows(f"{query} LIMIT {limit}") for name, query in queries.items()}


def _stalls(ledger: Ledger) -> dict[str, int]:
    """How long requests took from append to their outcome's append: median, 99 %, longest (ms)."""
    took = [
        row[0]
        for row in ledger.rows(
            """SELECT a.appended_ms - p.appended_ms FROM results a
            JOIN present p USING (topic, partition, offset) ORDER BY 1"""
        )
    ]
    return percentiles(took)


def _recoveries(ledger: Ledger) -> dict[str, int]:
    """After each kill: how long until every partition that had results had one again (ms)."""
    appended: dict[int, list[int]] = {}
    for partition, ms in ledger.rows("SELECT at_partition, appended_ms FROM results ORDER BY 2"):
        appended.setdefault(partition, []).append(ms)
    took: list[int] = []
    kills = ledger.rows("SELECT ms FROM faults WHERE name LIKE 'kill%' OR name LIKE 'crash%'")
    for (killed,) in kills:
        served = [times for times in appended.values() if times[0] <= killed < times[-1]]
        waits = [times[bisect_right(times, killed)] - killed for times in served]
        took += [max(waits)] if waits else []
    return percentiles(sorted(took))


def percentiles(ordered: list[int]) -> dict[str, int]:
    """Of numbers in order; none of none."""
    if not ordered:
        return {}
    at = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    found = {name: ordered[int((len(ordered) - 1) * share)] for name, share in at.items()}
    return found | {"max": ordered[-1]}
