"""Lines that are no rows are told one by one, wherever they stand; the others keep their numbers and types."""

import json
from pathlib import Path

import pandas as pd
import pytest

from chimera.schemas.errors import TrainingRefused
from chimera.workers.training import sources
from chimera.workers.training.chunks import BadRow

ROWS = 40


def read(
    path: Path, chunk_rows: int, text: tuple[str, ...] = ()
) -> tuple[pd.DataFrame, list[BadRow]]:
    """Good rows by their number, and the bad ones."""
    (source,) = sources.find([str(path)])
    chunks = list(sources.chunks(source, chunk_rows, text))
    rows = [chunk.rows.set_axis(chunk.numbers) for chunk in chunks if len(chunk.rows)]
    return pd.concat(rows), [one for chunk in chunks for one in chunk.bad]


def lines(kind: str) -> list[str]:
    if kind == "csv":
        return [f'{number},"a, ""b""\n{number}"' for number in range(ROWS)]
    return [json.dumps({"x": number, "s": f'a, "b"\n{number}'}) for number in range(ROWS)]


@pytest.mark.parametrize("chunk_rows", [1, 7, 100])
@pytest.mark.parametrize("bad", [(1,), (ROWS,), (3, 4, 29), (15, 21), tuple(range(1, 15))])
@pytest.mark.parametrize(
    ("kind", "damage", "reason"),
    [
        ("csv", "1,2,3", "3 fields, the header has 2"),
        ("csv", "1,2,", "3 fields, the header has 2"),
        ("jsonl", '{"x": 1, "s"', "no JSON: Expecting ':' delimiter, at character 13"),
        ("jsonl", "[1, 2]", "a JSON list, no object"),
        ("jsonl", '{"x": 1} {"x": 2}', "no JSON: Extra data, at character 10"),
    ],
)
def test_line_that_is_no_row_is_told_and_the_others_are_read(
    tmp_path: Path, kind: str, damage: str, reason: str, bad: tuple[int, ...], chunk_rows: int
) -> None:
    written = lines(kind)
    for number in bad:
        written[number - 1] = damage
    header = ["x,s"] if kind == "csv" else []
    path = tmp_path / f"rows.{kind}"
    path.write_text("\n".join((*header, *written[:20], "", *written[20:])))  # a blank line is none
    rows, told = read(path, chunk_rows)
    assert [(one.row, one.reason) for one in told] == [(number, reason) for number in bad]
    assert told[0].values == (damage.split(",") if kind == "csv" else damage)
    assert str(told[0]).endswith(f"rows.{kind}, row {bad[0]}: {reason}")
    good = [number for number in range(1, ROWS + 1) if number not in bad]
    assert rows.index.tolist() == good
    assert rows["x"].tolist() == [number - 1 for number in good]
    assert rows["s"].tolist() == [f'a, "b"\n{number - 1}' for number in good]


def test_line_that_is_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"x": 1}\n{"x": "\xff"}\n{"x": NaN}\n')
    rows, (bad,) = read(path, 10)
    assert rows.index.tolist() == [1, 3]
    assert (bad.row, bad.values) == (2, '{"x": "\ufffd"}')


def test_rows_that_are_all_wider_than_the_header_are_not_shifted(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("x,y\n1,2,\n3,4,\n5,6\n")
    rows, bad = read(path, 10)
    assert rows.to_dict("list") == {"x": [5], "y": [6]}
    assert [one.row for one in bad] == [1, 2]


def test_quote_that_is_never_closed_takes_no_rows_with_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('x,y\n1,2\n1,2,3\n3,"4\n5,6\n')
    with pytest.raises(TrainingRefused, match=r"rows\.csv, after row 0: .*never closed"):
        read(path, 10)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_text_is_what_is_written_in_every_chunk(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"rows.{kind}"
    groups = [1, 2, None, 7]
    if kind == "parquet":
        pd.DataFrame({"x": range(4), "g": pd.array(groups, "Int64")}).to_parquet(path)
    elif kind == "csv":
        path.write_text("x,g\n0,1\n1,2\n2,\n3,007\n")
    else:
        path.write_text(
            "".join(json.dumps({"x": at, "g": one}) + "\n" for at, one in enumerate(groups))
        )
    rows, _ = read(path, 2, ("g", "not there"))
    found = [str(one) for one in rows["g"] if not pd.isna(one)]
    assert found == ["1", "2", "007" if kind == "csv" else "7"]


def test_what_looks_like_a_date_stays_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"created_at": 1763762400, "x": "2026-11-22"}\n')
    rows, _ = read(path, 2)
    assert rows.to_dict("list") == {"created_at": [1763762400], "x": ["2026-11-22"]}
