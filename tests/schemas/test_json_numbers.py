import json
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chimera.schemas.errors import Malformed, SchemaInvalid
from chimera.schemas.json_numbers import CHUNK_BYTES, NumberReader, is_flat, is_nested, read_json
from chimera.schemas.tensors import Array, Layout, layout
from tests.schemas.samples import FLOATS, INTEGERS, bits

NUMBERS = [*INTEGERS, *FLOATS]

literals = st.one_of(
    st.integers(-300, 300).map(str),
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(lambda it: json.dumps(it)),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(["true", "null", '"1"', "{}", "-0", "-0.0", "5e-324", "1e-400", "65519.99"]),
)
parts = st.lists(literals, min_size=1, max_size=4).map(lambda them: f"[{', '.join(them)}]".encode())


def exactly(wanted: Layout, data: bytes) -> Array | None:
    try:
        return read_json(wanted, data)
    except (SchemaInvalid, Malformed):
        return None


@given(st.sampled_from(NUMBERS), st.lists(parts, min_size=1, max_size=5), st.integers(1, 4))
@example("FP64", [b"[9007199254740993, 1.00000000000000011102230246251565]"], 2)
@example("FP32", [b"[16777217, 3.4028235677973366e38]"], 2)
@settings(max_examples=500)
def test_batch_of_numbers_is_read_as_each_alone(
    datatype: str, data: list[bytes], count: int
) -> None:
    wanted = layout(datatype, (count,))
    flat, refused = NumberReader().read(wanted, False, data)
    rows = flat.reshape(len(data), count)
    for at, one in enumerate(data):
        exact = exactly(wanted, one)
        if at not in refused:
            assert exact is not None and bits(rows[at]) == bits(exact)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=9))
def test_batch_of_floats_refuses_none(values: list[float]) -> None:
    data = [json.dumps([value]).encode() for value in values]
    flat, refused = NumberReader().read(layout("FP32", (1,)), False, data)
    assert not refused
    assert flat.tolist() == values


def test_batch_names_its_bad_ones_wherever_they_stand() -> None:
    data = [b"[%d]" % at for at in range(50_000)]
    bad = {0: b'["a"]', 7: b"[1,2]", 8: b"[ ]", 30_000: b"[1e999]", 49_999: b"[true]"}
    for at, one in bad.items():
        data[at] = one
    assert sum(map(len, data)) > 3 * CHUNK_BYTES
    flat, refused = NumberReader().read(layout("INT32", (1,)), False, data)
    assert set(refused) == set(bad)
    assert all(flat[at] == at for at in range(50_000) if at not in bad)


@pytest.mark.parametrize(
    ("data", "shape", "expected"),
    [
        (b"[[1,2],[3,4]]", (2, 2), True),
        (b" [ [ 1.5e+3 , -2 ] , [3,4] ] ", (2, 2), True),
        (b"[[[1],[2]]]", (1, 2, 1), True),
        (b"[[1,2,3],[4]]", (2, 2), False),
        (b"[1,2,3,4]", (2, 2), False),
        (b'[[1,2],[3,"4"]]', (2, 2), False),
        (b"[[true,2],[3,4]]", (2, 2), False),
        (b"[1]", (1,), False),
        (b"[]", (0,), False),
    ],
)
def test_nested_data_are_known_by_their_outline(
    data: bytes, shape: tuple[int, ...], expected: bool
) -> None:
    assert is_nested(layout("FP32", shape), data) == expected


def test_flat_data_are_known_by_their_brackets() -> None:
    assert is_flat(b"[1,2]") and is_flat(b"[]")
    assert not any(map(is_flat, [b"[[1]]", b"1", b"{}", b"", b'"[1]"', b"null"]))


@pytest.mark.parametrize("datatype", ["FP16", "FP32"])
def test_floats_in_json_round_to_nearest_even(datatype: str) -> None:
    dtype = layout(datatype, ()).datatype.dtype
    low = np.array([1.0], dtype)
    high = np.nextafter(low, np.array([2.0], dtype))
    middle = math.fsum([float(low[0]), float(high[0])]) / 2
    data = json.dumps([middle, middle * 1.000000001]).encode()
    assert read_json(layout(datatype, (2,)), data).tolist() == [float(low[0]), float(high[0])]
