"""When a candidate's answer says what was served: by all outputs that were asked for, row by row."""

import msgspec
import numpy as np
import pytest

from chimera.schemas import inference, responses
from chimera.schemas.errors import RequestError
from chimera.schemas.manifest import TensorSpec
from chimera.schemas.outcomes import Outcome
from chimera.schemas.responses import Computed, Output
from chimera.schemas.tensors import Array
from chimera.workers.replaying.rule import Rule
from tests.workers.rig import manifest, request

OUTPUTS = (TensorSpec("digit", "INT64", (-1,)), TensorSpec("scores", "FP32", (-1, 3)))
PLAIN = manifest(outputs=OUTPUTS)
LABELLED = manifest(outputs=OUTPUTS, labels=("a", "b", "c"))
OLD = "5" * 64


def answer(tier: str = "onnx-cpu", *, binary: bool = False, **arrays: Array) -> Outcome:
    asked = inference.decode(request([1, 2], "m", parameters={"binary_data_output": binary}))
    kinds = {"i": "INT64", "f": "FP32"}
    made = [Output(name, kinds[array.dtype.kind], array) for name, array in arrays.items()]
    value, head = responses.encode(Computed("m", "1", tuple(made)), asked, "r")
    return Outcome("", value, head, OLD, tier, 1, 100)


def scores(*rows: list[float]) -> Array:
    return np.array(rows, "f4")


def test_raw_and_json_say_the_same() -> None:
    one = answer(scores=scores([0.1, 0.7, 0.2]), digit=np.array([1]))
    other = answer(scores=scores([0.1, 0.7, 0.2]), digit=np.array([1]), binary=True)
    assert Rule(PLAIN).difference(one, other) == ""


def test_scores_with_labels_are_asked_for_the_largest_alone() -> None:
    served, found = answer(scores=scores([0.1, 0.7, 0.2])), answer(scores=scores([0.3, 0.4, 0.3]))
    assert Rule(LABELLED, {OLD: LABELLED}).difference(served, found) == ""
    assert Rule(PLAIN, {OLD: PLAIN}).difference(served, found) == "'scores' differs"
    assert Rule(LABELLED).difference(served, answer(scores=scores([0.8, 0.1, 0.1]))) != ""


def test_labels_of_versions_may_stand_in_another_order() -> None:
    turned = msgspec.structs.replace(LABELLED, labels=("c", "a", "b"))
    served, found = answer(scores=scores([0.9, 0.1, 0.0])), answer(scores=scores([0.0, 0.9, 0.1]))
    assert Rule(turned, {OLD: LABELLED}).difference(served, found) == ""
    assert Rule(turned).difference(served, found) == "'scores' differs"


def test_one_row_of_several_is_named_with_its_output() -> None:
    served = answer(digit=np.array([1, 2, 3]), scores=scores(*[[0.0, 0.0, 1.0]] * 3))
    found = answer(digit=np.array([1, 7, 3]), scores=scores(*[[0.0, 0.0, 1.0]] * 3))
    assert Rule(PLAIN).difference(served, found) == "'digit' differs in 1 of 3 rows"


def test_outputs_that_were_not_asked_for_are_not_missed() -> None:
    served, found = answer(digit=np.array([1])), answer(scores=scores([1]), digit=np.array([1]))
    assert Rule(PLAIN).difference(served, found) == ""
    assert Rule(PLAIN).difference(found, served) == "'scores' differs"


def test_model_without_batches_is_compared_as_one_row() -> None:
    single = manifest(outputs=(TensorSpec("y", "FP32", (-1,)),), max_batch_size=0)
    served, found = answer(y=np.arange(4, dtype="f4")), answer(y=np.arange(4, dtype="f4") + 1)
    assert Rule(single).difference(served, served) == ""
    assert Rule(single).difference(served, found) == "'y' differs"


def test_value_that_is_no_response_is_an_error() -> None:
    with pytest.raises(RequestError):
        Rule(PLAIN).difference(Outcome("", b"{"), answer(digit=np.array([1])))
