import json
import threading
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chimera.schemas.errors import RequestError, SchemaInvalid
from chimera.schemas.inference import Request
from chimera.schemas.request_batches import decode_many
from chimera.schemas.tensors import stack
from tests.schemas.samples import Made, Wire, answer, broken, made, told

DIGITS = np.random.default_rng(7).random((40, 64), dtype="f4")


def request(data: object, shape: Sequence[int] = (1, 64), **fields: object) -> bytes:
    given = {"name": "x", "shape": shape, "datatype": "FP32", "data": data}
    head = {"id": "i", "model_name": "m", "inputs": [given], **fields}
    return json.dumps(head, separators=(",", ":")).encode()


def decoded(wires: Sequence[Wire]) -> list[Request | RequestError]:
    extras = {at: wire.extra for at, wire in enumerate(wires) if wire.extra}
    return decode_many([it.value for it in wires], [it.head for it in wires], extras)


def tensors(values: Sequence[bytes], heads: Sequence[int] | None = None) -> list[Request]:
    found = decode_many(values, heads or [-1] * len(values))
    return [it for it in found if isinstance(it, Request)]


@given(st.lists(made().map(lambda it: it.wire) | broken(), max_size=8))
@settings(max_examples=150)
def test_batch_gives_the_answers_of_its_requests_alone(wires: list[Wire]) -> None:
    assert [told(it) for it in decoded(wires)] == [told(answer(it)) for it in wires]


@given(made(), st.lists(broken(), max_size=3), st.integers(2, 5))
def test_batch_of_repeated_requests_gives_the_same_answers(
    it: Made, between: list[Wire], times: int
) -> None:
    wires = [it.wire, *between] * times
    assert [told(it) for it in decoded(wires)] == [told(answer(it)) for it in wires]


@pytest.mark.parametrize("form", ["flat", "nested", "raw", "id last", "id escaped", "no id"])
def test_batch_of_one_shape_is_stacked_without_a_copy(form: str) -> None:
    heads = [-1] * len(DIGITS)
    match form:
        case "flat":
            values = [request(row.tolist(), id=str(at)) for at, row in enumerate(DIGITS)]
        case "nested":
            values = [request([row.tolist()], id=str(at)) for at, row in enumerate(DIGITS)]
        case "id last":
            values = [
                request(row.tolist()).replace(b'"id":"i",', b"")[:-1] + b',"id":"%d"}' % at
                for at, row in enumerate(DIGITS)
            ]
        case "id escaped":
            values = [request(row.tolist(), id=f'"{at}\n') for at, row in enumerate(DIGITS)]
        case "no id":
            values = [request(row.tolist()).replace(b'"id":"i",', b"") for row in DIGITS]
        case _:
            size = {"binary_data_size": 256}
            given = {"name": "x", "shape": [1, 64], "datatype": "FP32", "parameters": size}
            head = json.dumps({"model_name": "m", "inputs": [given]}).encode()
            values = [head + row.tobytes() for row in DIGITS]
            heads = [len(head)] * len(DIGITS)
    found = [it.inputs["x"] for it in tensors(values, heads)]
    batch = stack(found)
    assert batch.shape == (40, 64)
    assert batch.tobytes() == DIGITS.tobytes()
    assert np.shares_memory(batch, found[7].array)


def test_batch_with_a_bad_request_inside_keeps_its_neighbours_in_one_array() -> None:
    values = [request(row.tolist()) for row in DIGITS]
    values[5] = values[5].replace(b"[0.", b"[true,0.", 1)
    values[9] = request(["0"] * 64)
    values[20] = request([1e39] + [0.0] * 63)
    values[21] = request(DIGITS[21].tolist()[:-1])
    values[22] = request([DIGITS[22].tolist()[:-1], [1.0]])
    found = decode_many(values, [-1] * 40)
    bad = [at for at, it in enumerate(found) if isinstance(it, SchemaInvalid)]
    assert bad == [5, 9, 20, 21, 22]
    rows = [it.inputs["x"] for it in found if isinstance(it, Request)]
    assert stack(rows).tobytes() == np.delete(DIGITS, bad, axis=0).tobytes()
    assert np.shares_memory(stack(rows[-10:]), rows[-1].array)


def test_batch_of_more_than_one_pass_is_one_array() -> None:
    values = [request(row.tolist()) for row in DIGITS] * 8
    found = [it.inputs["x"] for it in tensors(values)]
    assert stack(found).tobytes() == DIGITS.tobytes() * 8
    assert len({id(it.flat) for it in found}) == 1


def test_short_tensor_does_not_borrow_from_a_long_neighbour() -> None:
    rows = [[1.0] * 63, [2.0] * 65, [3.0] * 64]
    found = decode_many([request(row) for row in rows], [-1] * 3)
    assert [type(it) for it in found] == [SchemaInvalid, SchemaInvalid, Request]


def test_batch_of_two_models_and_shapes_keeps_them_apart() -> None:
    values = [
        request([float(at)] * (2 + at % 2), (2 + at % 2,), model_name=f"m{at % 3}")
        for at in range(12)
    ]
    for at, it in enumerate(tensors(values)):
        assert it.model == f"m{at % 3}"
        assert it.inputs["x"].array.tolist() == [float(at)] * (2 + at % 2)


def test_batches_of_two_threads_do_not_meet() -> None:
    def work(fill: float, out: list[bool]) -> None:
        values = [request([fill] * 64) for _ in range(50)]
        for _ in range(20):
            batch = stack([it.inputs["x"] for it in tensors(values)])
            out.append(bool((batch == fill).all()))

    found: list[bool] = []
    threads = [threading.Thread(target=work, args=(float(n), found)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 80


def test_empty_batch_is_empty() -> None:
    assert decode_many([], []) == []
