"""The benchmark of training runs, small, and its table; processes and memory take minutes: not here."""

from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import machine, tables, training
from benchmarks.training import Sizes

SMALL = Sizes(rounds=1, loop_rows=4_000, loader_rows=4_000, checkpoint_width=64)
REPORT: dict[str, Any] = {
    "kind": "training",
    "rounds": 1,
    "machine": machine.describe(None),
    "processes": {
        "one_rows_s": {"median": 1_000.0},
        "two_rows_s": {"median": 1_500.0},
        "efficiency_pct": 75.0,
    },
    "memory": {"training_peak_mb": 500.0, "data_mb": 5_000.0, "growth_pct": 0.5},
}


def test_parts_of_one_process_are_measured_and_shown(tmp_path: Path) -> None:
    parts = {"loop": training.loop, "loaders": training.loaders, "checkpoint": training.checkpoint}
    report = dict(REPORT)
    for name, part in parts.items():
        (tmp_path / name).mkdir()
        report[name] = part(tmp_path / name, SMALL)
    assert report["loop"]["ours_us"]["median"] > 0
    assert len(report["loaders"]["rows_s"]) == 7
    assert report["checkpoint"]["large"]["bytes"] > 10_000
    shown = StringIO()
    tables.show(report, Console(file=shown))
    assert "1,500 rows/s" in shown.getvalue()
    assert f"{report['loop']['overhead_pct']:+.1f} %" in shown.getvalue()
