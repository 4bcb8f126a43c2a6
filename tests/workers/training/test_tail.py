"""Lines are heard whole and once, though the file is written anew under the reader."""

from pathlib import Path

from chimera.workers.training.tail import Tail
from chimera.workers.training.tracking import ExperimentTracker


def heard(tail: Tail) -> list[int]:
    return [line["update"] for line in tail.read()]


def test_each_line_is_heard_once_and_whole(tmp_path: Path) -> None:
    tracker = ExperimentTracker(tmp_path)
    tracker.log("step", 1, {})
    tail = Tail(tmp_path)
    tracker.log("step", 2, {})
    tracker.log("step", 3, {})
    tracker.flush()
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"kind": "st')
    assert heard(tail) == [2, 3]
    tracker.forget_after(1)
    for update in (2, 3, 4):
        tracker.log("step", update, {})
    tracker.flush()
    assert heard(tail) == [4]
    assert heard(tail) == []
    tracker.close()


def test_run_that_has_told_nothing_yet_is_waited_for(tmp_path: Path) -> None:
    tail = Tail(tmp_path)
    assert heard(tail) == []
    tracker = ExperimentTracker(tmp_path)
    tracker.log("step", 1, {})
    tracker.close()
    assert heard(tail) == [1]
