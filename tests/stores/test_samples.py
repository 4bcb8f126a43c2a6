"""Rows are there once, whatever step their writer was killed at; a reader sees whole files alone."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (pyarrow ships no type information)

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet  # type: ignore[import-untyped]  # ships no type information

from chimera.schemas.errors import ConfigurationError
from chimera.stores.samples import Rejected, Sample, Samples

PIECE, LAST = 3, 9
CHILD = """
import os, sys
from pathlib import Path
from tests.stores.test_samples import work
def reached(step):
    if step == sys.argv[2]:
        os.kill(os.getpid(), 9)
work(Path(sys.argv[1]), reached)
"""
DAY_MS = 86_400_000


def nothing(_step: str) -> None:
    return


def work(folder: Path, reached: Callable[[str], None] = nothing) -> None:
    """Rows of all offsets up to `LAST`, each third one refused, `PIECE` a commit."""
    with Samples(folder, reached) as samples:
        while (start := position(samples)) < LAST:
            with samples.commit() as commit:
                for offset in range(start, start + PIECE):
                    row = {"offset": offset, "input_x": np.ones(2, "f4"), "label": None}
                    if offset % 3 == 2:
                        commit.rejected.append(Rejected(0, offset, "late", f"r{offset}"))
                    else:
                        commit.samples.append(Sample("m", offset * DAY_MS, 0, offset, row))
                samples.ledger.execute(
                    "INSERT OR REPLACE INTO positions VALUES ('t', 0, ?)", (start + PIECE,)
                )


def position(samples: Samples) -> int:
    found = samples.ledger.execute("SELECT next FROM positions").fetchone()
    return int(found[0]) if found else 0


def offsets(folder: Path) -> list[int]:
    """As a reader finds them, who looks at nothing but the files."""
    found: list[int] = []
    for path in folder.glob("model=*/date=*/*.parquet"):
        found += parquet.ParquetFile(path).read()["offset"].to_pylist()
    for path in (folder / "rejected").glob("*.jsonl"):
        found += [json.loads(line)["offset"] for line in path.read_text().splitlines()]
    return sorted(found)


@pytest.mark.parametrize("step", ["staged", "committed", "published"])
def test_rows_are_there_once_after_a_kill(tmp_path: Path, step: str) -> None:
    killed = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path), step], check=False)
    assert killed.returncode == -9
    assert len(offsets(tmp_path)) <= 1
    work(tmp_path)
    assert offsets(tmp_path) == list(range(LAST))
    assert list((tmp_path / ".state" / "staged").iterdir()) == []
    with Samples(tmp_path) as samples:
        assert samples.counts() == {"joined": 6, "late": 3}


def test_rows_lie_by_model_and_day_and_are_named_by_their_offsets(tmp_path: Path) -> None:
    work(tmp_path)
    path = tmp_path / "model=m" / "date=1970-01-05" / "samples-0-000000000004-000000000004.parquet"
    table = parquet.ParquetFile(path).read()
    assert table["input_x"].to_pylist() == [[1.0, 1.0]]
    assert str(table.schema.field("label").type) == "double"


def test_numbers_of_several_types_share_a_column(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"input_x": np.ones(1, "f4"), "label": 1.0},
        {"input_x": np.ones(1, "i8")},
    ]
    with Samples(tmp_path) as samples, samples.commit() as commit:
        commit.samples += [Sample("m", 0, 0, at, row) for at, row in enumerate(rows)]
    (path,) = tmp_path.glob("model=m/*/*.parquet")
    table = parquet.ParquetFile(path).read()
    assert table["input_x"].to_pylist() == [[1.0], [1.0]]
    assert table["label"].to_pylist() == [1.0, None]


def test_folder_has_one_writer(tmp_path: Path) -> None:
    with Samples(tmp_path), pytest.raises(ConfigurationError, match="another"), Samples(tmp_path):
        pass


def test_commit_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with Samples(tmp_path) as samples:
        with pytest.raises(RuntimeError, match="no"), samples.commit() as commit:
            commit.samples.append(Sample("m", 0, 0, 0, {"offset": 0}))
            raise RuntimeError("no")
        assert samples.counts() == {}
    assert offsets(tmp_path) == []
