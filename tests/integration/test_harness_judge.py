"""The verdict counts each violation that a run could leave; without one it counts none."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.chaos.judge import VIOLATIONS, judge
from tests.integration.chaos.ledger import Ledger, digest

DIGEST = digest(b"k", b"value", [])
FIRST_MS = 1_000  # the request with offset n is appended at FIRST_MS + n, answered 50 ms later


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Ten requests of one key, the fifth malformed; all answered, one sample after the seventh."""
    with Ledger(tmp_path / "ledger.sqlite") as found:
        for offset in range(10):
            poison = offset == 5
            expected, answer = ("malformed", None) if poison else ("ok", 2.0 * offset)
            where = ("t", 0, offset)
            acked_ms = FIRST_MS + offset
            found.add("requests", [(*where, "a kind", expected, answer, b"k", 1, DIGEST, acked_ms)])
            found.add("present", [(*where, acked_ms)])
            result(found, offset, expected, answer)
            if poison:
                found.add("letters", [(*where, expected, DIGEST)])
        found.add("samples", [("t", 0, 7, FIRST_MS + 56)])
        yield found


def result(ledger: Ledger, offset: int, code: str, answer: float | None, **changes: Any) -> None:
    row = {
        "key": b"k",
        "at_partition": 0,
        "at_offset": offset,
        "appended_ms": FIRST_MS + 50 + offset,
    }
    ledger.add("results", [("t", 0, offset, code, answer, *(row | changes).values())])


def violations(ledger: Ledger, left_behind: int = 0) -> dict[str, int]:
    return judge(ledger, left_behind).violations


def test_judge_counts_nothing_in_a_sound_run(ledger: Ledger) -> None:
    verdict = judge(ledger, 0)
    assert verdict.violations == {}
    assert verdict.counts["results"] == 10
    assert verdict.codes == {"malformed": 1, "ok": 9}
    assert verdict.stalls_ms["max"] == 50


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("DELETE FROM results WHERE offset = 3", {"lost": 1}),
        ("INSERT INTO results SELECT * FROM results WHERE offset = 3", {"duplicated": 1}),
        ("UPDATE results SET answer = 7 WHERE offset = 3", {"mismatched": 1}),
        ("UPDATE results SET key = NULL WHERE offset = 3", {"mismatched": 1}),
        ("UPDATE results SET at_partition = 1 WHERE offset = 3", {"mismatched": 1}),
        ("UPDATE results SET at_offset = 99 WHERE offset = 8", {"reordered": 1}),
        ("DELETE FROM letters", {"letters_missing": 1}),
        ("INSERT INTO letters SELECT * FROM letters", {"letters_extra": 1}),
        ("UPDATE letters SET code = 'shed'", {"letters_missing": 1, "letters_extra": 1}),
        ("UPDATE letters SET digest = x'00'", {"letters_altered": 1}),
        ("UPDATE results SET appended_ms = 9999 WHERE offset = 6", {"committed_early": 1}),
        ("DELETE FROM present WHERE offset = 3", {"unknown": 1, "vanished": 1}),
        ("INSERT INTO withdrawn VALUES ('t', 0, 3)", {"withdrawn_answered": 1}),
    ],
)
def test_judge_counts_each_violation(
    ledger: Ledger, statement: str, expected: dict[str, int]
) -> None:
    ledger.rows(statement)
    assert violations(ledger) == expected


def test_judge_counts_a_wrong_code_as_mismatched(ledger: Ledger) -> None:
    ledger.rows("UPDATE requests SET expected = 'too_large' WHERE offset = 5")
    assert violations(ledger) == {"mismatched": 1}


def test_judge_counts_results_that_nobody_asked_for(ledger: Ledger) -> None:
    result(ledger, 77, "ok", 1.0)
    assert violations(ledger) == {"unknown": 1}


def test_judge_lets_a_retry_decide_before_its_result(ledger: Ledger) -> None:
    ledger.rows("UPDATE results SET appended_ms = 9999 WHERE offset = 6")
    ledger.rows("INSERT INTO retries VALUES ('t', 0, 6, 't.retry', 1056)")
    assert violations(ledger) == {}


def test_judge_ignores_samples_that_are_stale(ledger: Ledger) -> None:
    ledger.add("samples", [("t", 0, 2, FIRST_MS + 500)])
    assert violations(ledger) == {}


def test_judge_expects_no_result_for_what_retention_took(ledger: Ledger) -> None:
    for table in ("results", "present"):
        ledger.rows(f"DELETE FROM {table} WHERE offset = 3")
    ledger.rows("INSERT INTO removed VALUES ('t', 0, 3, 0)")
    assert violations(ledger) == {}


def test_judge_expects_the_result_of_what_retention_took_later(ledger: Ledger) -> None:
    ledger.rows("DELETE FROM present WHERE offset = 3")
    ledger.rows("INSERT INTO removed VALUES ('t', 0, 3, 1)")
    assert violations(ledger) == {}
    ledger.rows("DELETE FROM results WHERE offset = 3")
    assert violations(ledger) == {"lost": 1}


def test_judge_names_what_is_lost(ledger: Ledger) -> None:
    ledger.rows("DELETE FROM results WHERE offset = 3")
    with pytest.raises(AssertionError, match=r"'lost': \[\('a kind', 0, 3\)\]"):
        judge(ledger, 0).require_none(ledger)


def test_judge_counts_partitions_left_behind(ledger: Ledger) -> None:
    assert violations(ledger, left_behind=2) == {"left_behind": 2}


def test_every_violation_has_a_count(ledger: Ledger) -> None:
    assert set(VIOLATIONS) <= set(judge(ledger, 0).counts)


def test_digest_tells_fields_apart() -> None:
    assert digest(b"ab", b"c", []) != digest(b"a", b"bc", [])
    assert digest(None, b"", []) != digest(b"", None, [])
    assert digest(b"k", b"v", [("a", None)]) != digest(b"k", b"v", [("a", b"")])


def test_ledger_is_never_overwritten(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        Ledger(tmp_path / "ledger.sqlite")
