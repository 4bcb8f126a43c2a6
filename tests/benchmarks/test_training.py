"""Every part of the benchmark of training runs, small; what it says of memory is a figure, no promise."""

from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import tables, training
from benchmarks.training import Sizes

SMALL = Sizes(
    rounds=1,
    loop_rows=8_000,
    loader_rows=4_000,
    process_rows=8_000,
    memory_limit_bytes=1 << 20,
    checkpoint_width=64,
)


@pytest.mark.timeout(300)
def test_benchmark_measures_each_part_and_its_report_is_shown(tmp_path: Path) -> None:
    report = training.run(tmp_path, SMALL, lambda _: None)
    assert report["loop"]["ours_us"]["median"] > 0
    assert len(report["loaders"]["rows_s"]) == 7
    assert report["checkpoint"]["large"]["bytes"] > 10_000
    assert report["processes"]["two_rows_s"]["median"] > 0
    assert report["memory"]["data_mb"] == pytest.approx(10.5, rel=0.05)
    console = Console(record=True, width=160)
    tables.show(report, console)
    assert "two processes" in console.export_text()
