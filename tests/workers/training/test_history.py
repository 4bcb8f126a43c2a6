"""The history keeps each run once; the board ranks them and says who is as good as the first."""

from pathlib import Path
from typing import Any

import msgspec

from chimera.schemas.training_manifest import Interval, TrainingManifest
from chimera.workers.training import history

MANIFEST = TrainingManifest(
    run_id="a",
    name="line",
    config_hash="0" * 64,
    dataset_digest="1" * 64,
    rows={"train": 8, "validation": 2, "quarantined": 0},
    metrics={"eval_mse": 2.0},
    intervals={"eval_mse": Interval(1.5, 2.5)},
    checkpoint_path="checkpoints/00000001",
    weights_sha256="2" * 64,
    is_deterministic=True,
    seed=0,
    device="cpu",
    threads=1,
    code_version="0.1.0",
    packages={},
    started_ms=1,
    duration_s=1.0,
    epochs=1,
    updates=1,
)


def run(run_id: str, mse: float | None, low: float = 0.0, high: float = 0.0) -> TrainingManifest:
    metrics = {} if mse is None else {"eval_mse": mse}
    intervals = {"eval_mse": Interval(low, high)} if high else {}
    return msgspec.structs.replace(
        MANIFEST, run_id=run_id, metrics=metrics, intervals=intervals, started_ms=ord(run_id)
    )


def test_each_run_stands_there_once(tmp_path: Path) -> None:
    for name in "abba":
        history.add(tmp_path, run(name, 1.0))
    assert [one.run_id for one in history.read(tmp_path)] == ["a", "b"]
    last = history.load_last_manifest(tmp_path, "line")
    assert last is not None
    assert last.run_id == "b"
    assert history.load_last_manifest(tmp_path, "other") is None
    before = history.load_last_manifest(tmp_path, "line", but="b")
    assert before is not None
    assert before.run_id == "a"


def test_run_that_was_recorded_again_is_as_it_was_last(tmp_path: Path) -> None:
    first, second = run("a", 1.0), msgspec.structs.replace(run("a", 1.0), version="a")
    for one in (first, run("b", 2.0), second, second):
        history.add(tmp_path, one)
    assert [one.version for one in history.read(tmp_path)] == ["a", None]
    assert len((tmp_path / "history.jsonl").read_bytes().splitlines()) == 3


def test_line_that_a_crash_has_cut_hides_no_other(tmp_path: Path) -> None:
    history.add(tmp_path, run("a", 1.0))
    with (tmp_path / "history.jsonl").open("ab") as file:
        file.write(b'{"run_id": "b", "na')
    history.add(tmp_path, run("c", 1.0))
    assert [one.run_id for one in history.read(tmp_path)] == ["a", "c"]


def test_board_ranks_by_the_metric_and_shares_places(tmp_path: Path) -> None:
    runs = [run("a", 2.0), run("b", 1.0), run("c", 1.0), run("d", None)]
    places = history.build_leaderboard(runs)
    assert [(one.rank, one.run_id) for one in places] == [(1, "b"), (1, "c"), (3, "a")]
    best = history.build_leaderboard(runs, direction="max")
    assert best[0].run_id == "a"
    path = history.write_leaderboard(tmp_path, places)
    assert [one["run_id"] for one in msgspec.json.decode(path.read_bytes())] == ["b", "c", "a"]


def test_run_of_other_rows_than_the_first_ones_is_marked() -> None:
    others: list[dict[str, Any]] = [{}, {"dataset_digest": "2" * 64}, {"split": 7}, {"seed": 9}]
    runs = [
        msgspec.structs.replace(run("abcd"[at], 1.0 + at), **other)
        for at, other in enumerate(others)
    ]
    places = history.build_leaderboard([*runs, run("e", 9.0)])
    assert [one.is_other_data for one in places] == [False, True, True, True, False]


def test_run_whose_interval_reaches_the_first_ones_is_tied() -> None:
    runs = [run("a", 1.0, 0.8, 1.2), run("b", 1.1, 0.9, 1.3), run("c", 2.0, 1.8, 2.2)]
    assert [one.is_tied for one in history.build_leaderboard(runs)] == [False, True, False]
