from itertools import chain
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import Malformed, SchemaInvalid
from chimera.schemas.journal import (
    SEGMENT_VERSION,
    SegmentHead,
    decode_segment,
    encode_segment,
    encode_segments,
    framed,
    key,
)
from chimera.schemas.journal_rows import Rows, write_part
from tests.schemas.journal_samples import GOLDEN, KEYED, same, some_rows

GOLDEN_FILES = Path(__file__).with_name("golden")
HEAD = SegmentHead(
    topic="inference.requests", partition=3, start=40, next=45, guarantee="exactly_once", node="n:1"
)


@st.composite
def windows(draw: st.DrawFn) -> tuple[SegmentHead, list[Rows]]:
    start = at = draw(st.integers(0, 2**40))
    found: list[Rows] = []
    for _ in range(draw(st.integers(1, 4))):
        at += draw(st.integers(0, 2))
        found.append(draw(some_rows(at)))
        at = int(found[-1].offsets[-1]) + 1
    guarantee = draw(st.sampled_from(["exactly_once", "at_least_once"]))
    requests = sum(map(len, found))
    head = msgspec.structs.replace(
        HEAD, start=start, next=at, guarantee=guarantee, requests=requests
    )
    return head, found


def joined(rows: list[Rows]) -> list[bytes]:
    """Parts as lanes have them: some of a block together."""
    parts = [framed(write_part(one)) for one in rows]
    return [b"".join(parts[:2]), *parts[2:]]


@given(windows())
def test_segment_comes_back(window: tuple[SegmentHead, list[Rows]]) -> None:
    head, rows = window
    found, parts = decode_segment(encode_segment(head, joined(rows)))
    assert found == head
    assert all(same(one, other) for one, other in zip(parts, rows, strict=True))


@given(windows(), st.integers(1, 2_000))
def test_segments_of_a_large_window_follow_each_other(
    window: tuple[SegmentHead, list[Rows]], max_bytes: int
) -> None:
    head, rows = window
    values = encode_segments(head, joined(rows), max_bytes)
    heads, parts = zip(*map(decode_segment, values), strict=True)
    assert (heads[0].start, heads[-1].next) == (head.start, head.next)
    assert [one.start for one in heads[1:]] == [one.next for one in heads[:-1]]
    assert heads[0].requests == head.requests
    assert {one.requests for one in heads[1:]} <= {0}
    found = [list(one) for one in parts]
    assert all(same(a, b) for a, b in zip(chain(*found), rows, strict=True))
    assert all(
        len(value) <= max_bytes or len(one) == 1 for value, one in zip(values, found, strict=True)
    )


@pytest.mark.parametrize("version", GOLDEN)
def test_segment_of_every_golden_file_is_read(version: int) -> None:
    value = (GOLDEN_FILES / f"journal_v{version}.bin").read_bytes()
    head, rows = decode_segment(value)
    assert head == msgspec.structs.replace(HEAD, v=version)
    assert all(same(one, other) for one, other in zip(rows, GOLDEN[version], strict=True))


def test_segment_that_names_keys_is_read_as_in_its_golden_file() -> None:
    head, (rows,) = decode_segment((GOLDEN_FILES / "journal_v1_keys.bin").read_bytes())
    assert head == HEAD
    assert same(rows, KEYED)


def test_this_version_has_a_golden_file() -> None:
    assert max(GOLDEN) == SEGMENT_VERSION


def test_key_names_the_lane() -> None:
    assert key("inference.requests", 3) == b"inference.requests:3"


@given(windows(), st.data())
def test_segment_that_was_changed_is_read_or_refused(
    window: tuple[SegmentHead, list[Rows]], data: st.DataObject
) -> None:
    value = bytearray(encode_segment(window[0], joined(window[1])))
    at = data.draw(st.integers(0, len(value) - 1))
    value[at] ^= data.draw(st.integers(1, 255))
    for spoilt in (bytes(value), bytes(value[:at])):
        try:
            head, parts = decode_segment(spoilt)
            for rows in parts:
                assert head.start <= int(rows.offsets[0]) <= int(rows.offsets[-1]) < head.next
        except (Malformed, SchemaInvalid):
            continue


@pytest.mark.parametrize(
    ("head", "names"),
    [
        ({"next": 40}, "from 40 to 40"),
        ({"next": 43}, "not between"),
        ({"start": 41}, "not between"),
        ({"v": SEGMENT_VERSION + 1}, "version"),
        ({"guarantee": "perhaps"}, "guarantee"),
    ],
)
def test_segment_whose_head_is_wrong_is_refused(head: dict[str, object], names: str) -> None:
    (rows,) = GOLDEN[1]
    raw = msgspec.json.encode(msgspec.to_builtins(HEAD) | head)
    value = framed(raw) + framed(write_part(rows))
    with pytest.raises((Malformed, SchemaInvalid), match=names):
        list(decode_segment(value)[1])
