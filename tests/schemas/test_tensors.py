import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import Malformed, RequestError, SchemaInvalid
from chimera.schemas.tensors import (
    DATATYPES,
    MAX_EMPTY_ROWS,
    Tensor,
    layout,
    quoted,
    read_binary,
    shown,
    stack,
    to_raw,
)
from tests.schemas.samples import arrays, bits, shapes


@given(st.data(), st.sampled_from(sorted(DATATYPES)), shapes)
def test_raw_form_of_every_datatype_reads_back(
    data: st.DataObject, datatype: str, shape: tuple[int, ...]
) -> None:
    array = data.draw(arrays(datatype, shape))
    raw = to_raw(DATATYPES[datatype], array)
    found = read_binary(layout(datatype, shape), raw)
    assert found.dtype == DATATYPES[datatype].dtype
    assert bits(found) == bits(array.reshape(-1))
    if datatype != "BYTES":
        assert len(raw) == layout(datatype, shape).size_bytes


@given(st.sampled_from(sorted(DATATYPES)), shapes, st.binary(max_size=40))
def test_raw_form_of_any_bytes_is_a_tensor_or_a_typed_error(
    datatype: str, shape: tuple[int, ...], raw: bytes
) -> None:
    try:
        found = read_binary(layout(datatype, shape), raw)
    except RequestError as error:
        assert isinstance(error, Malformed | SchemaInvalid)
    else:
        assert found.size == layout(datatype, shape).count
        kept = DATATYPES[datatype].kind != "float" or not np.isnan(found.astype("<f8")).any()
        if kept:  # a NaN is one of many, and need not keep its bits
            assert to_raw(DATATYPES[datatype], found) == raw


@pytest.mark.parametrize(
    ("number", "bits"),
    [
        (1.0, 0x3F80),
        (1.00390625, 0x3F80),  # half way: to even
        (1.01171875, 0x3F82),  # half way: to even
        (1.0040, 0x3F81),
        (3.4e38, 0x7F80),  # over the largest BF16: infinity
        (float("inf"), 0x7F80),
        (float("-inf"), 0xFF80),
        (-0.0, 0x8000),
        (1e-45, 0x0000),
    ],
)
def test_bf16_is_rounded_to_nearest_even(number: float, bits: int) -> None:
    raw = to_raw(DATATYPES["BF16"], np.array([number], "<f4"))
    assert raw == bits.to_bytes(2, "little")


def test_bf16_keeps_a_nan() -> None:
    quiet = np.array([0x7F800001, 0xFFFFFFFF], "<u4").view("<f4")
    raw = to_raw(DATATYPES["BF16"], quiet)
    assert np.isnan(read_binary(layout("BF16", (2,)), raw)).all()


def test_bytes_of_text_are_utf8() -> None:
    text = to_raw(DATATYPES["BYTES"], np.array([["ü", b"\0"]], object))
    assert text == b"\2\0\0\0\xc3\xbc\1\0\0\0\0"


@pytest.mark.parametrize(
    "shape",
    [(-1,), (2**31,), (2**31 - 1,) * 3, (1,) * 33, (0, MAX_EMPTY_ROWS + 1), (10**400, 0)],
)
def test_shape_out_of_bounds_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(SchemaInvalid, match="shape") as caught:
        layout("FP32", shape)
    assert len(str(caught.value)) < 200


def tensor(flat: list[float], shape: tuple[int, ...], start: int = 0) -> Tensor:
    stop = start + int(np.prod(shape, dtype=int))
    return Tensor("x", "FP32", shape, np.array(flat, "<f4"), start, stop)


def test_tensors_of_one_array_are_stacked_without_a_copy() -> None:
    flat = np.arange(12, dtype="<f4")
    rows = [(0, 4), (4, 8), (8, 12)]
    found = [Tensor("x", "FP32", (2, 2), flat, *row) for row in rows]
    batch = stack(found)
    assert batch.shape == (6, 2)
    assert np.shares_memory(batch, flat)
    assert stack(found[1:]).tolist() == [[4, 5], [6, 7], [8, 9], [10, 11]]


def test_tensors_apart_in_one_array_are_stacked_by_copy() -> None:
    flat = np.arange(12, dtype="<f4")
    found = [Tensor("x", "FP32", (1, 4), flat, *row) for row in [(8, 12), (0, 4)]]
    assert stack(found).tolist() == [[8, 9, 10, 11], [0, 1, 2, 3]]


def test_tensors_of_several_arrays_and_rows_are_stacked() -> None:
    found = [tensor([1, 2], (1, 2)), tensor([3, 4, 5, 6], (2, 2)), tensor([], (0, 2))]
    assert stack(found).tolist() == [[1, 2], [3, 4], [5, 6]]


def test_tensors_of_no_elements_are_stacked() -> None:
    flat = np.empty(0, "<f4")
    found = [Tensor("x", "FP32", (2, 0), flat, 0, 0) for _ in range(3)]
    assert stack(found).shape == (6, 0)


def test_tensors_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ValueError, match="dimensions"):
        stack([tensor([1, 2], (1, 2)), tensor([1, 2, 3], (1, 3))])
    flat = np.arange(8, dtype="<f4")
    with pytest.raises(ValueError, match="dimensions"):
        stack([Tensor("x", "FP32", (1, 4), flat, 0, 4), Tensor("x", "FP32", (2, 2), flat, 4, 8)])


def test_text_for_messages_is_short() -> None:
    assert quoted("a'\n") == '"a\'\\n"'
    assert len(quoted("é" * 1_000)) == 66
    assert shown((1, 2)) == "[1,2]"
    assert shown(tuple(range(20))) == "[0,1,2,3,4,5,6,7,...]"
    assert shown((10**500,)) == "[...]"
