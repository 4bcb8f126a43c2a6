"""Errors as numbers, and which of them are too large."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from chimera.schemas.compile_report import Precision
from chimera.schemas.manifest import TensorSpec
from chimera.schemas.tensors import Array
from chimera.workers.verification.comparison import compare
from chimera.workers.verification.tolerances import TOLERANCES

FLOATS = (TensorSpec("y", "FP32", (-1, 4)),)
FP32, INT8 = TOLERANCES["fp32"], TOLERANCES["int8"]


def rows(*values: list[float]) -> Array:
    return np.array(values, "f4")


def reason(expected: Array, found: Array, precision: Precision = "fp32", **fields: bool) -> str:
    return compare(FLOATS, [expected], [found], TOLERANCES[precision], **fields)[1]


PLAIN = rows([0.1, 0.2, 0.3, 0.4], [4, 3, 2, 1])


def test_equal_answers_have_no_errors() -> None:
    errors, why = compare(FLOATS, [PLAIN], [PLAIN.copy()], FP32)
    assert why == ""
    assert errors is not None
    assert (errors.max_abs, errors.max_rel, errors.agreement, errors.mismatches) == (0, 0, 1, 0)
    assert errors.cosine == pytest.approx(1)


def test_errors_are_the_largest_absolute_and_relative() -> None:
    found = PLAIN.copy()
    found[0, 0] += 0.05
    found[1, 0] += 0.5
    errors, _ = compare(FLOATS, [PLAIN], [found], FP32)
    assert errors is not None
    assert errors.max_abs == pytest.approx(0.5)
    assert errors.max_rel == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize(
    ("precision", "error", "passes"),
    [
        ("fp32", 2e-5, True),
        ("fp32", 2e-3, False),
        ("fp16", 2e-3, True),
        ("fp16", 5e-2, False),
        ("bf16", 2e-2, True),
        ("int8", 3e-2, True),
        ("int8", 0.9, False),
    ],
)
def test_tolerance_is_that_of_the_precision(
    precision: Precision, error: float, passes: bool
) -> None:
    found = PLAIN.copy()
    found[1, 3] += np.float32(error)
    assert (reason(PLAIN, found, precision) == "") == passes


def test_reason_names_output_and_extent() -> None:
    found = PLAIN.copy()
    found[0] += 1
    assert reason(PLAIN, found) == "'y': 4 of 8 elements differ, by up to 1"


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("edge", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_special_number_on_one_side_is_never_right(
    special: float, edge: bool, precision: Precision
) -> None:
    other = PLAIN.copy()
    other[1, 1] = special
    assert "NaN or Inf" in reason(PLAIN, other, precision, edge=edge)
    assert "NaN or Inf" in reason(other, PLAIN, precision, edge=edge)
    assert reason(other, other.copy(), precision, edge=edge) == ""


def test_infinities_of_two_signs_differ() -> None:
    above, below = rows([np.inf, 0, 0, 0]), rows([-np.inf, 0, 0, 0])
    assert "NaN or Inf" in reason(above, below)


def test_narrow_precision_off_the_samples_promises_only_special_numbers() -> None:
    other = PLAIN + 1
    assert reason(PLAIN, other, "int8", edge=True) == ""
    assert reason(PLAIN, other, "fp32", edge=True) != ""


def test_large_numbers_are_compared_by_their_size() -> None:
    large = PLAIN * np.float32(1e20)
    assert reason(large, large * np.float32(1 + 1e-6)) == ""
    assert "differ" in reason(large, large * np.float32(1.1))


def test_largest_element_may_be_another_only_where_two_are_as_large() -> None:
    expected = rows([1.0, 1.0 + 1e-6, 0, 0])
    assert reason(expected, rows([1.0 + 1e-6, 1.0, 0, 0])) == ""
    scores = np.tile(rows([0.52, 0.48, 0, 0]), (50, 1))
    swapped = scores.copy()
    swapped[:2] = rows([0.46, 0.51, 0, 0])
    errors, why = compare(FLOATS, [scores], [swapped], INT8)
    assert errors is not None
    assert why == ""  # within int8's tolerance of each other
    swapped[:2] = rows([0.3, 0.7, 0, 0])
    assert why != reason(scores, swapped, "int8")


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ([], "0 outputs instead of 1"),
        ([PLAIN, PLAIN], "2 outputs instead of 1"),
        ([PLAIN[:1]], r"shape \(1, 4\) instead of \(2, 4\)"),
        ([PLAIN.T], "shape"),
        ([PLAIN.astype("i4")], "int32 instead of FP32"),
    ],
)
def test_answers_of_another_form_are_not_compared(found: list[Array], why: str) -> None:
    errors, told = compare(FLOATS, [PLAIN], found, FP32)
    assert errors is None
    assert re.search(why, told)


def test_row_of_large_numbers_excuses_no_other_row() -> None:
    expected = rows([1e6, 1, 2, 3], [0.1, 0.2, 0.3, 0.4], [4, 3, 2, 1])
    assert reason(expected, expected + rows([5, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0])) == ""
    damaged = expected.copy()
    damaged[1, 2] += 0.05  # for the row of millions it is nothing
    assert "1 of 12 elements differ" in reason(expected, damaged)
    damaged[1] = expected[1]
    damaged[2, 3] += 19
    assert "1 of 12 elements differ" in reason(expected, damaged)


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_large_number_excuses_no_other_rows_number(shape: tuple[int, ...]) -> None:
    spec = (TensorSpec("y", "FP32", shape),)
    expected = np.array([1e6, 1.0, 2.0, 30.0, 4.0], "f4").reshape(-1, *shape[1:])
    damaged = expected.copy()
    damaged[3] += 15
    assert "1 of 5 elements differ" in compare(spec, [expected], [damaged], FP32)[1]
    near = expected.copy()
    near[1] += 0.09  # int8: the middle of these is 4
    assert compare(spec, [expected], [near], INT8)[1] == ""
    assert compare(spec, [expected], [near], FP32)[1] != ""


def test_integers_agree_or_not() -> None:
    spec = (TensorSpec("digit", "INT64", (-1,)),)
    expected = np.arange(100)
    found = expected.copy()
    found[:2] = 7
    assert compare(spec, [expected], [found], FP32)[1] == "'digit': 2.0% of 100 elements differ"
    assert compare(spec, [expected], [found], INT8)[1] == ""
    found[:5] = 7
    assert compare(spec, [expected], [found], INT8)[1] != ""


def test_text_agrees_or_not() -> None:
    spec = (TensorSpec("t", "BYTES", (-1,)),)
    expected = np.array(["a", "b"], object)
    assert compare(spec, [expected], [expected.copy()], FP32)[1] == ""
    assert compare(spec, [expected], [np.array(["a", "c"], object)], FP32)[1] != ""


def test_worst_of_several_outputs_is_told() -> None:
    specs = (*FLOATS, TensorSpec("z", "FP32", (-1, 4)))
    errors, why = compare(specs, [PLAIN, PLAIN], [PLAIN, PLAIN + 3], FP32)
    assert errors is not None
    assert errors.max_abs == pytest.approx(3)
    assert why.startswith("'z'")


def test_empty_outputs_are_equal() -> None:
    empty = np.zeros((0, 4), "f4")
    assert reason(empty, empty) == ""


numbers = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=st.floats(width=32)
)


@given(numbers)
def test_any_answer_equals_itself_and_errors_are_finite(array: Array) -> None:
    errors, why = compare(FLOATS, [array], [array.copy()], FP32)
    assert why == ""
    assert errors is not None
    assert errors.max_abs == errors.max_rel == 0


@given(numbers, numbers)
def test_errors_of_any_two_answers_are_finite_numbers(one: Array, other: Array) -> None:
    if one.shape != other.shape:
        return
    errors, _ = compare(FLOATS, [one], [other], FP32)
    assert errors is not None
    assert all(
        np.isfinite(value)
        for value in (errors.max_abs, errors.max_rel, errors.cosine, errors.agreement)
    )
