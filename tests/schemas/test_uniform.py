"""Requests read as columns are what `decode_many` makes of them, or are not read so at all."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chimera.schemas import uniform
from chimera.schemas.inference import Request
from chimera.schemas.request_batches import decode_many
from tests.schemas.samples import told
from tests.schemas.test_request_templates import HEADS, IDS, TOKENS


def request(at: int, **fields: object) -> bytes:
    row = [float(np.float32(at / 7 + number)) for number in range(4)]
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": row}
    return json.dumps({"id": f"r{at}", "model_name": "m", "inputs": [tensor], **fields}).encode()


@given(
    st.sampled_from(HEADS),
    st.lists(
        st.tuples(
            st.sampled_from(IDS) | st.text(max_size=4),
            st.just("1,2,3") | st.lists(st.sampled_from(TOKENS), max_size=6).map("".join),
        ),
        min_size=1,
        max_size=4,
    ),
)
@settings(max_examples=600)
def test_columns_are_what_the_requests_say(head: str, filled: list[tuple[str, str]]) -> None:
    values = [(head % pair).encode("utf-8", "surrogatepass") for pair in filled]
    found = uniform.read(values)
    if found is not None:
        alone = decode_many(values, [-1] * len(values))
        assert [told(one) for one in found] == [told(one) for one in alone]
        assert [found[at].id for at in range(len(found))] == [one.id for one in found]


def test_requests_of_one_producer_are_uniform() -> None:
    values = [request(at) for at in range(50)]
    found = uniform.read(values)
    assert found is not None and found.is_plain
    assert found.rows.shape == (50, 4)
    assert found.ids[7] == b"r7"
    alone = decode_many(values, [-1] * 50)
    assert [told(one) for one in found] == [told(one) for one in alone]
    part = found[10:20]
    assert [told(one) for one in part] == [told(one) for one in alone[10:20]]
    assert np.array_equal(part.rows, found.rows[10:20])
    wanted = [1, 4, 49]
    taken = found.take(np.array(wanted))
    assert [told(one) for one in taken] == [told(alone[at]) for at in wanted]
    assert np.array_equal(taken.rows, found.rows[wanted])


@pytest.mark.parametrize(
    "other",
    [
        request(9, model_name="n"),
        request(9, id='a"b'),
        request(9, id="\\"),
        request(9).replace(b"[1, 4]", b"[1,4]"),
        request(9).replace(b"]}]}", b",1.0]}]}"),
        request(9).replace(b"]}]}", b"]}]} "),
        request(9).replace(b": [", b": [[", 1),
        request(9)[:-1],
        b"{no json",
        b"",
        b"\xff" + request(9),
    ],
)
def test_one_that_is_different_makes_them_not_uniform(other: bytes) -> None:
    values = [*(request(at) for at in range(8)), other]
    assert uniform.read(values[:-1]) is not None
    assert uniform.read(values) is None
    assert uniform.read([other, *values[:-1]]) is None


def test_requests_that_choose_outputs_are_not_plain() -> None:
    values = [request(at, outputs=[{"name": "y"}]) for at in range(3)]
    found = uniform.read(values)
    assert found is not None and not found.is_plain
    assert all(isinstance(one, Request) and one.outputs for one in found)


def of(datatype: str, data: str) -> bytes:
    head = '{"id":"a","model_name":"m","inputs":[{"name":"x","shape":[1,3],"datatype":"%s","data":[%s]}]}'
    return (head % (datatype, data)).encode()


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("FP32", "1,2,3"),
        ("FP32", "-0.0,1e30,3"),
        ("FP64", " 1.5 , 2 ,3e-300"),
        ("INT8", "1,-128,127"),
        ("UINT64", "18446744073709551615,0,1"),
        ("INT64", "-9223372036854775808,0,1"),
    ],
)
def test_numbers_of_every_kind_are_read_as_alone(datatype: str, data: str) -> None:
    values = [of(datatype, data)] * 3
    found = uniform.read(values)
    assert found is not None
    assert [told(one) for one in found] == [told(one) for one in decode_many(values, [-1] * 3)]


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("FP32", "1e400,1,2"),
        ("FP32", "1e39,1,2"),
        ("FP32", "NaN,1,2"),
        ("FP32", "1,2"),
        ("FP32", '1,2,"3"'),
        ("FP32", "1,2,true"),
        ("INT8", "128,1,2"),
        ("INT8", "1.5,1,2"),
        ("UINT64", "18446744073709551616,0,1"),
        ("UINT8", "-1,0,1"),
    ],
)
def test_numbers_that_do_not_fit_are_left_to_others(datatype: str, data: str) -> None:
    assert uniform.read([of(datatype, "1,2,3")] * 2) is not None
    assert uniform.read([of(datatype, "1,2,3"), of(datatype, data)]) is None
