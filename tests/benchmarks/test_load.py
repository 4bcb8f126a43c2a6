"""The standard request is what the tables say: 1.3 kB of the Open Inference Protocol."""

import orjson

from benchmarks.load import DISTINCT, Requests
from benchmarks.reader import sequence_number


def test_request_value_is_the_standard_one() -> None:
    value = Requests().value(123)
    decoded = orjson.loads(value)
    (tensor,) = decoded.pop("inputs")
    assert decoded == {"id": "123", "model_name": "digits"}
    assert (tensor["name"], tensor["shape"], tensor["datatype"]) == ("x", [1, 64], "FP32")
    assert len(tensor["data"]) == 64
    assert 1_200 < len(value) < 1_450


def test_requests_repeat_after_all_distinct_tensors_and_not_before() -> None:
    requests = Requests()
    tensors = {orjson.dumps(orjson.loads(requests.value(i))["inputs"]) for i in range(DISTINCT)}
    assert len(tensors) == DISTINCT
    first, again = (orjson.loads(requests.value(i))["inputs"] for i in (0, DISTINCT))
    assert first == again


def test_requests_of_two_processes_are_equal() -> None:
    assert Requests().value(7) == Requests().value(7)


def test_sequence_number_ignores_probes() -> None:
    assert [sequence_number(key) for key in (b"12", b"probe-1", None)] == [12, None, None]
