import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chimera.schemas.errors import (
    REQUEST_ERRORS,
    ModelFailed,
    RequestError,
    SchemaInvalid,
    TooLarge,
)
from chimera.schemas.inference import Request
from chimera.schemas.request_heads import OutputChoice
from chimera.schemas.responses import (
    Computed,
    Output,
    Response,
    encode,
    encode_error,
    encode_many,
)
from chimera.schemas.tensors import DATATYPES, Array, layout, read_binary
from tests.schemas.samples import JSON_TYPES, arrays, bits

Y = Output("y", "FP32", np.arange(6, dtype="<f4").reshape(3, 2) / 3)
LABEL = Output("label", "BYTES", np.array([["a"], ["ü"], ["\0"]], object))
SCORE = Output("score", "BF16", np.array([1.0, 2.0, 3.0], "<f4"))
COMPUTED = Computed("m", "7", (Y, LABEL, SCORE))


def asking(*outputs: tuple[str, bool], binary: bool = False) -> Request:
    choices = tuple(OutputChoice(*output) for output in outputs)
    return Request("m", None, None, {}, choices, binary)


def read(response: Response) -> tuple[dict[str, Any], dict[str, Array]]:
    """Head and tensors of a response, by a reader of its own."""
    value, at = response.value, response.head if response.head >= 0 else len(response.value)
    head = json.loads(value[:at])
    tensors: dict[str, Array] = {}
    for output in head["outputs"]:
        wanted = layout(output["datatype"], tuple(output["shape"]))
        if "parameters" in output:
            assert "data" not in output
            size = output["parameters"]["binary_data_size"]
            flat = read_binary(wanted, value[at : at + size])
            at += size
        else:
            data = output["data"]
            if output["datatype"] == "BYTES":
                data = [text.encode() for text in data]
            flat = np.empty(len(data), wanted.datatype.dtype)
            flat[:] = data
        tensors[output["name"]] = flat.reshape(wanted.shape)
    assert at == len(value)
    return head, tensors


def test_response_stands_as_the_protocol_says() -> None:
    value = (
        b'{"model_name":"m","model_version":"7","id":"id-1","outputs":[{"name":"y",'
        b'"datatype":"FP32","shape":[3,2],'
        b'"data":[0.0,0.33333334,0.6666667,1.0,1.3333334,1.6666666]}]}'
    )
    assert encode(Computed("m", "7", (Y,)), asking(), "id-1") == (value, -1)


def test_response_with_binary_data_names_its_head() -> None:
    head = (
        b'{"model_name":"m","model_version":"7","id":"i","outputs":[{"name":"y",'
        b'"datatype":"FP32","shape":[3,2],"parameters":{"binary_data_size":24}}]}'
    )
    response = encode(Computed("m", "7", (Y,)), asking(binary=True), "i")
    assert response == (head + Y.array.tobytes(), len(head))


@st.composite
def batches(draw: st.DrawFn) -> tuple[Computed, list[Request], list[str], list[int]]:
    rows = draw(st.lists(st.integers(0, 3), max_size=5))
    outputs: list[Output] = []
    for at in range(draw(st.integers(1, 3))):
        datatype = draw(st.sampled_from(JSON_TYPES))
        shape = (sum(rows), *draw(st.lists(st.integers(0, 3), max_size=2)))
        outputs.append(Output(f'o"{at}', datatype, draw(arrays(datatype, shape))))
    names = [output.name for output in outputs]
    asked = st.lists(st.tuples(st.sampled_from(names), st.booleans()), unique_by=lambda it: it[0])
    requests = [asking(*draw(asked), binary=draw(st.booleans())) for _ in rows]
    ids = [draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=4)) for _ in rows]
    parameters = draw(st.dictionaries(st.text("ab"), st.integers(-9, 9) | st.booleans()))
    return Computed("m", "ü", tuple(outputs), parameters), requests, ids, rows


@given(batches())
@settings(max_examples=200)
def test_batch_reads_back_as_computed(
    batch: tuple[Computed, list[Request], list[str], list[int]],
) -> None:
    computed, requests, ids, rows = batch
    found = encode_many(computed, requests, ids, rows)
    start = 0
    arrays = {output.name: output.array for output in computed.outputs}
    for response, request, id_, count in zip(found, requests, ids, rows, strict=True):
        assert isinstance(response, Response)
        head, tensors = read(response)
        assert (head["model_name"], head["model_version"], head["id"]) == ("m", "ü", id_)
        assert head.get("parameters", {}) == computed.parameters
        choices = request.outputs or [OutputChoice(name, request.binary) for name in arrays]
        assert [output["name"] for output in head["outputs"]] == [it.name for it in choices]
        for output, choice in zip(head["outputs"], choices, strict=True):
            assert ("parameters" in output) == choice.binary
            own = arrays[choice.name][start : start + count]
            assert tensors[choice.name].shape == own.shape
            assert bits(tensors[choice.name]) == bits(own)
        start += count


@given(batches())
def test_request_alone_gets_what_a_batch_of_one_gives(
    batch: tuple[Computed, list[Request], list[str], list[int]],
) -> None:
    computed, requests, ids, rows = batch
    if requests:
        alone = encode(computed, requests[0], ids[0])
        assert encode_many(computed, requests[:1], ids[:1], [sum(rows)]) == [alone]


def test_request_alone_may_have_outputs_without_a_batch_dimension() -> None:
    outputs = (Output("s", "FP64", np.array(1.5)), Output("b", "BOOL", np.array([True, False])))
    head, tensors = read(encode(Computed("m", "1", outputs), asking(), "i"))
    assert [output["shape"] for output in head["outputs"]] == [[], [2]]
    assert tensors["s"].tolist() == 1.5


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=50))
def test_fp32_in_json_reads_back_to_the_same_bits(words: list[int]) -> None:
    values = np.array(words, "<u4").view("<f4")
    values = values[np.isfinite(values)]
    _, tensors = read(encode(Computed("m", "1", (Output("y", "FP32", values),)), asking(), "i"))
    assert tensors["y"].tobytes() == values.tobytes()


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
def test_number_that_json_has_not_becomes_null_and_stays_in_binary(datatype: str) -> None:
    values = np.array([1.0, np.nan, np.inf, -np.inf], DATATYPES[datatype].dtype)
    computed = Computed("m", "1", (Output("y", datatype, values),))
    text = json.loads(encode(computed, asking(), "i").value)
    assert text["outputs"][0]["data"] == [1.0, None, None, None]
    _, tensors = read(encode(computed, asking(binary=True), "i"))
    assert tensors["y"].tobytes() == values.tobytes()


def test_outputs_of_a_model_may_be_any_memory_order_and_strings() -> None:
    array = np.arange(6, dtype="<i8").reshape(2, 3).T
    words = np.array(["a", "bc", "d"])
    computed = Computed("m", "1", (Output("y", "INT64", array), Output("w", "BYTES", words)))
    for binary in (False, True):
        found = encode_many(computed, [asking(binary=binary)] * 3, ["a", "b", "c"], [1, 1, 1])
        rows = [read(it)[1] for it in found if isinstance(it, Response)]
        assert [row["y"].tolist() for row in rows] == [[[0, 3]], [[1, 4]], [[2, 5]]]
        assert [row["w"].tolist() for row in rows] == [[b"a"], [b"bc"], [b"d"]]


def refusals(requests: list[Request], **limits: int) -> list[type[RequestError] | None]:
    names = [str(at) for at in range(len(requests))]
    found = encode_many(COMPUTED, requests, names, [1] * len(requests), **limits)
    return [type(it) if isinstance(it, RequestError) else None for it in found]


def test_output_that_there_is_not_is_refused_to_its_request_only() -> None:
    requests = [asking(("y", False)), asking(("z", False)), asking(("y", True))]
    assert refusals(requests) == [None, SchemaInvalid, None]
    with pytest.raises(SchemaInvalid, match="'z'"):
        encode(COMPUTED, requests[1], "i")


def test_output_without_json_form_is_refused_unless_binary() -> None:
    requests = [asking(), asking(binary=True), asking(("score", False))]
    assert refusals(requests) == [SchemaInvalid, None, SchemaInvalid]
    with pytest.raises(SchemaInvalid, match="'score'"):
        encode(COMPUTED, requests[2], "i")


def test_bytes_that_are_no_text_are_refused_to_their_request_only() -> None:
    output = Output("y", "BYTES", np.array([b"a", b"\xff", b"c", b"\xff"], object))
    computed = Computed("m", "1", (output,))
    requests = [asking(), asking(), asking(), asking(binary=True)]
    found = encode_many(computed, requests, ["a", "b", "c", "d"], [1, 1, 1, 1])
    assert [isinstance(it, Response) for it in found] == [True, False, True, True]
    assert isinstance(found[1], SchemaInvalid)
    assert read(found[3])[1]["y"].tolist() == [b"\xff"]  # type: ignore[arg-type]


@pytest.mark.parametrize("array", [np.zeros((2, 2), "<f4"), np.float32(1)])
def test_output_with_other_rows_than_the_batch_is_the_models_fault(array: Array) -> None:
    computed = Computed("m", "1", (Output("y", "FP32", np.asarray(array)),))
    found = encode_many(computed, [asking()] * 3, ["a", "b", "c"], [1, 1, 1])
    assert [type(it) for it in found] == [ModelFailed] * 3
    assert "'y'" in str(found[0])


def test_response_over_the_limit_is_too_large() -> None:
    requests = [asking(("y", False)), asking(("label", False)), asking(("y", True))]
    sizes = [len(encode_many(COMPUTED, [it], ["0"], [3])[0].value) for it in requests]  # type: ignore[union-attr]
    largest = max(sizes)
    for limit in (largest - 1, largest):
        found = encode_many(
            COMPUTED, [requests[sizes.index(largest)]], ["0"], [3], limit_bytes=limit
        )
        assert isinstance(found[0], TooLarge) == (limit < largest)


@pytest.mark.parametrize("error", REQUEST_ERRORS)
def test_error_has_the_outcomes_form(error: type[RequestError]) -> None:
    assert json.loads(encode_error("m", 'a"b', error("no\n"))) == {
        "model_name": "m",
        "id": 'a"b',
        "error": "no\n",
        "parameters": {"code": error.code},
    }


def test_error_of_an_unreadable_request_has_an_empty_model() -> None:
    assert json.loads(encode_error("", "t:0:1", SchemaInvalid("no")))["model_name"] == ""
