"""Every rule by which a label is taken or refused, on values."""

import numpy as np
import pytest

from chimera.schemas import inference
from chimera.schemas.errors import SchemaInvalid
from chimera.schemas.responses import Output
from chimera.workers.training.labelling import Asked, Given, candidate, rows, verdict

LABEL = Given(0, 7, "r", "1.0", observed_ms=5_000)
ASKED = Asked(0, 3, 4, False, None)
HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ([ASKED], ASKED),
        ([ASKED, ASKED._replace(offset=9)], "ambiguous"),
        ([ASKED._replace(is_error=True)], "failed"),
        ([ASKED._replace(label="1.0")], "duplicate"),
        ([ASKED._replace(label="2.0")], "conflict"),
    ],
)
def test_label_belongs_to_the_one_answered_request_that_has_none(
    asked: list[Asked], found: Asked | str
) -> None:
    assert candidate(LABEL, asked) == found


@pytest.mark.parametrize(
    ("requested_ms", "reason"),
    [
        (5_000, None),
        (5_001, "leaking"),
        (5_000 - HOUR_MS, None),
        (4_999 - HOUR_MS, "late"),
    ],
)
def test_label_counts_from_its_input_on_until_the_window_ends(
    requested_ms: int, reason: str | None
) -> None:
    assert verdict(LABEL, requested_ms, HOUR_MS) == reason


def asked(shape: str, data: str) -> inference.Request:
    tensor = f'{{"name": "x", "shape": {shape}, "datatype": "FP32", "data": {data}}}'
    return inference.decode(f'{{"model_name": "m", "inputs": [{tensor}]}}'.encode())


def test_rows_are_one_for_each_label() -> None:
    output = Output("y", "FP32", np.array([[0.5], [0.75]], "f4"))
    found = list(rows(asked("[2, 2]", "[1, 2, 3, 4]"), [output], [1.0, "cat"]))
    assert [row["input_x"].tolist() for row in found] == [[1, 2], [3, 4]]
    assert [row["output_y"].tolist() for row in found] == [[0.5], [0.75]]
    assert [(row["label"], row["label_text"]) for row in found] == [(1.0, None), (None, "cat")]


def test_request_of_one_row_may_have_a_batch_dimension_or_none() -> None:
    for shape in ("[1, 2]", "[2]"):
        (row,) = rows(asked(shape, "[1, 2]"), [], [3.0])
        assert row["input_x"].tolist() == [1, 2]


@pytest.mark.parametrize("labels", [[1.0], [1.0, 2.0, 3.0]])
def test_labels_that_are_not_as_many_as_rows_are_refused(labels: list[float]) -> None:
    with pytest.raises(SchemaInvalid, match="label"):
        list(rows(asked("[2, 2]", "[1, 2, 3, 4]"), [], labels))
