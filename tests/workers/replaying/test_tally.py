"""What a replay counts, and what it may conclude from it."""

import json

import pytest

from chimera.schemas.outcomes import Outcome
from chimera.schemas.replay_report import ReplayCounts, ReplayLimits, Verdict
from chimera.workers.replaying.rule import Rule
from chimera.workers.replaying.tally import SHOWN_CHARACTERS, SHOWN_DIFFERENCES, Tally
from tests.workers.rig import manifest

LIMITS = ReplayLimits(max_p99_ratio=None)
FAILED = Outcome("model_error", b"it raised")


def answered(y: float, compute_us: int = 100) -> Outcome:
    tensor = {"name": "y", "datatype": "FP32", "shape": [1, 1], "data": [y]}
    value = json.dumps({"outputs": [tensor]}).encode()
    return Outcome("", value, -1, "5" * 64, "onnx-cpu", 4, compute_us)


def tally(**counts: int) -> Tally:
    """Of so many requests."""
    made = Tally(Rule(manifest()))
    pairs = {
        "agreed": (answered(1), answered(1)),
        "disagreed": (answered(1), answered(2)),
        "broken": (answered(1), FAILED),
        "mended": (FAILED, answered(1)),
        "both_failed": (FAILED, FAILED),
    }
    for name, count in counts.items():
        for at in range(count):
            made.add(f"requests:0:{at}", *pairs[name])
    return made


def test_each_request_counts_once_and_the_first_that_differ_are_shown() -> None:
    made = tally(agreed=5, disagreed=9, broken=2, mended=1, both_failed=3)
    made.leave_out("pinned", 4)
    assert made.counts == ReplayCounts(
        agreed=5, disagreed=9, broken=2, mended=1, both_failed=3, pinned=4
    )
    assert made.errors == {"model_error": 5}
    assert len(made.differences) == SHOWN_DIFFERENCES
    one = made.differences[0]
    assert (one.served, one.candidate) == ("y [[1.]]", "y [[2.]]")


def test_answers_are_shown_shortened() -> None:
    made = tally()
    made.add("requests:0:0", answered(1), Outcome("model_error", b"\xff" + b"x" * 999))
    assert len(made.differences[0].candidate) == SHOWN_CHARACTERS
    made.add("requests:0:1", Outcome("", b"no json"), answered(1))
    assert made.counts.disagreed == 1 and "cannot be read" in made.differences[1].reason


@pytest.mark.parametrize(
    ("counts", "verdict", "told"),
    [
        ({}, "undecided", "0 of 500 requests"),
        ({"agreed": 499}, "undecided", "499 of 500 requests"),
        ({"agreed": 500}, "passed", "disagreement 0 of 500"),
        ({"agreed": 500, "both_failed": 500}, "passed", "error rate 0 of 500"),
        ({"agreed": 492, "disagreed": 8}, "undecided", "disagreement 8 of 500"),
        ({"agreed": 450, "disagreed": 50}, "failed", "disagreement 50 of 500"),
        ({"agreed": 450, "broken": 50}, "failed", "error rate 50 of 500"),
        ({"disagreed": 20}, "failed", "disagreement 20 of 20"),
    ],
)
def test_verdict_is_what_surely_follows(
    counts: dict[str, int], verdict: Verdict, told: str
) -> None:
    found, reason = tally(**counts).verdict(LIMITS)
    assert (found, told in reason) == (verdict, True), reason


@pytest.mark.parametrize(("slower", "verdict"), [(1.2, "passed"), (3.0, "failed")])
def test_candidate_that_is_surely_slower_fails(slower: float, verdict: Verdict) -> None:
    made = Tally(Rule(manifest()))
    for at in range(5_000):
        made.add("r", answered(1, 100 + at % 50), answered(1, int((100 + at % 50) * slower)))
    assert made.verdict(ReplayLimits(max_p99_ratio=2.0))[0] == verdict
    assert made.verdict(LIMITS)[0] == "passed"
    assert made.candidate.speed.p99_us == pytest.approx(149 * slower, rel=0.06)
    assert made.candidate.speed.mean_rows == 4
