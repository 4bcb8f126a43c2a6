"""Leaves: canonical to the byte, golden files of every version, and what is no leaf."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import Malformed, SchemaInvalid
from chimera.schemas.transparency import canonical
from chimera.schemas.transparency.leaves import (
    LEAF_VERSION,
    LEAVES,
    ActionTaken,
    Leaf,
    OffsetsReconciled,
    decode_leaf,
    encode_leaf,
)
from tests.schemas.transparency.logs import served

GOLDEN = Path(__file__).parents[1] / "golden"
WRITTEN: dict[int, list[Leaf]] = {
    1: [
        served(9_223_372_036_854_775_807),
        served(
            0,
            request_id="ü \n\u2028\U0001f600",
            outcome="unknown_model",
            digest=None,
            input=None,
            output=None,
            commitment_key=None,
            attempt=1,
            guarantee="at_least_once",
        ),
        ActionTaken(
            at_ms=1_763_717_416_000,
            tenant="acme",
            event_id="e-1",
            actor="ada",
            action="models.promote",
            object="digits 7",
            reason="better",
            details={"share": "0.5", "from": "6"},
        ),
        OffsetsReconciled(
            at_ms=1_763_717_416_000,
            tenant="",
            topic="inference.requests",
            partition=3,
            first_offset="0",
            end_offset="1000",
            committed=998,
            leaves=998,
            missing=0,
            repeated=0,
        ),
    ]
}
"""What each version's golden file holds, a leaf a line, as this release understands it."""


def test_leaves_of_this_version_are_written_as_in_their_golden_file() -> None:
    golden = GOLDEN / f"audit_leaves_v{LEAF_VERSION}.jsonl"
    lines = [encode_leaf(leaf) + b"\n" for leaf in WRITTEN[LEAF_VERSION]]
    assert b"".join(lines) == golden.read_bytes()


@pytest.mark.parametrize("version", range(1, LEAF_VERSION + 1))
def test_leaves_of_every_golden_file_are_read_or_refused(version: int) -> None:
    lines = (GOLDEN / f"audit_leaves_v{version}.jsonl").read_bytes().splitlines()
    if version < LEAF_VERSION - 1:
        for line in lines:
            with pytest.raises(SchemaInvalid, match="version"):
                decode_leaf(line)
    else:
        assert [decode_leaf(line) for line in lines] == WRITTEN[version]


def test_every_leaf_stands_in_the_golden_file() -> None:
    assert {type(leaf) for leaf in WRITTEN[LEAF_VERSION]} == set(LEAVES)


names = st.text("abcABC0.-_", min_size=1).filter(lambda name: name[0] not in ".-_")
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
actions = st.builds(
    ActionTaken,
    at_ms=st.integers(0, canonical.MAX_INTEGER),
    tenant=texts,
    event_id=texts,
    actor=texts.filter(bool),
    action=names,
    object=texts,
    reason=texts,
    details=st.dictionaries(names, texts),
)
requests = st.builds(
    served,
    st.integers(0, 2**63 - 1),
    at_ms=st.integers(0, canonical.MAX_INTEGER),
    request_id=texts,
    model=texts,
    executor=texts,
    digest=st.none() | st.just("0f" * 32),
)


@given(actions | requests)
def test_bytes_of_a_leaf_are_what_the_reference_writes(leaf: Leaf) -> None:
    raw = encode_leaf(leaf)
    assert raw == canonical.encode(msgspec.json.decode(raw))
    assert decode_leaf(raw) == leaf


@pytest.mark.parametrize(
    "fields",
    [
        {"at_ms": canonical.MAX_INTEGER + 1},
        {"at_ms": -1},
        {"request_id": "\ud800"},
        {"request_id": "x" * 1_025},
        {"digest": "0A" * 32},
        {"digest": "0a" * 32 + "\n"},
        {"offset": "01"},
        {"offset": "-1"},
        {"offset": 1},
        {"outcome": ""},
        {"guarantee": "at_most_once"},
        {"commitment_key": "0d"},
        {"v": 2},
    ],
)
def test_leaf_that_nobody_could_read_is_not_written(fields: dict[str, Any]) -> None:
    with pytest.raises(SchemaInvalid, match="audit leaf"):
        encode_leaf(served(1, **fields))


@given(st.binary(max_size=60))
def test_any_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises((Malformed, SchemaInvalid), match="audit leaf"):
        decode_leaf(raw)
