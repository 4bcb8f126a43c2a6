"""Headers of safetensors files: what passes here, the library reads the same way."""

import io
import json
import struct
from typing import Any

import numpy as np
import pytest
import safetensors
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.numpy import save

from chimera.schemas.errors import ModelRefused
from chimera.workers.inspection.weights import ITEM_BYTES, Tensor, read_header

deserialize: Any = vars(safetensors)["deserialize"]  # ships no type information
DTYPES = {"F32": "<f4", "F16": "<f2", "I64": "<i8", "U8": "u1", "BOOL": "?", "F64": "<f8"}


def read(raw: bytes) -> dict[str, Tensor]:
    tensors, known = read_header(io.BytesIO(raw), len(raw), "w", 100)
    assert raw.startswith(known)
    return tensors


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=10).filter(lambda name: name != "__metadata__"),
        st.tuples(
            st.sampled_from(sorted(DTYPES)), st.lists(st.integers(0, 4), max_size=4).map(tuple)
        ),
        max_size=5,
    ),
    # no empty metadata: with those the library (0.8.0) writes what it cannot read
    st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=5), min_size=1, max_size=2),
)
def test_what_the_library_writes_passes(
    wanted: dict[str, tuple[str, tuple[int, ...]]], metadata: dict[str, str] | None
) -> None:
    arrays = {name: np.zeros(shape, DTYPES[dtype]) for name, (dtype, shape) in wanted.items()}
    raw = save(arrays, metadata)
    tensors = read(raw)
    assert {name: (one.dtype, one.shape) for name, one in tensors.items()} == wanted
    assert agrees(raw)


VALID = save({"a": np.arange(6, dtype="f4").reshape(2, 3), "b": np.ones(3, "i8")}, {"by": "us"})


@given(st.data())
def test_damaged_file_is_refused_or_read_as_the_library_does(data: st.DataObject) -> None:
    raw = bytearray(VALID)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        if not raw:
            return
    assert agrees(bytes(raw))


SIZES = st.integers(-2, 12) | st.sampled_from([2**31, 2**63, 2**64 - 1, 2**64, 1.0, True, None])
ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from([*ITEM_BYTES, "F8_E8M0", "F4", "C64", "object", "f32", ""]),
        "shape": st.lists(SIZES, max_size=3),
        "data_offsets": st.lists(SIZES, min_size=1, max_size=3),
    },
    optional={"more": st.none()},
)


@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c", "__metadata__", "", "\0", "\ud800"]), ENTRY, max_size=3
    ),
    st.integers(0, 16),
    st.sampled_from([0, 0, 0, 1, -1, 2**32, 2**63]),
)
@example({}, 0, 0)
def test_any_header_is_refused_or_read_as_the_library_does(
    header: dict[str, Any], data_bytes: int, off: int
) -> None:
    raw = json.dumps(header).encode()
    assert agrees(struct.pack("<Q", max(0, len(raw) + off)) + raw + b"\0" * data_bytes)


@given(st.binary(max_size=100))
def test_any_bytes_are_refused_or_read_as_the_library_does(raw: bytes) -> None:
    assert agrees(raw)
    assert agrees(struct.pack("<Q", len(raw)) + raw)


@given(
    st.lists(
        st.sampled_from(
            [
                *(b"{", b"}", b"[", b"]", b":", b",", b'"a"', b'"dtype"', b'"shape"', b'"F32"'),
                *(b'"data_offsets"', b"0", b"4", b"-0", b"1e0", b"01", b" ", b"\n", b"null"),
                *(b'"\\u0061"', b"NaN", b"\xff", b"\x00", b'"__metadata__"'),
            ]
        ),
        max_size=30,
    )
)
def test_any_tokens_are_refused_or_read_as_the_library_does(tokens: list[bytes]) -> None:
    header = b"{" + b"".join(tokens)
    assert agrees(struct.pack("<Q", len(header)) + header + b"\0" * 4)


@pytest.mark.parametrize("zero", ["-0", "0.0", "0e0", "00", "+0", "0_0", "0x0", "٠"])
def test_number_that_python_might_read_and_json_does_not_have_is_refused(zero: str) -> None:
    header = f'{{"a":{{"dtype":"U8","shape":[4],"data_offsets":[{zero},4]}}}}'
    raw = struct.pack("<Q", len(header.encode())) + header.encode() + b"\0" * 4
    with pytest.raises(ModelRefused):
        read(raw)


def test_name_twice_is_refused_though_the_library_takes_the_last() -> None:
    entry = '"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}'
    header = f"{{{entry},{entry}}}".encode()
    raw = struct.pack("<Q", len(header)) + header + b"\0" * 4
    assert len(deserialize(raw)) == 1
    with pytest.raises(ModelRefused, match="'a' twice"):
        read(raw)


def test_tensors_without_bytes_may_stand_anywhere() -> None:
    raw = save({"a": np.zeros((0, 5), "f4"), "b": np.zeros(2, "f4"), "c": np.zeros((5, 0), "i8")})
    assert read(raw).keys() == {"a", "b", "c"}


def agrees(raw: bytes) -> bool:
    """Whether these bytes are refused with a reason, or read as the library reads them."""
    try:
        tensors, known = read_header(io.BytesIO(raw), len(raw), "w", 100)
    except ModelRefused as error:
        return str(error).startswith("w: ")
    found = {
        name: (one["dtype"], tuple(one["shape"]), bytes(one["data"]))
        for name, one in deserialize(raw)
    }
    return raw.startswith(known) and found == {
        name: (one.dtype, one.shape, raw[len(known) + one.start : len(known) + one.end])
        for name, one in tensors.items()
    }
