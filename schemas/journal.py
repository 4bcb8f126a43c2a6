"""`inference.journal`: one committed window of a lane as a segment: what became of each request.

    segment   u32 size, head as JSON with its version, then parts, each behind its u32 size
    part      rows of requests in offset order, most of them a block's, as compressed columns

A part is made where its requests were computed, and put into a segment as it is: a node reads none
of it. Segments of a lane follow each other: the `start` of one is the `next` of the one before, and
offsets in between that have no row had no request (Kafka's own markers). A head's version is read
as `schemas/versioned.py` says; parts have a version of their own. A window's head also says how many
requests it had, so that a row that was left out of it is missed.
`tests/schemas/test_journal.py` takes segments there and back, reads the golden files, and fuzzes.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec

from chimera.schemas.errors import Malformed, SchemaInvalid
from chimera.schemas.guarantees import Guarantee
from chimera.schemas.journal_rows import Rows, first_of, read_part
from chimera.schemas.model_names import Count
from chimera.schemas.versioned import Form

SEGMENT_VERSION = 1

_SIZE = struct.Struct("<I")


class SegmentHead(msgspec.Struct, frozen=True, kw_only=True):
    """Which requests it is about, and under which guarantee they were answered."""

    topic: Annotated[str, msgspec.Meta(min_length=1, max_length=249)]
    partition: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
    start: Count  # the position before the window was committed
    next: Count  # and after it
    guarantee: Guarantee
    node: Annotated[str, msgspec.Meta(max_length=255)] = ""
    v: int = SEGMENT_VERSION
    # how many its window answered, by what the lane read and not by the rows, of which there are as many; in the
    # first segment of several that a window became, 0 in the others; unset: an older release has not said
    requests: Count | msgspec.UnsetType = msgspec.UNSET


_FORM = Form[SegmentHead]("journal segment", SegmentHead, SEGMENT_VERSION)


def key(topic: str, partition: int) -> bytes:
    """Of all segments of one lane."""
    return f"{topic}:{partition}".encode()


def framed(part: bytes) -> bytes:
    """A part as it stands in a segment, or joined with others."""
    return _SIZE.pack(len(part)) + part


def encode_segment(head: SegmentHead, parts: Sequence[bytes]) -> bytes:
    """A record's value; each of `parts` is framed, and may be several joined."""
    raw = _FORM.encode(head)
    return b"".join((_SIZE.pack(len(raw)), raw, *parts))


def encode_segments(head: SegmentHead, parts: Sequence[bytes], max_bytes: int) -> list[bytes]:
    """As `encode_segment`, as several of at most `max_bytes` where one would be larger.

    A single part that is larger than that gets a segment of its own.
    """
    if sum(map(len, parts)) + len(_FORM.encode(head)) + _SIZE.size <= max_bytes:
        return [encode_segment(head, parts)]
    room = max_bytes - len(_FORM.encode(head)) - _SIZE.size - 2 * 20  # its offsets' digits differ
    taken: list[list[bytes]] = [[]]
    size = 0
    for part in (framed(one) for joined in parts for one in _split(joined)):
        if taken[-1] and size + len(part) > room:
            taken.append([])
            size = 0
        taken[-1].append(part)
        size += len(part)
    starts = [head.start, *(first_of(found[0][_SIZE.size :]) for found in taken[1:])]
    heads = [
        msgspec.structs.replace(head, start=start, next=end)
        for start, end in zip(starts, [*starts[1:], head.next], strict=True)
    ]
    if head.requests is not msgspec.UNSET:
        heads[1:] = [msgspec.structs.replace(one, requests=0) for one in heads[1:]]
    return [encode_segment(one, found) for one, found in zip(heads, taken, strict=True)]


def decode_segment(value: bytes) -> tuple[SegmentHead, Iterator[Rows]]:
    """The head, and the rows part by part, each read when it is asked for.

    Raises:
        Malformed: cut off, or not what its sizes say; parts raise it when they are asked for.
        SchemaInvalid: another version, or a head that is none.
    """
    (raw, *parts) = _split(value, at_least=1)
    head = _FORM.decode(raw)
    if head.next <= head.start:
        raise SchemaInvalid(f"journal segment: from {head.start} to {head.next}")
    return head, _rows(head, parts)


def _rows(head: SegmentHead, parts: Sequence[bytes]) -> Iterator[Rows]:
    begins = head.start
    for part in parts:
        rows = read_part(part)
        if int(rows.offsets[0]) < begins or int(rows.offsets[-1]) >= head.next:
            raise Malformed("journal segment: rows that are not between its start and its next")
        begins = int(rows.offsets[-1]) + 1
        yield rows


def _split(raw: bytes, *, at_least: int = 0) -> list[bytes]:
    """What stands behind its size each."""
    found: list[bytes] = []
    at = 0
    while at < len(raw) or len(found) < at_least:
        if at + _SIZE.size > len(raw):
            raise Malformed(f"journal segment: {len(raw) - at} bytes where a size should be")
        (size,) = _SIZE.unpack_from(raw, at)
        at += _SIZE.size
        if at + size > len(raw):
            raise Malformed(f"journal segment: {size} bytes at {at} of {len(raw)}")
        found.append(raw[at : at + size])
        at += size
    return found
