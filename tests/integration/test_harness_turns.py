"""The verdict counts each answer out of turn and each command without its answer; a sound run has none."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.chaos.commands import plan
from tests.integration.chaos.judge import judge
from tests.integration.chaos.ledger import Ledger
from tests.integration.chaos.turns import FOREVER_MS, TURN_S, lags, live

TURNED_MS = 1_005  # from "a" to "b"
STATES = [(1, 1_000, ["a"]), (2, TURNED_MS, ["b"])]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Ten answers, one a millisecond: five of version 1, five of version 2; all serve that by the eighth."""
    with Ledger(tmp_path / "ledger.sqlite") as found:
        found.add("versions", [("1", "a"), ("2", "b"), ("3", "c")])
        found.add("live", live(STATES))
        for at in range(10):
            version, digest = ("1", "a") if at < 5 else ("2", "b")
            found.add("served", [("t", 0, at, 1, digest, version, 1_000 + at)])
        found.add("settled", [(1_007, "b")])
        found.add("commands", [("c1", "deploy", 990), ("c2", "promote", 1_002)])
        found.add("answers", [("c1", "done", ""), ("c2", "refused", "no such version")])
        yield found


def violations(ledger: Ledger) -> dict[str, int]:
    return judge(ledger, 0).violations


def test_judge_counts_nothing_where_all_came_in_turn(ledger: Ledger) -> None:
    assert violations(ledger) == {}
    assert lags(ledger) == []


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE served SET digests = 2 WHERE offset = 3", {"undigested": 1}),
        ("UPDATE served SET digests = 0 WHERE offset = 3", {"undigested": 1}),
        ("UPDATE served SET version = '2' WHERE offset = 3", {"misnamed": 1}),
        ("UPDATE served SET version = '' WHERE offset = 3", {"misnamed": 1}),
        ("UPDATE served SET digest = 'b', version = '2' WHERE offset = 3", {"out_of_turn": 1}),
        ("UPDATE served SET digest = 'c', version = '3' WHERE offset = 3", {"out_of_turn": 1}),
        ("UPDATE served SET digest = 'a', version = '1' WHERE offset = 9", {"strayed": 1}),
        ("DELETE FROM answers WHERE command_id = 'c1'", {"unanswered": 1}),
        ("INSERT INTO answers SELECT * FROM answers LIMIT 1", {"unanswered": 1}),
        ("INSERT INTO answers VALUES ('c9', 'done', '')", {"unasked": 1}),
        ("UPDATE live SET revision = 4 WHERE revision = 2", {"states_missing": 2}),
    ],
)
def test_judge_counts_each_violation(
    ledger: Ledger, statement: str, expected: dict[str, int]
) -> None:
    ledger.rows(statement)
    assert violations(ledger) == expected


def test_judge_sees_digests_that_were_swapped_between_answers(ledger: Ledger) -> None:
    ledger.rows("UPDATE served SET digest = CASE digest WHEN 'a' THEN 'b' ELSE 'a' END")
    assert violations(ledger) == {"misnamed": 10, "out_of_turn": 5, "strayed": 2}


@pytest.mark.parametrize(("late_ms", "expected"), [(0, {}), (1, {"out_of_turn": 1})])
def test_version_may_answer_for_a_while_after_its_turn_and_no_longer(
    ledger: Ledger, late_ms: int, expected: dict[str, int]
) -> None:
    after_ms = int(TURN_S * 1000) + late_ms
    ledger.rows("DELETE FROM settled")
    ledger.rows("UPDATE served SET appended_ms = ? WHERE offset = 3", TURNED_MS + after_ms)
    assert violations(ledger) == expected
    assert lags(ledger) == [after_ms]


def test_turns_last_until_the_next_state_and_a_state_told_twice_counts_once() -> None:
    again = (1, 1_003, ["a"])
    assert live([*STATES, again]) == [(1, "a", 1_000, TURNED_MS), (2, "b", TURNED_MS, FOREVER_MS)]


@pytest.mark.parametrize("count", [6, 7, 60])
def test_plan_ends_with_one_version_that_serves_alone_and_is_not_paused(count: int) -> None:
    assert len(plan(count)) == count
    assert plan(count)[-2:] == ["resume", "settle"]
