import json
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.claims import Claim
from chimera.schemas.errors import Malformed, RequestError, SchemaInvalid, TooLarge
from chimera.schemas.inference import Request, decode, settle
from chimera.schemas.request_batches import decode_many
from chimera.schemas.tensors import DATATYPES, layout
from tests.schemas.samples import Made, Vector, Wire, answer, bits, broken, made, told, vectors

FILES = ("json_requests.json", "binary_requests.json", "refused_requests.json")
ALL = [vector for file in FILES for vector in vectors(file)]
ACCEPTED = [it for it in ALL if "expect" in it.case]
REFUSED = [it for it in ALL if "error" in it.case]


def name(vector: Vector) -> str:
    return vector.name


@pytest.mark.parametrize("vector", ACCEPTED, ids=name)
def test_request_of_a_vector_is_decoded(vector: Vector) -> None:
    found = decode(vector.wire.value, vector.wire.head, vector.wire.extra)
    expect: dict[str, Any] = vector.case["expect"]
    assert found.model == expect["model"]
    assert found.version == expect.get("version")
    assert found.id == expect.get("id")
    assert found.binary == expect.get("binary", False)
    assert dict(found.parameters) == expect.get("parameters", {})
    assert [[it.name, it.binary] for it in found.outputs] == expect.get("outputs", [])
    assert set(found.inputs) == set(expect["inputs"])
    for key, wanted in expect["inputs"].items():
        tensor = found.inputs[key]
        dtype = DATATYPES[wanted["datatype"]].dtype
        values = np.array(wanted["data"], dtype).reshape(wanted["shape"])
        if dtype == object:
            values = np.vectorize(str.encode, otypes=[object])(values)
        assert (tensor.name, tensor.datatype) == (key, wanted["datatype"])
        assert tensor.array.dtype == dtype
        assert tensor.array.shape == tuple(wanted["shape"])
        assert bits(tensor.array) == bits(values)


@pytest.mark.parametrize("vector", REFUSED, ids=name)
def test_request_of_a_vector_is_refused(vector: Vector) -> None:
    found = answer(vector.wire)
    assert isinstance(found, RequestError)
    assert found.code == vector.case["error"]
    assert vector.case["names"] in str(found)


@pytest.mark.parametrize("vector", ALL, ids=name)
def test_request_of_a_vector_has_the_same_answer_in_a_batch(vector: Vector) -> None:
    wire = vector.wire
    alone = decode_many([wire.value], [wire.head], {0: wire.extra})
    again = decode_many([wire.value] * 3, [wire.head] * 3, dict.fromkeys(range(3), wire.extra))
    assert [told(it) for it in alone + again] == [told(answer(wire))] * 4


def test_requests_of_all_vectors_keep_their_answers_in_one_batch() -> None:
    wires = [it.wire for it in ALL]
    extras = {at: wire.extra for at, wire in enumerate(wires) if wire.extra}
    found = decode_many([it.value for it in wires], [it.head for it in wires], extras)
    assert [told(it) for it in found] == [told(answer(it)) for it in wires]


@given(made())
def test_request_made_of_tensors_gives_them_back(it: Made) -> None:
    found = decode(it.wire.value, it.wire.head)
    assert set(found.inputs) == set(it.arrays)
    for key, array in it.arrays.items():
        tensor = found.inputs[key]
        assert tensor.datatype == it.datatypes[key]
        assert tensor.array.shape == array.shape
        assert tensor.array.tolist() == array.tolist()


@given(st.binary(max_size=60), st.integers(-1, 70))
def test_request_of_random_bytes_is_refused(value: bytes, head: int) -> None:
    assert isinstance(answer(Wire(value, head)), Malformed | SchemaInvalid)


@given(broken())
def test_request_that_is_broken_gives_a_request_or_a_typed_error(wire: Wire) -> None:
    found = answer(wire)
    assert isinstance(found, Request | Malformed | SchemaInvalid | TooLarge)


_INPUT = b'{"model_name":"m","inputs":[{"name":"x","shape":%b,"datatype":"FP32","data":%b}]}'
BOMBS = {
    "arrays": b"[" * 1_000_000,
    "objects": b'{"a":' * 200_000,
    "data": _INPUT % (b"[1]", b"[" * 400_000 + b"]" * 400_000),
    "many data": _INPUT % (b"[1]", b"[" + b"[]," * 300_000 + b"[]]"),
    "product": _INPUT % (b"[2147483647,500]", b"[1]"),
    "rank": _INPUT % (b"[" + b"1," * 500_000 + b"1]", b"[1]"),
    "digits of a dimension": _INPUT % (b"[" + b"9" * 900_000 + b"]", b"[1]"),
    "digits of a number": _INPUT % (b"[1]", b"[" + b"9" * 900_000 + b"]"),
    "inputs": b'{"model_name":"m","inputs":[' + b"{}," * 300_000 + b"{}]}",
}


@pytest.mark.parametrize("value", BOMBS.values(), ids=BOMBS.keys())
def test_bomb_is_refused_at_once(value: bytes) -> None:
    started = time.perf_counter()
    assert isinstance(answer(Wire(value)), Malformed | SchemaInvalid)
    assert isinstance(decode_many([value], [-1])[0], Malformed | SchemaInvalid)
    assert time.perf_counter() - started < 2.0  # takes 10 ms; a real bomb takes minutes or memory


def test_message_about_a_huge_name_is_short() -> None:
    value = json.dumps(
        {"model_name": "m", "inputs": [{"name": "x" * 9999, "shape": [1], "datatype": "FP99"}]}
    )
    assert len(str(answer(Wire(value.encode())))) < 250


def claimed(size: int, shape: list[int], datatype: str = "FP32") -> bytes:
    given = {
        "name": "x",
        "shape": shape,
        "datatype": datatype,
        "parameters": {"claim_url": "file:///c/x", "claim_sha256": "0" * 64, "claim_size": size},
    }
    return json.dumps({"model_name": "m", "inputs": [given]}).encode()


def test_claim_stands_for_its_input_until_settled() -> None:
    found = decode(claimed(8, [1, 2]))
    assert not found.inputs
    assert found.claims == (Claim("x", layout("FP32", (1, 2)), "file:///c/x", "0" * 64, 8),)
    settled = settle(found, {"x": np.array([1, 2], "<f4").tobytes()})
    assert settled.inputs["x"].array.tolist() == [[1.0, 2.0]]
    assert not settled.claims


def test_claim_of_bytes_that_do_not_fit_is_malformed() -> None:
    found = decode(claimed(5, [1], "BYTES"))
    with pytest.raises(Malformed, match="'x'"):
        settle(found, {"x": b"\2\0\0\0a"})


def test_claim_has_the_same_answer_in_a_batch() -> None:
    value = claimed(8, [2])
    assert told(decode_many([value], [-1])[0]) == told(answer(Wire(value)))
