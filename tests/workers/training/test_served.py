"""Served rows differ from what a run has learnt from where they do, by those of the span alone."""

import time
from pathlib import Path

import pytest

from chimera.schemas.errors import TrainingRefused
from chimera.workers.training import served
from chimera.workers.training.served import Judged, Span, judge
from tests.workers.training.served_rows import DAY_MS, MODEL, ROWS, learnt, serve

NAMES = {"x0", "x1", "x2", "x3"}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    learnt(tmp_path / "runs")
    return tmp_path / "runs"


def judged(runs: Path, url: str, days: int = 1) -> Judged:
    now_ms = time.time_ns() // 1_000_000
    found = judge(runs, MODEL, url, Span(now_ms - days * DAY_MS, now_ms))
    assert found is not None
    return found


def test_rows_that_are_shifted_are_told_by_column_and_others_not(runs: Path) -> None:
    samples = runs.parent / "samples"
    url = serve(samples)
    assert judged(runs, url) == Judged("base", ROWS, ())
    serve(samples, 1.0, partition=1)
    found = judged(runs, url)
    assert (found.run_id, found.rows) == ("base", 2 * ROWS)
    assert {one.column for one in found.columns} == NAMES  # the label, which has not moved, is not
    assert all(0.3 < one.mean_delta < 0.7 for one in found.columns)


def test_rows_of_requests_before_the_span_do_not_count(runs: Path) -> None:
    samples = runs.parent / "samples"
    serve(samples, 3.0, partition=1, days_ago=2)
    url = serve(samples)
    assert judged(runs, url) == Judged("base", ROWS, ())
    assert judged(runs, url, days=3).columns


def test_few_rows_are_no_drift_and_of_many_the_newest_are_read(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = runs.parent / "samples"
    url = serve(samples, 3.0, rows=served.LEAST_ROWS - 1, days_ago=2)
    assert judged(runs, url, days=3) == Judged("base", served.LEAST_ROWS - 1, ())
    serve(samples, partition=1)
    monkeypatch.setattr(served, "MAX_ROWS", ROWS)
    assert judged(runs, url, days=3) == Judged("base", ROWS, ())


def test_rows_that_are_not_the_runs_are_refused(runs: Path) -> None:
    samples = runs.parent / "samples"
    with pytest.raises(TrainingRefused, match="there is no such folder"):
        judged(runs, f"file://{samples}")
    url = serve(samples, tensor="image")
    with pytest.raises(TrainingRefused, match=r"no row has input_features: is release.input right"):
        judged(runs, url)
    assert judge(runs, "other", url, Span(0, 1)) is None
