"""Result records read back as outcomes, and responses as tensors, whoever wrote them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas import inference, outcomes, responses, stored
from chimera.schemas.batches import encode
from chimera.schemas.errors import RequestError
from chimera.schemas.outcomes import DEAD_LETTER, Outcome
from chimera.schemas.responses import Computed, Output, Response
from chimera.schemas.tensors import DATATYPES
from chimera.workers.results import Coordinates, Lot, Tails, Told
from tests.workers.rig import request

ARRAYS = {
    "y": ("FP32", np.array([[1.5, np.nan], [-2.0, 0.1]], "f4")),
    "n": ("INT64", np.array([7, -(2**62)], "i8")),
    "b": ("BOOL", np.array([True, False])),
    "t": ("BYTES", np.array([b"one", "zwei \N{SNOWMAN}".encode()], object)),
}


def response(*, binary: bool) -> Response:
    asked = request([1, 2], "m", parameters={"binary_data_output": binary})
    made = tuple(Output(name, kind, array) for name, (kind, array) in ARRAYS.items())
    return responses.encode(Computed("m", "1", made), inference.decode(asked), "r1")


@pytest.mark.parametrize("binary", [False, True])
def test_outputs_are_what_the_executor_encoded(binary: bool) -> None:
    encoded = response(binary=binary)
    found = outcomes.outputs(encoded.value, encoded.head)
    assert [(one.name, one.datatype) for one in found] == [
        (name, kind) for name, (kind, _) in ARRAYS.items()
    ]
    for one in found:
        np.testing.assert_array_equal(one.array, ARRAYS[one.name][1])


def test_outcome_has_what_its_headers_say() -> None:
    encoded = response(binary=True)
    shared = Tails("m", "d" * 64, "onnx-cpu").batch(Told(8, 1, 250, 400))
    tail = Lot(shared).one(Coordinates("requests", 3), 17, encoded, None)
    (record,) = stored.parse(encode([None], [tail]).sent_by(-1, -1, -1, transactional=False))
    found = outcomes.read(record.value, record.headers)
    assert found == Outcome("", encoded.value, encoded.head, "d" * 64, "onnx-cpu", 8, 250)
    assert outcomes.request_of(record.headers) == ("requests", 3, 17)
    assert outcomes.request_of(record.headers, DEAD_LETTER) is None


def test_header_that_is_no_number_is_refused() -> None:
    with pytest.raises(RequestError, match="chimera-batch-size"):
        outcomes.read(b"", [("chimera-batch-size", b"many")])
    with pytest.raises(RequestError, match="chimera-request-offset"):
        outcomes.request_of([("chimera-request-offset", b"-1"), ("chimera-request-topic", b"t")])


def is_refused_or_whole(value: bytes, head: int) -> bool:
    """An error of ours, or outputs whose arrays are of the datatypes that they name."""
    try:
        found = outcomes.outputs(value, head)
    except RequestError as error:
        return bool(error.code)
    return all(one.array.dtype == DATATYPES[one.datatype].dtype for one in found)


@given(st.binary(max_size=200), st.integers(-1, 250))
def test_value_of_anybody_is_an_error_of_ours_or_outputs(value: bytes, head: int) -> None:
    assert is_refused_or_whole(value, head)


@given(st.data())
def test_response_that_was_changed_is_an_error_of_ours_or_outputs(data: st.DataObject) -> None:
    encoded = response(binary=data.draw(st.booleans()))
    raw = bytearray(encoded.value)
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    assert is_refused_or_whole(bytes(raw), encoded.head)
