"""Leaves out of columns are the same bytes as leaves one by one, and as the reference's."""

import dataclasses
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import SchemaInvalid
from chimera.schemas.journal import SegmentHead
from chimera.schemas.journal_rows import COMMITMENT_BYTES, Rows
from chimera.schemas.transparency.leaves import RequestServed, decode_leaf
from chimera.schemas.transparency.request_leaves import leaves
from tests.schemas.journal_samples import GOLDEN, some_rows

HEAD = SegmentHead(
    topic="inference.requests", partition=3, start=0, next=2**62, guarantee="exactly_once"
)
AT_MS = 1_763_717_416_000
OUTCOMES = ("ok", "retry", "too_large")
NAMES = st.one_of(st.text(max_size=6).map(str.encode), st.binary(max_size=4))


@st.composite
def parts(draw: st.DrawFn) -> Rows:
    """Rows with outcomes that there are, and names that are hard to write."""
    rows = draw(some_rows())
    count = len(rows)
    names = draw(st.lists(NAMES, min_size=count, max_size=count))
    empty = draw(st.sets(st.integers(0, count - 1)))
    given = bytearray(rows.input_commitments)
    for at in empty if given else ():
        given[at * COMMITMENT_BYTES : (at + 1) * COMMITMENT_BYTES] = bytes(COMMITMENT_BYTES)
    return dataclasses.replace(
        rows, outcomes=OUTCOMES[: len(rows.outcomes)], ids=names, input_commitments=bytes(given)
    )


def one_by_one(rows: Rows) -> list[bytes]:
    """What each row says, field by field, as the reference writes it."""
    found: list[bytes] = []
    for at, offset in enumerate(rows.offsets.tolist()):
        group = rows.groups[int(rows.group[at])]
        commitments = [
            raw[at * COMMITMENT_BYTES : (at + 1) * COMMITMENT_BYTES].hex()
            for raw in (rows.input_commitments, rows.output_commitments)
        ]
        origin = rows.origins[at] if rows.origins else b""
        key = group.commitment_key
        name = rows.ids[at] or origin or f"{HEAD.topic}:{HEAD.partition}:{offset}".encode()
        fields: dict[str, Any] = {
            "leaf": "request",
            "v": 1,
            "at_ms": AT_MS,
            "tenant": group.tenant,
            "topic": HEAD.topic,
            "partition": HEAD.partition,
            "offset": str(offset),
            "request_id": name.decode("utf-8", "replace"),
            "model": group.model,
            "version": group.version,
            "digest": None,
            "tier": group.tier,
            "executor": group.executor,
            "outcome": rows.outcomes[int(rows.outcome[at])],
            "input": commitments[0] if commitments[0].strip("0") else None,
            "output": commitments[1] if commitments[1].strip("0") else None,
            "commitment_key": key if len(key) == 32 else None,
            "attempt": int(rows.attempt[at]),
            "guarantee": "exactly_once",
        }
        found.append(rfc8785.dumps(fields))
    return found


@given(parts())
def test_leaves_of_a_part_are_what_the_reference_writes(rows: Rows) -> None:
    found = leaves(HEAD, rows, AT_MS)
    assert found == one_by_one(rows)
    assert all(isinstance(decode_leaf(one), RequestServed) for one in found)


def test_leaves_of_a_golden_part() -> None:
    (rows,) = GOLDEN[1]
    first, _, last = (decode_leaf(one) for one in leaves(HEAD, rows, AT_MS))
    assert isinstance(first, RequestServed) and isinstance(last, RequestServed)
    assert (first.request_id, first.digest, first.outcome) == ("a", "d" * 64, "ok")
    assert (first.input, first.output) == (bytes(range(32)).hex(), bytes(range(96, 128)).hex())
    assert (last.request_id, last.digest, last.tenant) == ("µ", None, "acme")
    assert (last.offset, last.attempt, last.outcome) == ("43", 2, "too_large")


def test_names_too_long_for_a_leaf_are_cut() -> None:
    (rows,) = GOLDEN[1]
    long = msgspec.structs.replace(rows.groups[0], model="m" * 5_000)
    (first, *_) = leaves(HEAD, dataclasses.replace(rows, groups=(long, long)), AT_MS)
    read = decode_leaf(first)
    assert isinstance(read, RequestServed) and read.model == "m" * 1_024


def test_an_outcome_that_is_no_name_is_refused() -> None:
    (rows,) = GOLDEN[1]
    with pytest.raises(SchemaInvalid):
        leaves(HEAD, dataclasses.replace(rows, outcomes=("", "ok")), AT_MS)
