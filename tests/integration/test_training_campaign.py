"""The training campaign, small; and it finds what it looks for.

`python -m tests.integration.chaos training` plays it at full size; docs/reliability.md has its figures.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chimera.cli.postgres.server import EmbeddedPostgres
from tests.integration.chaos.campaigns.size import SMOKE
from tests.integration.chaos.campaigns.training import play
from tests.integration.chaos.judge import judge
from tests.integration.chaos.ledger import Ledger
from tests.integration.chaos.training.rules import PLACES, TOTALS

pytestmark = pytest.mark.campaign
SABOTAGE = (sys.executable, "-m", "tests.integration.chaos.training.sabotage")
TOLD = [
    "answered",
    "queued",
    "started",
    "checkpoint",
    "started",
    "checkpoint",
    "finished",
    "registered",
]


@pytest.mark.timeout(900)
def test_runs_end_once_with_undisturbed_weights_whoever_is_killed(
    kafka: str, server: EmbeddedPostgres
) -> None:
    verdict = play(kafka, server, seed=1, size=SMOKE)
    assert not verdict.violations, verdict.as_json()
    assert not verdict.missed
    assert verdict.counts["resumed"] > 0


@pytest.mark.timeout(900)
def test_harness_finds_agents_that_tell_twice_and_trainers_that_forget(
    kafka: str, server: EmbeddedPostgres
) -> None:
    size = replace(SMOKE, runs=1, run_kills=1)
    verdict = play(kafka, server, 0, size, (*SABOTAGE, "careless"))
    assert verdict.violations.keys() == {"ended_twice", "weights_differ"}, verdict.as_json()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Two runs that were killed once each and ended as they should."""
    with Ledger(tmp_path / "ledger.sqlite") as found:
        for number, run_id in enumerate("ab"):
            found.add("orders", [(run_id, "{}")])
            found.add("jobs", [(run_id, "finished", "released")])
            attempts = [None, None, 1, 1, 2, 2, None, None]
            rows = enumerate(zip(TOLD, attempts, strict=True), 10 * number)
            found.add("told", [(at, run_id, event, attempt) for at, (event, attempt) in rows])
            places = (*PLACES, "undisturbed")
            found.add("weights", [(run_id, place, f"of {run_id}") for place in places])
        yield found


def test_judge_counts_nothing_where_each_run_ended_once(ledger: Ledger) -> None:
    verdict = judge(ledger, 0)
    assert verdict.violations == {}
    assert {name: verdict.counts[name] for name in TOTALS} == {
        "runs": 2, "attempts": 4, "resumed": 2
    }  # fmt: skip


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("DELETE FROM told WHERE run_id = 'a' AND event = 'finished'", {"unended": 1}),
        ("INSERT INTO told VALUES (99, 'a', 'failed', 2)", {"ended_twice": 1}),
        ("UPDATE jobs SET state = 'running' WHERE run_id = 'a'", {"unfinished": 1}),
        ("UPDATE jobs SET stage = 'register' WHERE run_id = 'a'", {"unfinished": 1}),
        ("DELETE FROM told WHERE run_id = 'b' AND event = 'registered'", {"unregistered": 1}),
        ("INSERT INTO told VALUES (99, 'a', 'registered', NULL)", {"unregistered": 1}),
        ("INSERT INTO told VALUES (99, 'a', 'answered', NULL)", {"orders_unanswered": 1}),
        ("INSERT INTO told VALUES (99, 'c', 'queued', NULL)", {"unordered": 1}),
        ("INSERT INTO jobs VALUES ('c', 'queued', NULL)", {"unordered": 1}),
        ("INSERT INTO told VALUES (99, 'a', 'started', 2)", {"attempts_repeated": 1}),
        ("UPDATE told SET attempt = 3 WHERE at = 4", {"attempts_repeated": 1, "overtaken": 1}),
        ("UPDATE told SET attempt = 1 WHERE at = 5", {"overtaken": 1}),
        ("DELETE FROM weights WHERE place = 'version' AND run_id = 'a'", {"weights_missing": 1}),
        ("UPDATE weights SET sha256 = 'x' WHERE place = 'file'", {"weights_differ": 2}),
        ("DELETE FROM weights WHERE place = 'undisturbed'", {"weights_differ": 8}),
    ],
)
def test_judge_counts_each_violation_of_training(
    ledger: Ledger, statement: str, expected: dict[str, int]
) -> None:
    ledger.rows(statement)
    assert judge(ledger, 0).violations == expected
