"""No label, token or category becomes another one: what is none is a bad row, and each has its own name."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from chimera.schemas.errors import TrainingRefused
from chimera.workers.training.numeral import numeral
from chimera.workers.training.preparation import Prepared, prepare
from tests.workers.training.places import config

ROWS = 60


def read(
    folder: Path, rows: pd.DataFrame, schema: dict[str, Any] | None = None, **more: Any
) -> Prepared:
    """Columns x and y; bad rows go to quarantine."""
    rows.to_parquet(folder / "rows.parquet")
    data = {
        "sources": [str(folder / "rows.parquet")],
        "schema": {"features": ["x"], "target": "y"} | (schema or {}),
        "on_bad_rows": "quarantine",
    }
    return prepare(config(data=data, **more), folder / "data")


def labelled(*first: float) -> pd.DataFrame:
    """These labels, and then good ones."""
    labels = np.resize([0.0, 1.0], ROWS)
    labels[: len(first)] = first
    return pd.DataFrame({"x": np.arange(ROWS, dtype=np.float64), "y": labels})


def quarantined(folder: Path) -> list[tuple[int, str, str]]:
    path = folder / "data/quarantine.jsonl"
    told = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    return [(one["row"], one["column"], one["reason"]) for one in told]


@pytest.mark.parametrize("task", ["multiclass", "embedding"])
@pytest.mark.parametrize(
    "rule", [None, {"maximum": 9}, {"minimum": -5, "maximum": 9}, {"dtype": "number"}]
)
def test_label_that_is_no_class_is_a_bad_row_whatever_the_rule(
    tmp_path: Path, task: str, rule: dict[str, Any] | None
) -> None:
    schema = {"columns": {"y": rule}} if rule else {}
    found = read(tmp_path, labelled(2.5, -1), schema, task=task)
    assert quarantined(tmp_path) == [(1, "y", "2.5 is not whole"), (2, "y", "-1 is below 0")]
    assert {*found.train.target.tolist()} == {0, 1}


def test_rule_of_a_class_narrows_what_is_one(tmp_path: Path) -> None:
    read(tmp_path, labelled(12), {"columns": {"y": {"maximum": 9}}}, task="multiclass")
    assert quarantined(tmp_path) == [(1, "y", "12 is above 9")]


def test_class_that_no_integer_of_a_double_names_is_a_bad_row(tmp_path: Path) -> None:
    read(tmp_path, labelled(2.0**53), task="multiclass")
    assert quarantined(tmp_path) == [(1, "y", "9007199254740992 is above 9007199254740991")]


def test_binary_target_is_zero_or_one(tmp_path: Path) -> None:
    schema = {"columns": {"y": {"minimum": -9, "maximum": 9}}}
    found = read(tmp_path, labelled(7, -1, 0.5), schema, task="binary")
    reasons = ["7 is above 1", "-1 is below 0", "0.5 is not whole"]
    assert [reason for _, _, reason in quarantined(tmp_path)] == reasons
    assert len(found.train) + len(found.validation) == ROWS - 3


def test_tokens_are_whole(tmp_path: Path) -> None:
    rows = labelled()
    rows.loc[[0, 1], "x"] = [1.7, 1e17]
    found = read(tmp_path, rows, {"feature_dtype": "INT64"})
    assert quarantined(tmp_path) == [
        (1, "x", "1.7 is not whole"),
        (2, "x", "1e+17 is above 9007199254740991"),
    ]
    assert found.train.features.dtype == np.int64


@pytest.mark.parametrize(
    "value",
    [
        pd.Timestamp("2026-11-22"),
        datetime(2026, 11, 22, tzinfo=UTC),
        pd.Timedelta(7, "s"),
        [np.datetime64("2026-11-22", "us")],
    ],
    ids=["time", "time in a zone", "duration", "list of times"],
)
def test_times_are_refused_and_not_learnt_as_numbers(tmp_path: Path, value: Any) -> None:
    rows = pd.DataFrame({"x": [None, *[value] * ROWS], "y": np.arange(ROWS + 1.0)})
    with pytest.raises(TrainingRefused, match=r"rows\.parquet: column 'x' holds times"):
        read(tmp_path, rows)


def test_times_may_name_slices_or_stand_beside_what_is_learnt(tmp_path: Path) -> None:
    rows = labelled().assign(when=pd.Timestamp("2026-11-22"))
    found = read(tmp_path, rows, {"required_columns": ["when"]}, evaluation={"slice": "when"})
    assert {*found.train.slices} == {"2026-11-22 00:00:00"}


@pytest.mark.parametrize("apart", [1.0, 0.25])
def test_slices_of_large_numbers_have_names_of_their_own(tmp_path: Path, apart: float) -> None:
    rows = labelled()
    rows["x"] = 1_000_001 + apart * (np.arange(ROWS) % 3)
    found = read(tmp_path, rows, evaluation={"slice": "x"})
    assert {*found.train.slices} == {numeral(1_000_001 + apart * at) for at in range(3)}
    assert "1000001" in found.train.slices


def test_every_row_is_counted_in_the_category_of_its_number(tmp_path: Path) -> None:
    rows = labelled()
    rows["x"] = 1_000_001.0 + np.arange(ROWS) % 3
    counted = read(tmp_path, rows).statistics.columns["x"].categories
    assert counted == {"1000001": 20, "1000002": 20, "1000003": 20}


@pytest.mark.parametrize(
    ("value", "name"),
    [(7.0, "7"), (-0.0, "0"), (0.1, "0.1"), (1_000_001.0, "1000001"), (1e300, "1e+300")],
)
def test_number_is_written_with_all_its_digits(value: float, name: str) -> None:
    assert numeral(value) == name
    assert float(name) == value
