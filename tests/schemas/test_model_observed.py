from pathlib import Path
from typing import Any

import msgspec
import pytest

from chimera.schemas.errors import Malformed, SchemaInvalid
from chimera.schemas.model_observed import (
    OBSERVED_VERSION,
    ModelObserved,
    Seen,
    decode_observed,
    encode_observed,
)

GOLDEN = Path(__file__).with_name("golden")
SEEN = Seen(requests=600, errors=2, latencies={0: 8, 160: 590}, compared=30, disagreed=1)

PACED = Seen(requests=9, latencies={160: 9}, paces={0: {100: 1}, 12: {120: 1}})


def observed(sequence: int, seen: Seen) -> ModelObserved:
    return ModelObserved(
        tenant="acme",
        model="digits",
        version="7",
        revision=4,
        node="n-1",
        sequence=sequence,
        until_ms=1_763_717_416_000,
        seen=seen,
    )


WRITTEN = {1: [observed(1, SEEN), observed(2, Seen(errors=1, requests=1)), observed(3, PACED)]}
"""What each version's golden file holds, a record a line, as this release understands it."""


def test_observations_of_this_version_are_written_as_in_their_golden_file() -> None:
    golden = GOLDEN / f"model_observed_v{OBSERVED_VERSION}.jsonl"
    lines = [encode_observed(one) + b"\n" for one in WRITTEN[OBSERVED_VERSION]]
    assert b"".join(lines) == golden.read_bytes()


@pytest.mark.parametrize("version", range(1, OBSERVED_VERSION + 1))
def test_observations_of_every_golden_file_are_read_or_refused(version: int) -> None:
    lines = (GOLDEN / f"model_observed_v{version}.jsonl").read_bytes().splitlines()
    if version < OBSERVED_VERSION - 1:
        for line in lines:
            with pytest.raises(SchemaInvalid, match="version"):
                decode_observed(line)
    else:
        assert [decode_observed(line) for line in lines] == WRITTEN[version]


def changed(**fields: Any) -> bytes:
    return msgspec.json.encode(msgspec.to_builtins(observed(1, SEEN), str_keys=True) | fields)


@pytest.mark.parametrize(
    ("value", "error", "names"),
    [
        (b"\xff", Malformed, "model observed"),
        (changed(v=2), SchemaInvalid, "version 2"),
        (changed(revision=0), SchemaInvalid, "revision"),
        (changed(sequence=0), SchemaInvalid, "sequence"),
        (changed(seen={"requests": -1}), SchemaInvalid, "requests"),
        (changed(seen={"latencies": {"577": 1}}), SchemaInvalid, "latencies"),
        (changed(seen={"paces": {"12": {"577": 1}}}), SchemaInvalid, "paces"),
        (changed(node="a b"), SchemaInvalid, "node"),
    ],
)
def test_observation_that_is_none_is_refused(
    value: bytes, error: type[Exception], names: str
) -> None:
    with pytest.raises(error, match=names):
        decode_observed(value)
