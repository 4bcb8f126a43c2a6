"""Whether each answer came from a version whose turn it was, and each command had its answer.

    undigested        an answer that names no digest, or more than one
    misnamed          the digest is not that of the version that computed it
    out_of_turn       no state made that version live before the answer, or none within the last TURN_S
    strayed           after all had turned to the last state, an answer of another version
    unanswered        commands with no answer, or with more than one
    unasked           answers to what nobody wanted
    states_missing    revisions that `models.state` lacks, so that turns cannot be judged

A version's turn lasts from the state that makes it live to the next one that does not; a node takes
its time to turn, which `TURN_S` bounds and `lags` measures. Queries over the ledger's tables, as in
`judge`, that are empty where nothing is deployed.
"""

from collections.abc import Sequence
from typing import Any

from tests.integration.chaos.ledger import Ledger

TURN_S = 15.0  # until all nodes have turned; what runs late on a busy machine is no fault
FOREVER_MS = 2**62

COUNTS = {
    "undigested": "SELECT count(*) FROM served WHERE digests != 1",
    "misnamed": """SELECT count(*) FROM served a WHERE digests = 1 AND NOT EXISTS
        (SELECT 1 FROM versions v WHERE v.version = a.version AND v.digest = a.digest)""",
    "out_of_turn": f"""SELECT count(*) FROM served a WHERE digests = 1 AND NOT EXISTS
        (SELECT 1 FROM live l WHERE l.digest = a.digest AND l.from_ms <= a.appended_ms
         AND a.appended_ms <= l.until_ms + {int(TURN_S * 1000)})""",
    "strayed": """SELECT count(*) FROM served a JOIN settled s
        ON a.appended_ms > s.ms AND a.digest != s.digest""",
    "unanswered": """SELECT count(*) FROM commands c WHERE
        (SELECT count(*) FROM answers a WHERE a.command_id = c.command_id) != 1""",
    "unasked": """SELECT count(*) FROM answers WHERE
        command_id NOT IN (SELECT command_id FROM commands)""",
    "states_missing": """SELECT coalesce(max(revision), 0) - count(DISTINCT revision) FROM live""",
}


def live(states: Sequence[tuple[int, int, Sequence[str]]]) -> list[tuple[int, str, int, int]]:
    """Rows of `live` from (revision, when it was appended, digests), one for each digest."""
    first: dict[int, tuple[int, Sequence[str]]] = {}
    for revision, appended_ms, digests in states:
        first.setdefault(revision, (appended_ms, digests))
    ordered = sorted(first.items())
    untils = [appended_ms for _, (appended_ms, _) in ordered[1:]] + [FOREVER_MS]
    return [
        (revision, digest, from_ms, until_ms)
        for (revision, (from_ms, digests)), until_ms in zip(ordered, untils, strict=True)
        for digest in digests
    ]


def lags(ledger: Ledger) -> list[int]:
    """Of answers that came after their version's turn: how long after (ms), shortest first."""
    late: list[tuple[Any, ...]] = ledger.rows(
        """SELECT a.appended_ms - max(l.until_ms) AS lag FROM served a JOIN live l
        ON l.digest = a.digest AND l.from_ms <= a.appended_ms
        GROUP BY a.topic, a.partition, a.offset, a.appended_ms HAVING lag > 0 ORDER BY lag"""
    )
    return [row[0] for row in late]
