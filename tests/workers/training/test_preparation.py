"""One pass makes rows ready: bad ones are told by file, row and column; the digest is of content."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from chimera.schemas.errors import TrainingRefused
from chimera.schemas.training_config import TrainingConfig
from chimera.workers.training.preparation import Prepared, Rows, opened, prepare
from chimera.workers.training.row_keys import place_keys
from chimera.workers.training.statistics import SAMPLE_ROWS, RunningStatistics
from tests.workers.training import hooks
from tests.workers.training.places import config, frame

SCHEMA: dict[str, Any] = {"features": ["a", "b"], "target": "y"}


def order(tmp_path: Path, rows: pd.DataFrame, **more: Any) -> TrainingConfig:
    tmp_path.mkdir(exist_ok=True)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    data = {"sources": [str(tmp_path / "rows.csv")], "schema": SCHEMA}
    return config(data=data | more.pop("data", {}), **more)


def both(found: Prepared) -> set[tuple[float, ...]]:
    return {
        (*features, target)
        for side in (found.train, found.validation)
        for features, target in zip(side.features.tolist(), side.target.tolist(), strict=True)
    }


def pairs(side: Rows) -> set[tuple[float, float]]:
    return {(row[0], row[1]) for row in side.features.tolist()}


def test_each_row_lies_on_one_side(tmp_path: Path) -> None:
    found = prepare(order(tmp_path, frame(400)), tmp_path / "data")
    rows = frame(400)[["a", "b", "y"]].to_numpy(np.float32)
    assert both(found) == {tuple(row) for row in rows.tolist()}
    assert len(found.train) + len(found.validation) == 400
    assert 40 < len(found.validation) < 130


def test_rows_know_where_they_came_from(tmp_path: Path) -> None:
    found = prepare(order(tmp_path, frame(30), data={"chunk_rows": 7}), tmp_path / "data")
    wanted = frame(30)["a"].to_numpy(np.float32)
    for row, row_id in zip(found.train.features, found.train.ids, strict=True):
        assert row[0] == wanted[row_id[1] - 1]
    assert found.name(found.train.ids[0]).startswith("file://")


def test_equal_rows_stay_together_and_what_was_held_out_stays_out(tmp_path: Path) -> None:
    first = prepare(order(tmp_path / "1", frame(200)), tmp_path / "1" / "data")
    more = pd.concat((frame(200, seed=1), frame(200), frame(200)))
    second = prepare(order(tmp_path / "2", more), tmp_path / "2" / "data")
    held_out = pairs(first.validation)
    assert held_out <= pairs(second.validation)
    assert not held_out & pairs(second.train)


def test_digest_is_of_content_and_not_of_chunks_or_formats(tmp_path: Path) -> None:
    one = prepare(order(tmp_path, frame()), tmp_path / "one")
    two = prepare(order(tmp_path, frame(), data={"chunk_rows": 3}), tmp_path / "two")
    frame().to_parquet(tmp_path / "rows.parquet")
    parquet = {"sources": [str(tmp_path / "rows.parquet")]}
    three = prepare(order(tmp_path, frame(), data=parquet), tmp_path / "three")
    other = prepare(order(tmp_path, frame(seed=1)), tmp_path / "other")
    assert one.digest == two.digest == three.digest != other.digest


def test_what_was_prepared_is_opened_again(tmp_path: Path) -> None:
    wanted = order(tmp_path, frame(), evaluation={"slice": "group"})
    found = prepare(wanted, tmp_path / "data")
    again = opened(tmp_path / "data")
    assert again.statistics == found.statistics
    assert (again.train.features == found.train.features).all()
    assert again.train.slices == found.train.slices
    (tmp_path / "data" / "prepared.json").unlink()
    with pytest.raises(TrainingRefused, match="no prepared data set"):
        opened(tmp_path / "data")


@pytest.mark.parametrize(
    ("column", "value", "rule", "reason"),
    [
        ("a", "many", {}, "'many' is no number"),
        ("a", None, {}, "no value"),
        ("b", 9.5, {"maximum": 9}, "9.5 is above 9"),
        ("b", -9.5, {"minimum": -9}, "-9.5 is below -9"),
        ("y", np.inf, {}, "inf is not finite"),
        ("b", 1e300, {}, "1e\\+300 is not finite in 32 bits"),
    ],
)
def test_bad_row_is_told_by_file_row_and_column(
    tmp_path: Path, column: str, value: Any, rule: dict[str, Any], reason: str
) -> None:
    rows = frame(20).astype({column: object})
    rows.loc[12, column] = value
    schema = SCHEMA | {"columns": {column: rule}}
    with pytest.raises(TrainingRefused, match=rf"rows\.csv, row 13, column {column}: {reason}"):
        prepare(order(tmp_path, rows, data={"schema": schema}), tmp_path / "data")


def test_quarantined_rows_are_kept_with_their_reason_and_the_others_trained_on(
    tmp_path: Path,
) -> None:
    rows = frame(50).astype({"a": object})
    rows.loc[[3, 30], "a"] = "?"
    data = {"on_bad_rows": "quarantine", "chunk_rows": 8}
    found = prepare(order(tmp_path, rows, data=data), tmp_path / "data")
    lines = (tmp_path / "data/quarantine.jsonl").read_text().splitlines()
    told = [json.loads(line) for line in lines]
    assert [(one["row"], one["column"], one["reason"]) for one in told] == [
        (4, "a", "'?' is no number"),
        (31, "a", "'?' is no number"),
    ]
    held = frame(50).loc[3]
    assert told[0]["values"] == {
        "a": "?", "b": pytest.approx(held["b"]), "group": held["group"], "y": pytest.approx(held["y"])
    }  # fmt: skip
    assert found.quarantined == 2
    assert len(found.train) + len(found.validation) == 48


@pytest.mark.parametrize(("name", "damage"), [("rows.csv", "1,2,3,4,5"), ("rows.jsonl", '{"a": ')])
def test_line_that_is_no_row_goes_to_quarantine_or_fails_the_run_with_its_number(
    tmp_path: Path, name: str, damage: str
) -> None:
    path = tmp_path / name
    wanted = order(tmp_path, frame(50), data={"sources": [str(path)], "on_bad_rows": "quarantine"})
    if name.endswith("jsonl"):
        frame(50).to_json(path, orient="records", lines=True)
    lines = path.read_text().splitlines()
    at = 30 if name.endswith("jsonl") else 31
    lines[at : at + 1] = [damage, damage]  # instead of row 31
    path.write_text("\n".join(lines))
    found = prepare(wanted, tmp_path / "data")
    written = (tmp_path / "data/quarantine.jsonl").read_text().splitlines()
    told = [json.loads(line) for line in written]
    assert [(one["row"], one["column"]) for one in told] == [(31, ""), (32, "")]
    assert told[0]["values"] in (damage, damage.split(","))
    assert found.quarantined == 2
    assert len(found.train) + len(found.validation) == 49
    wanted_a = frame(50)["a"].to_numpy(np.float32)
    for row, (_, number) in zip(found.train.features, found.train.ids, strict=True):
        assert row[0] == pytest.approx(wanted_a[number - 1 - (number > 32)])
    strict = msgspec.structs.replace(wanted.data, on_bad_rows="fail")
    with pytest.raises(TrainingRefused, match=rf"{name}, row 31: .* \(1 more like it"):
        prepare(msgspec.structs.replace(wanted, data=strict), tmp_path / "strict")


def test_values_that_json_cannot_say_are_kept_as_text(tmp_path: Path) -> None:
    rows = frame(20)
    rows["when"] = pd.Timestamp("2026-11-22")
    rows["image"] = pd.Series([np.arange(2)] * 20)
    rows.loc[4, "a"], rows.loc[5, ["a", "b"]] = np.inf, np.nan
    rows.to_parquet(tmp_path / "rows.parquet")
    data = {"sources": [str(tmp_path / "rows.parquet")], "on_bad_rows": "quarantine"}
    prepare(order(tmp_path, rows, data=data), tmp_path / "data")
    lines = (tmp_path / "data/quarantine.jsonl").read_bytes().splitlines()
    first, second = (msgspec.json.decode(line)["values"] for line in lines)
    assert (first["a"], first["when"], first["image"]) == ("inf", "2026-11-22 00:00:00", [0, 1])
    assert (second["a"], second["b"]) == (None, None)


@pytest.mark.parametrize(
    ("nulls", "rows", "dropped", "quarantined"),
    [("drop", 48, 2, 0), ("fill", 50, 0, 0), ("refuse", 48, 0, 2)],
)
def test_nulls_are_dropped_filled_or_refused_as_the_schema_says_and_counted(
    tmp_path: Path, nulls: str, rows: int, dropped: int, quarantined: int
) -> None:
    found = frame(50)
    found.loc[[7, 30], "b"] = np.nan
    schema = SCHEMA | {"columns": {"b": {"nulls": nulls, "fill": 0.25}}}
    data = {"schema": schema, "on_bad_rows": "quarantine", "chunk_rows": 20}
    ready = prepare(order(tmp_path, found, data=data), tmp_path / "data")
    assert len(ready.train) + len(ready.validation) == rows
    assert (0.25 in {row[1] for row in both(ready)}) is (nulls == "fill")
    assert (ready.dropped, ready.quarantined) == (dropped, quarantined)
    counted = {name: one.nulls for name, one in ready.statistics.columns.items()}
    assert counted == {"a": 0, "b": 2, "y": 0}
    assert opened(tmp_path / "data").dropped == dropped


def test_required_column_without_a_rule_has_only_to_be_there(tmp_path: Path) -> None:
    schema = SCHEMA | {"required_columns": ["group"]}
    found = prepare(order(tmp_path, frame(), data={"schema": schema}), tmp_path / "data")
    assert len(found.train) + len(found.validation) == len(frame())
    ruled = schema | {"columns": {"group": {"minimum": 0}}}
    with pytest.raises(TrainingRefused, match=r"column group: '\w+' is no number"):
        prepare(order(tmp_path, frame(), data={"schema": ruled}), tmp_path / "ruled")


@pytest.mark.parametrize("rule", [None, {"dtype": "integer"}])
def test_slices_have_one_name_in_every_chunk(tmp_path: Path, rule: dict[str, Any] | None) -> None:
    rows = frame(60)
    rows["group"] = ["7", "007", "1"] * 20
    schema = SCHEMA | ({"columns": {"group": rule}} if rule else {})
    if not rule:
        rows.loc[10, "group"] = None  # else numbers beside it would be 7.0
    data = {"schema": schema, "chunk_rows": 20, "on_bad_rows": "quarantine"}
    wanted = order(tmp_path, rows, data=data, evaluation={"slice": "group"})
    found = prepare(wanted, tmp_path / "data")
    assert {*found.train.slices} == ({"7", "1"} if rule else {"7", "007", "1"})


def test_column_that_is_learnt_may_name_slices_and_is_no_text(tmp_path: Path) -> None:
    rows = frame(60)
    rows["a"] = np.arange(60) % 3
    found = prepare(order(tmp_path, rows, evaluation={"slice": "a"}), tmp_path / "data")
    assert {*found.train.slices} == {"0", "1", "2"}
    assert (found.train.features[:, 0] == [float(one) for one in found.train.slices]).all()
    text = SCHEMA | {"columns": {"a": {"dtype": "text"}}}
    with pytest.raises(TrainingRefused, match=r"columns\.a: text cannot be learnt"):
        prepare(order(tmp_path, rows, data={"schema": text}), tmp_path / "text")


def test_file_with_a_header_alone_has_no_rows(tmp_path: Path) -> None:
    with pytest.raises(TrainingRefused, match="no good row is left"):
        prepare(order(tmp_path, frame(0)), tmp_path / "data")


def test_missing_column_is_told(tmp_path: Path) -> None:
    schema = SCHEMA | {"required_columns": ["weight"]}
    with pytest.raises(TrainingRefused, match=r"rows\.csv: there is no column 'weight'"):
        prepare(order(tmp_path, frame(), data={"schema": schema}), tmp_path / "data")


def test_transform_changes_columns_and_keeps_rows(tmp_path: Path) -> None:
    plain = prepare(order(tmp_path, frame()), tmp_path / "plain")
    doubled = prepare(order(tmp_path, frame()), tmp_path / "doubled", hooks.doubled)
    assert {2 * row[0] for row in both(plain)} == {row[0] for row in both(doubled)}
    for number, (wrong, reason) in enumerate(
        ((hooks.halved, "rows have to stay"), (hooks.failing, "KeyError"))
    ):
        with pytest.raises(TrainingRefused, match=reason):
            prepare(order(tmp_path, frame()), tmp_path / str(number), wrong)


def test_lists_are_features_of_one_length(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [{"image": [n, n + 1, n + 2], "digit": n % 2} for n in range(20)]
    lines[11]["image"], lines[12]["image"] = [1, 2], None
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = {
        "sources": [str(path)],
        "schema": {"features": ["image"], "target": "digit"},
        "on_bad_rows": "quarantine",
    }
    ready = prepare(config(task="multiclass", data=data), tmp_path / "data")
    assert ready.train.features.shape[1:] == (3,)
    assert ready.train.target.dtype == np.int64
    assert ready.quarantined == 2
    assert ready.statistics.columns["image[1]"].nulls == 1
    assert list(ready.statistics.columns) == ["image[0]", "image[1]", "image[2]", "digit"]


def test_statistics_are_those_of_the_rows(tmp_path: Path) -> None:
    found = prepare(
        order(tmp_path, frame(300), data={"chunk_rows": 11}), tmp_path / "data"
    ).statistics
    rows = frame(300)[["a", "b", "y"]].to_numpy(np.float32).astype(np.float64)
    for at, name in enumerate(("a", "b", "y")):
        column = found.columns[name]
        assert column.mean == pytest.approx(rows[:, at].mean())
        assert column.std == pytest.approx(rows[:, at].std())
        assert (column.min, column.max) == (rows[:, at].min(), rows[:, at].max())
        assert column.quantiles["0.5"] == pytest.approx(np.median(rows[:, at]))
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found


@pytest.mark.parametrize("apart", [1, 100_000], ids=["near", "far apart"])
def test_categories_are_counted(tmp_path: Path, apart: int) -> None:
    rows = frame(300)
    rows["a"] = (np.arange(300) % 3 - 1) * apart
    found = prepare(order(tmp_path, rows, data={"chunk_rows": 70}), tmp_path / "data")
    wanted = {f"{value * apart:g}": 100 for value in (-1, 0, 1)}
    assert found.statistics.columns["a"].categories == wanted
    assert not found.statistics.columns["b"].categories


def test_sample_is_of_the_rows_and_not_of_chunks() -> None:
    rows = np.random.default_rng(0).random((3 * SAMPLE_ROWS, 1))
    keys = place_keys(0, len(rows))
    samples: list[tuple[float, ...]] = []
    for size in (len(rows), 999):
        running = RunningStatistics(["a"])
        for at in range(0, len(rows), size):
            running.add(rows[at : at + size])
        samples.append(running.finish("", {}).sample["a"])
    assert samples[0] == samples[1] == tuple(rows[np.argsort(keys)[:SAMPLE_ROWS], 0])


def test_side_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingRefused, match="no good row"):
        prepare(order(tmp_path, frame(1)), tmp_path / "data")
