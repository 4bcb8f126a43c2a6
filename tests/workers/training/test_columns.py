"""One value that is not good is one bad row, wherever it stands; what a column holds is what most of it is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest

from chimera.schemas.errors import TrainingRefused
from chimera.schemas.training_config import TrainingConfig
from chimera.workers.training.preparation import prepare
from tests.workers.training.places import config

ROWS = 40
GOOD = [[float(number), number + 0.5, 1.0] for number in range(ROWS)]

Write = Callable[[Path, list[Any]], Path]


def as_json_lines(folder: Path, images: list[Any]) -> Path:
    lines = [{"image": image, "y": number} for number, image in enumerate(images)]
    path = folder / "rows.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return path


def as_parquet(folder: Path, images: list[Any]) -> Path:
    path = folder / "rows.parquet"
    rows = pd.DataFrame({"image": images, "y": range(len(images))})
    rows.to_parquet(path)
    return path


BOTH = pytest.mark.parametrize("write", [as_json_lines, as_parquet])
NULL = (None, "no value")
HOLE = ([1.0, None, 3.0], "nan is not finite in 32 bits")
SHORT = ([1.0], "a list of (1,), not of 3")


def order(path: Path, *, rule: dict[str, Any] | None = None, **data: Any) -> TrainingConfig:
    schema = {"features": ["image"], "target": "y", "columns": {"image": rule or {}}}
    return config(data={"sources": [str(path)], "schema": schema, **data})


def quarantined(folder: Path) -> list[tuple[int, str]]:
    path = folder / "quarantine.jsonl"
    told = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    return [(one["row"], one["reason"]) for one in told]


@BOTH
@pytest.mark.parametrize("first", [[NULL], [HOLE], [SHORT], [NULL, SHORT, HOLE], [NULL] * 12])
def test_bad_rows_before_lists_are_quarantined_alone(
    tmp_path: Path, write: Write, first: list[tuple[Any, str]]
) -> None:
    """A chunk has ten rows."""
    path = write(tmp_path, [*(value for value, _ in first), *GOOD])
    wanted = order(path, on_bad_rows="quarantine", chunk_rows=10)
    found = prepare(wanted, tmp_path / "data")
    assert quarantined(tmp_path / "data") == [
        (number, reason) for number, (_, reason) in enumerate(first, 1)
    ]
    rows = {
        tuple(row) for side in (found.train, found.validation) for row in side.features.tolist()
    }
    assert rows == {tuple(row) for row in GOOD}


@BOTH
def test_run_that_fails_at_a_list_names_the_row_that_is_bad(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path, [SHORT[0], *GOOD])
    with pytest.raises(TrainingRefused, match=r"row 1, column image: a list of \(1,\), not of 3$"):
        prepare(order(path), tmp_path / "data")


@BOTH
def test_nulls_before_lists_are_dropped_where_they_may_go(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path, [None, None, *GOOD])
    found = prepare(order(path, rule={"nulls": "drop"}), tmp_path / "data")
    assert (found.dropped, len(found.train) + len(found.validation)) == (2, ROWS)


@pytest.mark.parametrize("first", ["?", 7, [], {"a": 1}, ["a", "b"]], ids=str)
def test_value_of_another_kind_before_lists_is_one_bad_row(tmp_path: Path, first: Any) -> None:
    wanted = order(as_json_lines(tmp_path, [first, *GOOD]), on_bad_rows="quarantine")
    assert prepare(wanted, tmp_path / "data").quarantined == 1
    ((row, reason),) = quarantined(tmp_path / "data")
    assert (row, reason) == (1, f"{str(first)!r} is no list of numbers")


@pytest.mark.parametrize("first", ["?", [7.0], {"a": 1}], ids=str)
def test_value_of_another_kind_before_numbers_is_one_bad_row(tmp_path: Path, first: Any) -> None:
    numbers = [row[0] for row in GOOD]
    wanted = order(as_json_lines(tmp_path, [first, *numbers]), on_bad_rows="quarantine")
    found = prepare(wanted, tmp_path / "data")
    assert found.train.features.shape[1:] == (1,)
    assert quarantined(tmp_path / "data") == [(1, f"{str(first)!r} is no number")]


def test_chunk_of_nulls_that_are_filled_is_one_of_numbers(tmp_path: Path) -> None:
    """Else rows of one width would follow rows of another."""
    wanted = order(
        as_json_lines(tmp_path, [*[None] * 10, *GOOD]),
        rule={"nulls": "fill", "fill": 0.0},
        on_bad_rows="quarantine",
        chunk_rows=10,
    )
    found = prepare(wanted, tmp_path / "data")
    assert found.train.features.shape[1:] == (1,)
    assert found.quarantined == ROWS
