from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import Malformed, SchemaInvalid
from chimera.schemas.internal import ATTEMPT_VERSION, Attempt, decode_attempt, encode_attempt

GOLDEN = Path(__file__).with_name("golden")
ATTEMPTS = {1: Attempt(2, "crashed")}
"""What each version's golden file holds, as this release understands it."""


def test_attempt_of_this_version_is_written_as_in_its_golden_file() -> None:
    golden = GOLDEN / f"attempt_v{ATTEMPT_VERSION}.json"
    assert encode_attempt(ATTEMPTS[ATTEMPT_VERSION]) + b"\n" == golden.read_bytes()


@pytest.mark.parametrize("version", range(1, ATTEMPT_VERSION + 1))
def test_attempt_of_every_golden_file_is_read_or_refused(version: int) -> None:
    value = (GOLDEN / f"attempt_v{version}.json").read_bytes()
    if version < ATTEMPT_VERSION - 1:
        with pytest.raises(SchemaInvalid, match="version"):
            decode_attempt(value)
    else:
        assert decode_attempt(value) == ATTEMPTS[version]


def test_attempt_with_unknown_fields_is_read() -> None:
    assert decode_attempt(b'{"v":1,"deaths":1,"reason":"hung","since":[1]}') == Attempt(1, "hung")


@given(st.integers(1, 2**31), st.sampled_from(["crashed", "hung", "out_of_memory"]))
def test_attempt_survives_a_round_trip(deaths: int, reason: str) -> None:
    assert decode_attempt(encode_attempt(Attempt(deaths, reason))) == Attempt(deaths, reason)


@pytest.mark.parametrize(
    ("value", "error", "names"),
    [
        (b"", Malformed, "attempt"),
        (b'{"v":' * 50_000, SchemaInvalid, "attempt"),
        (b'{"a":' * 50_000, Malformed, "attempt"),
        (b'{"v":1,"deaths":1,"reason":"\xff"}', Malformed, "attempt"),
        (b"[]", SchemaInvalid, "object"),
        (b'{"deaths":1,"reason":"hung"}', SchemaInvalid, "`v`"),
        (b'{"v":"1","deaths":1,"reason":"hung"}', SchemaInvalid, "v"),
        (b'{"v":0,"deaths":1,"reason":"hung"}', SchemaInvalid, "version 0"),
        (b'{"v":2,"deaths":1,"reason":"hung"}', SchemaInvalid, "version 2"),
        (b'{"v":1,"deaths":0,"reason":"hung"}', SchemaInvalid, "deaths"),
        (b'{"v":1,"reason":"hung"}', SchemaInvalid, "deaths"),
    ],
)
def test_attempt_that_is_none_is_refused(value: bytes, error: type[Exception], names: str) -> None:
    with pytest.raises(error, match=names):
        decode_attempt(value)
