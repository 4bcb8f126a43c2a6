"""Files are found by path, glob, folder and URL, in an order of their content alone."""

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from chimera.schemas.errors import TrainingRefused
from chimera.workers.training import sources
from chimera.workers.training.synthetic import SyntheticRegressionDataset
from tests.workers.training.places import frame

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


def rows_of(*patterns: str, chunk_rows: int = 7) -> pd.DataFrame:
    found = [
        chunk.rows
        for source in sources.find(patterns)
        for chunk in sources.chunks(source, chunk_rows)
    ]
    return pd.concat(found, ignore_index=True)


def write(path: Path, rows: pd.DataFrame) -> None:
    if path.suffix == ".parquet":
        rows.to_parquet(path)
    elif ".jsonl" in path.name:
        rows.to_json(path, orient="records", lines=True, double_precision=15)
    else:
        rows.to_csv(path, index=False)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_formats_hold_the_same_rows(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, frame())
    pd.testing.assert_frame_equal(rows_of(str(tmp_path / name)), frame(), check_dtype=False)


def test_folder_glob_and_url_mean_the_same_files(tmp_path: Path) -> None:
    for seed in range(3):
        write(tmp_path / f"part{seed}.csv", frame(seed=seed))
    (tmp_path / "README").write_text("no data")
    everything = [
        sources.find([one]) for one in (str(tmp_path), f"{tmp_path}/*.csv", f"file://{tmp_path}")
    ]
    assert len(everything[0]) == 3
    assert everything[0] == everything[1] == everything[2]


def test_order_of_files_does_not_depend_on_their_names(tmp_path: Path) -> None:
    for folder, names in (("one", "abc"), ("two", "cab")):
        (tmp_path / folder).mkdir()
        for seed, name in enumerate(names):
            write(tmp_path / folder / f"{name}.csv", frame(seed=seed))
    one, two = rows_of(str(tmp_path / "one")), rows_of(str(tmp_path / "two"))
    assert len(one) == 3 * len(frame())
    pd.testing.assert_frame_equal(one, two)


def test_file_that_is_named_twice_counts_once(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", frame())
    assert len(rows_of(str(tmp_path), str(tmp_path / "a.csv"))) == len(frame())


def test_chunks_know_the_number_of_their_first_row(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", frame(20))
    (source,) = sources.find([str(tmp_path)])
    assert [chunk.numbers[0] for chunk in sources.chunks(source, 8)] == [1, 9, 17]


@pytest.mark.parametrize("pattern", ["missing.csv", "*.csv", "a.txt"])
def test_what_is_no_data_is_refused_by_its_name(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "a.txt").write_text("1")
    with pytest.raises(TrainingRefused, match=pattern.replace("*", r"\*")):
        sources.find([str(tmp_path / pattern)])


@pytest.mark.parametrize("name", ["a.parquet", "a.csv.gz"])
def test_damaged_file_is_refused_by_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x00no such thing")
    with pytest.raises(TrainingRefused, match=name):
        rows_of(str(tmp_path / name))


def damaged(packed: bytes) -> Iterator[bytes]:
    """It ends too early; it has other bytes in its middle."""
    half = len(packed) // 2
    yield packed[:half]
    yield packed[:half] + bytes(255 - one for one in packed[half : half + 64]) + packed[half + 64 :]


@pytest.mark.parametrize("rows", ["csv", "jsonl"])
@pytest.mark.parametrize("packing", ["gz", "bz2", "xz"])
def test_packed_file_that_is_damaged_is_refused(tmp_path: Path, rows: str, packing: str) -> None:
    source = tmp_path / f"whole.{rows}"
    write(source, frame(3_000))
    packed = PACKERS[packing](source.read_bytes())
    for number, found in enumerate(damaged(packed)):
        path = tmp_path / f"{number}.{rows}.{packing}"
        path.write_bytes(found)
        with pytest.raises(TrainingRefused, match=rf"{path.name}, after row \d+: .* unpacked"):
            rows_of(str(path), chunk_rows=500)


def test_synthetic_rows_do_not_depend_on_chunks() -> None:
    pieces, whole = (rows_of("synthetic:30,2,5", chunk_rows=rows) for rows in (7, 30))
    assert len(whole) == 30
    pd.testing.assert_frame_equal(pieces, whole)


@pytest.mark.parametrize("url", ["synthetic:", "synthetic:x", "synthetic:0", "synthetic:1,2,3,4"])
def test_synthetic_url_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(TrainingRefused, match="synthetic"):
        SyntheticRegressionDataset.of(url)
