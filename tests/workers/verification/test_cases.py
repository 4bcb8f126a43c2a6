"""Inputs to verify on: what is made of samples, for each datatype, at each batch size."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import ModelRefused
from chimera.schemas.manifest import TensorSpec
from chimera.schemas.tensors import DATATYPES, Array
from chimera.workers.verification.cases import cases, poisoned_row, sizes
from tests.workers.rig import manifest

SAMPLES: dict[str, Array] = {"x": np.array([[1, -2], [3, 4], [0.5, 0]], "f4")}


def found(name: str, rows: int, **fields: Any) -> list[Array]:
    every = cases(manifest(**fields), fields.get("given", SAMPLES), (rows,))
    return [array for case in every if case.name == name for array in case.inputs]


@given(st.integers(1, 5_000), st.lists(st.integers(1, 5_000), max_size=4))
def test_sizes_are_one_the_largest_all_measured_and_one_that_is_no_bucket(
    largest: int, measured: list[int]
) -> None:
    rows = sizes(largest, measured)
    assert {1, largest} <= set(rows)
    assert {one for one in measured if one <= largest} <= set(rows)
    assert all(1 <= one <= largest for one in rows)
    assert list(rows) == sorted(set(rows))
    if largest > 50:
        assert set(rows) - {1, largest, largest // 2, *measured}


def test_samples_fill_a_batch_over_and_over() -> None:
    (x,) = found("samples", 5)
    assert x.tolist() == [[1, -2], [3, 4], [0.5, 0], [1, -2], [3, 4]]


def test_edges_of_floats() -> None:
    assert not found("zeros", 2)[0].any()
    (large,) = found("large", 2)
    assert large.max() == 64
    (tiny,) = found("denormal", 2)
    assert 0 < np.abs(tiny).max() < np.finfo(np.float32).tiny
    (spoilt,) = found("nan", 3)
    assert np.isnan(spoilt).all(1).tolist() == [False, True, False]
    assert poisoned_row(3) == 1


def test_large_fits_the_datatype() -> None:
    spec = TensorSpec("x", "FP16", (-1, 2))
    samples: dict[str, Array] = {"x": np.array([[60_000, 1]], "f2")}
    every = cases(manifest(inputs=(spec,)), samples, (1,))
    assert all(np.isfinite(case.inputs[0]).all() for case in every if case.name != "nan")


def test_edges_of_integers_are_within_the_samples() -> None:
    spec = TensorSpec("x", "INT64", (-1, 2))
    samples: dict[str, Array] = {"x": np.array([[7, 3], [11, 5]])}
    every = cases(manifest(inputs=(spec,)), samples, (1, 4))
    assert {case.name for case in every} == {"samples", "lowest", "highest"}
    for case in every:
        assert case.inputs[0].min() >= 3
        assert case.inputs[0].max() <= 11
    assert [c.inputs[0].tolist() for c in every if (c.name, c.rows) == ("highest", 1)] == [
        [[11, 11]]
    ]


@pytest.mark.parametrize("datatype", list(DATATYPES))
def test_without_samples_there_are_inputs_of_every_datatype(datatype: str) -> None:
    spec = TensorSpec("x", datatype, (-1, 3, -1))
    every = cases(manifest(inputs=(spec,)), {}, (1, 4))
    assert {case.rows for case in every} == {1, 4}
    for case in every:
        (array,) = case.inputs
        assert array.shape == (case.rows, 3, 1)
        assert array.dtype == DATATYPES[datatype].dtype


def test_model_without_batches_gets_its_samples_as_they_are() -> None:
    specs: dict[str, Any] = {
        "inputs": (TensorSpec("x", "FP32", (3, 2)),),
        "outputs": (TensorSpec("y", "FP32", (3,)),),
    }
    every = cases(manifest(**specs), SAMPLES, (1, 32))
    assert {case.inputs[0].shape for case in every} == {(3, 2)}
    assert len(every) == 5


def test_same_samples_always_give_the_same_cases() -> None:
    for samples in (SAMPLES, {}):
        one, other = (cases(manifest(), samples, (1, 5)) for _ in range(2))
        for a, b in zip(one, other, strict=True):
            assert np.array_equal(a.inputs[0], b.inputs[0], equal_nan=True)


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        ({"z": SAMPLES["x"]}, "inputs"),
        ({**SAMPLES, "z": SAMPLES["x"]}, "inputs"),
        ({"x": SAMPLES["x"].astype("f8")}, "float64"),
        ({"x": SAMPLES["x"][:, :1]}, "shape"),
        ({"x": SAMPLES["x"][0]}, "shape"),
        ({"x": SAMPLES["x"][:0]}, "shape"),
    ],
)
def test_samples_that_are_no_inputs_are_refused(samples: dict[str, Array], reason: str) -> None:
    with pytest.raises(ModelRefused, match=reason):
        cases(manifest(), samples, (1,))
