"""Frames of works and outcomes: requests that their lane has read, and what became of each.

    Work      fixed fields, offsets, lengths, heads, deadlines, topic, extras, values joined
    Outcomes  fixed fields, parts (works answered, each with a count), offsets, lengths, codes,
              story, bodies joined; where a journal is written, notes: lengths, and joined

Arrays and joins keep a record's share below half a microsecond on either side.
`tests/workers/test_frames.py` takes them there and back, and fuzzes them.
"""

import struct
from array import array
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal

import msgspec

from chimera.schemas.errors import REQUEST_ERRORS
from chimera.schemas.work import BatchStory, Outcomes, Work
from chimera.workers.frames import HEADER, MAGIC, BrokenFrame, Kind, read_text

_WORK = struct.Struct("=QqqiIIHB")  # serial, lane, entered_ns, partition, count, extras, topic
_OUTCOMES = struct.Struct("=qIIIQ")  # lane, parts, count, story, bytes of all notes
_PART = struct.Struct("=QI")
_WORK_RECORD_BYTES = 24
_OUTCOME_RECORD_BYTES = 13
_CODES = bytes(range(len(REQUEST_ERRORS) + 1))
_EXTRAS_OUT = msgspec.json.Encoder()
_EXTRAS_IN = msgspec.json.Decoder(dict[int, dict[str, str]])
_STORY_IN = msgspec.json.Decoder(BatchStory)


@dataclass(slots=True)
class Answered:
    """Outcomes, and which works they belong to: pairs of a work's serial and a count, in order."""

    outcomes: Outcomes
    parts: list[tuple[int, int]]


def frame_work(serial: int, work: Work) -> bytes:
    """`serial` numbers the works that one executor was given."""
    values = work.values
    lengths = array("I", list(map(len, values)))
    topic = work.topic.encode()
    extras = _EXTRAS_OUT.encode(work.extras) if work.extras else b""
    count = len(values)
    size = _WORK.size + count * _WORK_RECORD_BYTES + len(topic) + len(extras) + sum(lengths)
    return b"".join(
        (
            HEADER.pack(MAGIC, Kind.WORK, size),
            _WORK.pack(
                serial,
                work.lane,
                work.entered_ns,
                work.partition,
                count,
                len(extras),
                len(topic),
                work.isolate,
            ),
            array("q", work.offsets).tobytes(),
            array("q", work.deadlines).tobytes(),
            lengths.tobytes(),
            array("i", work.heads).tobytes(),
            topic,
            extras,
            *values,
        )
    )


def read_work(body: bytes) -> tuple[int, Work]:
    """A work and its serial; values are copies.

    Raises:
        BrokenFrame: counts and bytes do not fit together, or text is not what it should be.
    """
    if len(body) < _WORK.size:
        raise BrokenFrame(f"work: {len(body)} bytes")
    serial, lane, entered_ns, partition, count, extras_bytes, topic_bytes, isolate = (
        _WORK.unpack_from(body)
    )
    position = _WORK.size
    text = position + count * _WORK_RECORD_BYTES
    start = text + topic_bytes + extras_bytes
    if start > len(body):
        raise BrokenFrame(f"work: {count} records in {len(body)} bytes")
    offsets = _unpack("q", body, position, count)
    deadlines = _unpack("q", body, position + 8 * count, count)
    lengths = _unpack("I", body, position + 16 * count, count)
    heads = _unpack("i", body, position + 20 * count, count)
    extras = _read_extras(body[text + topic_bytes : start], count) if extras_bytes else {}
    work = Work(
        lane,
        read_text(body[text : text + topic_bytes]),
        partition,
        offsets.tolist(),
        _split(body, start, lengths),
        heads.tolist(),
        deadlines.tolist(),
        extras,
        entered_ns,
        bool(isolate),
    )
    return serial, work


def frame_outcomes(answered: Answered) -> bytes:
    outcomes, parts = answered.outcomes, answered.parts
    story = msgspec.json.encode(outcomes.batch)
    lengths = array("I", list(map(len, outcomes.bodies)))
    notes = _joined(outcomes.notes)
    count = len(lengths)
    size = (
        _OUTCOMES.size
        + len(parts) * _PART.size
        + count * _OUTCOME_RECORD_BYTES
        + len(story)
        + len(notes)
        + sum(lengths)
    )
    return b"".join(
        (
            HEADER.pack(MAGIC, Kind.OUTCOMES, size),
            _OUTCOMES.pack(outcomes.lane, len(parts), count, len(story), len(notes)),
            *(_PART.pack(serial, part) for serial, part in parts),
            array("q", outcomes.offsets).tobytes(),
            lengths.tobytes(),
            outcomes.codes,
            story,
            notes,
            *outcomes.bodies,
        )
    )


def read_outcomes(body: bytes) -> Answered:
    """Raises BrokenFrame: counts and bytes do not fit together, a code or the story is unknown."""
    if len(body) < _OUTCOMES.size:
        raise BrokenFrame(f"outcomes: {len(body)} bytes")
    lane, parts_count, count, story_bytes, notes_bytes = _OUTCOMES.unpack_from(body)
    position = _OUTCOMES.size + parts_count * _PART.size
    codes_at = position + 12 * count
    story_at = codes_at + count
    notes_at = story_at + story_bytes
    start = notes_at + notes_bytes
    if start > len(body):
        raise BrokenFrame(f"outcomes: {count} records in {len(body)} bytes")
    parts: list[tuple[int, int]] = list(_PART.iter_unpack(body[_OUTCOMES.size : position]))
    if sum([part for _, part in parts]) != count:
        raise BrokenFrame("outcomes: the parts are not the whole")
    codes = body[codes_at:story_at]
    if codes.translate(None, _CODES):
        raise BrokenFrame("outcomes: a code that no error has")
    try:
        story = _STORY_IN.decode(body[story_at:notes_at])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BrokenFrame(f"outcomes: story: {error}") from None
    offsets = _unpack("q", body, position, count).tolist()
    lengths = _unpack("I", body, position + 8 * count, count)
    bodies = _split(body, start, lengths)
    notes = _read_notes(body[notes_at:start], count)
    return Answered(Outcomes(lane, offsets, codes, bodies, story, notes), parts)


def _joined(notes: list[bytes]) -> bytes:
    if not notes:
        return b""
    return b"".join((array("I", list(map(len, notes))).tobytes(), *notes))


def _read_notes(raw: bytes, count: int) -> list[bytes]:
    if not raw:
        return []
    start = 4 * count
    if start > len(raw):
        raise BrokenFrame(f"outcomes: {count} notes in {len(raw)} bytes")
    return _split(raw, start, _unpack("I", raw, 0, count))


def _unpack(
    typecode: Literal["q", "I", "i"], body: bytes, position: int, count: int
) -> "array[int]":
    found: array[int] = array(typecode)
    found.frombytes(memoryview(body)[position : position + count * found.itemsize])
    return found


def _split(body: bytes, start: int, lengths: "array[int]") -> list[bytes]:
    ends = list(accumulate(lengths, initial=start))
    if ends[-1] != len(body):
        raise BrokenFrame(f"lengths add up to {ends[-1]} bytes of {len(body)}")
    return [body[a:b] for a, b in pairwise(ends)]


def _read_extras(raw: bytes, count: int) -> dict[int, dict[str, str]]:
    try:
        extras = _EXTRAS_IN.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BrokenFrame(f"work: extras: {error}") from None
    if any(not 0 <= index < count for index in extras):
        raise BrokenFrame("work: extras of a record that is not there")
    return extras
