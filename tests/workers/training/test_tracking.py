"""Lines are whole, listeners hear them, and a run that resumes tells none twice."""

import json
from pathlib import Path
from typing import Any

from chimera.workers.training.tracking import ExperimentTracker


def updates(folder: Path) -> list[int]:
    return [
        json.loads(one)["update"] for one in (folder / "metrics.jsonl").read_text().splitlines()
    ]


def test_lines_and_listeners_have_the_same(tmp_path: Path) -> None:
    heard: list[dict[str, Any]] = []
    tracker = ExperimentTracker(tmp_path, (heard.append,))
    tracker.log("step", 1, {"loss": 0.5})
    tracker.close()
    assert [
        json.loads(one) for one in (tmp_path / "metrics.jsonl").read_text().splitlines()
    ] == heard
    assert heard[0]["loss"] == 0.5


def test_what_will_be_told_again_is_forgotten_with_a_line_that_was_cut(tmp_path: Path) -> None:
    tracker = ExperimentTracker(tmp_path)
    for update in range(1, 6):
        tracker.log("step", update, {})
    tracker.close()
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"kind": "st')
    again = ExperimentTracker(tmp_path)
    again.forget_after(3)
    again.log("step", 4, {})
    again.close()
    assert updates(tmp_path) == [1, 2, 3, 4]


def test_steps_are_in_the_file_before_whatever_is_told_after_them(tmp_path: Path) -> None:
    tracker = ExperimentTracker(tmp_path)
    for update in (1, 2, 3):
        tracker.log("step", update, {})
    assert updates(tmp_path) in ([1], [1, 2], [1, 2, 3])
    tracker.flush()
    assert updates(tmp_path) == [1, 2, 3]
    tracker.log("step", 4, {})
    tracker.log("epoch", 4, {})
    assert updates(tmp_path) == [1, 2, 3, 4, 4]
    tracker.log("step", 5, {})
    tracker.close()
    assert updates(tmp_path) == [1, 2, 3, 4, 4, 5]


def test_artifacts_are_copies_beside_the_metrics(tmp_path: Path) -> None:
    (tmp_path / "plot.png").write_bytes(b"png")
    tracker = ExperimentTracker(tmp_path / "run")
    found = tracker.log_artifact(tmp_path / "plot.png", "loss.png")
    tracker.close()
    assert found == tmp_path / "run" / "artifacts" / "loss.png"
    assert found.read_bytes() == b"png"
