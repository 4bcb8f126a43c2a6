import json
from typing import Any

import pytest

from chimera.schemas.errors import SchemaInvalid, UnknownModel
from chimera.schemas.inference import Request, decode
from chimera.schemas.manifest import TensorSpec
from chimera.workers import routes
from chimera.workers.repertoire import Repertoire
from chimera.workers.routes import Route, Routes
from tests.workers.fakes import served
from tests.workers.rig import request

TWO = (TensorSpec("a", "FP32", (-1, 2)), TensorSpec("b", "INT64", (-1, -1)))


def asked(*inputs: tuple[str, list[int], str], model: str = "hostile", **fields: Any) -> Request:
    tensors = [
        {"name": name, "shape": shape, "datatype": datatype, "data": [0] * _count(shape)}
        for name, shape, datatype in inputs
    ]
    return decode(json.dumps({"model_name": model, "inputs": tensors, **fields}).encode())


def _count(shape: list[int]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def test_requests_that_look_alike_share_a_route() -> None:
    found = Routes(Repertoire([served()]))
    first, second = (found.find(decode(request((0, at)))) for at in range(2))
    assert isinstance(first, Route)
    assert first is second
    assert (first.rows, first.shape) == (1, ((2,),))


def test_order_of_inputs_does_not_matter() -> None:
    found = Routes(Repertoire([served(inputs=TWO)]))
    a, b = ("a", [3, 2], "FP32"), ("b", [3, 5], "INT64")
    for given in (asked(a, b), asked(b, a)):
        route = found.find(given)
        assert isinstance(route, Route)
        assert (route.rows, route.shape) == (3, ((2,), (5,)))


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ((("a", [1, 2], "FP32"),), "'b' is missing"),
        ((("a", [1, 2], "FP32"), ("b", [1, 1], "INT64"), ("c", [1], "FP32")), "unknown input 'c'"),
        ((("a", [1, 2], "FP64"), ("b", [1, 1], "INT64")), "'a' is FP64"),
        ((("a", [1, 3], "FP32"), ("b", [1, 1], "INT64")), "shape"),
        ((("a", [2], "FP32"), ("b", [1, 1], "INT64")), "shape"),
        ((("a", [1, 2], "FP32"), ("b", [2, 1], "INT64")), "first dimensions"),
        ((("a", [9, 2], "FP32"), ("b", [9, 1], "INT64")), "9 rows"),
        ((("a", [0, 2], "FP32"), ("b", [0, 1], "INT64")), "0 rows"),
    ],
)
def test_request_that_the_model_does_not_take_is_invalid(
    inputs: tuple[tuple[str, list[int], str], ...], reason: str
) -> None:
    found = Routes(Repertoire([served(inputs=TWO, max_batch_size=8)])).find(asked(*inputs))
    assert isinstance(found, SchemaInvalid)
    assert reason in str(found)


def test_versions_are_found_by_name_or_the_highest() -> None:
    found = Routes(Repertoire([served(), served()]))
    given = Repertoire([served()])
    assert given.find("hostile", None).manifest.version == "1"
    assert isinstance(found.find(decode(request((0, 1), model_version="2"))), UnknownModel)
    assert isinstance(found.find(decode(request((0, 1), "other"))), UnknownModel)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "MAX_REMEMBERED", 10)
    found = Routes(Repertoire([served()]))
    for at in range(1000):
        assert isinstance(found.find(decode(request((0, 1), f"m{at}"))), UnknownModel)
        assert len(found._known) <= 10  # pyright: ignore[reportPrivateUsage]
    assert isinstance(found.find(decode(request((0, 1)))), Route)
