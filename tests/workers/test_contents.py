"""Bytes are known for what they are: pickles of every protocol, archives from either end."""

import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from chimera.workers.inspection.contents import is_pickle, refused_kind
from tests.workers.hostile_changes import Runs, bomb, zipped
from tests.workers.rig import sums


def kind(raw: bytes) -> str | None:
    return refused_kind(io.BytesIO(raw), len(raw))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
)


@given(PLAIN, st.integers(0, 5))
def test_pickle_of_any_data_and_protocol_is_one(value: object, protocol: int) -> None:
    assert is_pickle(pickle.dumps(value, protocol))


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("cut", [1, 2])
def test_pickle_that_runs_code_is_one_without_its_end(protocol: int, cut: int) -> None:
    assert is_pickle(pickle.dumps(Runs(), protocol)[:-cut])
    assert is_pickle(pickle.dumps(Runs(), protocol) + b"anything")


@pytest.mark.parametrize(
    "path", sorted(Path(__file__).parent.glob("*.py"))[:20], ids=lambda p: p.name
)
def test_text_is_no_pickle(path: Path) -> None:
    assert not is_pickle(path.read_bytes())


@given(st.integers(0, 2**16), st.text(min_size=1, max_size=300))
def test_safetensors_file_of_any_header_is_nothing_refused(size: int, name: str) -> None:
    """Its first bytes are a length, which may be any opcode of a pickle."""
    raw = save({name.replace("__metadata__", "m"): np.zeros(size % 97, "u1")}, {"pad": "x" * size})
    assert kind(raw) is None


def test_safetensors_file_of_each_length_of_header_is_nothing_refused() -> None:
    body = b'{"__metadata__":{"format":"pt"},"offsets.layers.0.weight":{"dtype":"F32"'
    for length in range(1 << 16):
        assert not is_pickle(struct.pack("<Q", length) + body)


def test_onnx_file_is_nothing_refused() -> None:
    assert kind(sums()) is None
    named = onnx.ModelProto.FromString(sums())
    named.producer_name = "pytorch"
    assert kind(named.SerializeToString()) is None


def test_safetensors_file_that_is_a_pickle_too_is_refused() -> None:
    """Its length is an opcode that skips the header's beginning; the code stands in a name."""
    code = b"cposix\nsystem\n(S'true'\ntR."
    raw = b"U\x38" + b"\0" * 6 + b"{" + b" " * 49 + code
    assert is_pickle(raw)


@pytest.mark.parametrize("before", [b"", sums(), save({"a": np.zeros(9)})], ids=["", "onnx", "st"])
@pytest.mark.parametrize("after", [b"", b"\0" * 100])
def test_archive_is_found_behind_and_before_other_bytes(before: bytes, after: bytes) -> None:
    raw = before + zipped(archive__data_dot_pkl=b"x") + after
    assert zipfile.is_zipfile(io.BytesIO(raw))
    assert (kind(raw) or "").startswith("a zip archive")


def test_bomb_is_not_expanded() -> None:
    assert len(bomb()) < 1_000
    assert kind(bomb(3)) == "a zip archive that expands to 3221225471 bytes"


def test_archive_with_a_broken_directory_is_one() -> None:
    raw = bytearray(zipped(a=b"b"))
    raw[raw.rfind(b"PK\x01\x02")] = 0
    assert kind(bytes(raw)) == "a zip archive"


@given(st.binary(max_size=2_000))
def test_any_bytes_have_a_kind_or_none(raw: bytes) -> None:
    for content in (raw, raw + b"PK\x05\x06" + raw[:30]):
        found = kind(content)
        assert found is None or found.isprintable()
        assert found is not None or not is_pickle(content)
    assert kind(b"PK\x03\x04" + raw) is not None
