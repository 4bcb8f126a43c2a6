"""Frames between a node and one of its executors: how Work goes out and Outcomes come back.

Blocks go out and Results come back by frames of their own, or a block comes back unread.

    header    magic, kind, bytes of the body
    Work      fixed fields, offsets, lengths, heads, deadlines, topic, extras, values joined
    Outcomes  fixed fields, parts (works answered, each with a count), offsets, lengths, codes,
              story, bodies joined
    Block     fixed fields, topic, raw record batches
    Results   fixed fields, batches (count, codec, bytes), stories, bodies joined

Numbers are in the machine's own byte order: a frame never leaves it. Both sides check what they
read, and whatever is wrong raises `BrokenFrame`, nothing else; `tests/workers/test_frames.py`
fuzzes it. Arrays and joins keep a record's share below half a microsecond on either side.
"""

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate, pairwise
from typing import Literal

import msgspec

from chimera.schemas.batches import Encoded
from chimera.schemas.errors import REQUEST_ERRORS, ChimeraError
from chimera.schemas.placements import Traffic
from chimera.schemas.work import BatchStory, Block, Outcomes, Results, Work

MAX_BODY_BYTES = 1 << 28  # a sender splits long before; a larger figure is a broken stream
HEADER = struct.Struct("=HBxI")
_MAGIC = 0xC41E
_WORK = struct.Struct("=QqqiIIHB")  # serial, lane, entered_ns, partition, count, extras, topic
_OUTCOMES = struct.Struct("=qIII")  # lane, parts, count, story
_WORK_RECORD_BYTES = 24
_OUTCOME_RECORD_BYTES = 13
_PART = struct.Struct("=QI")
_FORGET = struct.Struct("=q")
_BLOCK = struct.Struct(
    "=QqqqqqIIH"
)  # serial, lane, entered, first, next, ms, partition, count, topic
_RESULTS = struct.Struct("=QqqqII")  # serial, lane, first, next, batches, stories
_BATCH = struct.Struct("=IBI")  # records, codec, bytes
_UNREAD = struct.Struct("=Q")
_CODES = bytes(range(len(REQUEST_ERRORS) + 1))


class Kind(IntEnum):
    CONFIGURE = 1  # JSON
    WORK = 2
    FORGET = 3
    STARTED = 4  # JSON
    OUTCOMES = 5
    BLOCK = 6
    RESULTS = 7
    UNREAD = 8
    DIRECT = 9  # JSON


_KINDS = {int(kind): kind for kind in Kind}


class BrokenFrame(ChimeraError):
    """The other side sent what is no frame; the stream cannot be read on."""


@dataclass(slots=True)
class Answered:
    """Outcomes, and which works they belong to: pairs of a work's serial and a count, in order."""

    outcomes: Outcomes
    parts: list[tuple[int, int]]


_EXTRAS_OUT = msgspec.json.Encoder()
_EXTRAS_IN = msgspec.json.Decoder(dict[int, dict[str, str]])
_STORY_IN = msgspec.json.Decoder(BatchStory)
_TRAFFIC_IN = msgspec.json.Decoder(Traffic)
_STORIES_IN = msgspec.json.Decoder(tuple[BatchStory, ...])


def frame(kind: Kind, body: bytes = b"") -> bytes:
    """A frame whose body is one piece: configuration or report."""
    return HEADER.pack(_MAGIC, kind, len(body)) + body


def frame_direct(traffic: Traffic) -> bytes:
    return frame(Kind.DIRECT, msgspec.json.encode(traffic))


def frame_forget(lane: int) -> bytes:
    return HEADER.pack(_MAGIC, Kind.FORGET, _FORGET.size) + _FORGET.pack(lane)


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
            HEADER.pack(_MAGIC, Kind.WORK, size),
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


def frame_outcomes(answered: Answered) -> bytes:
    outcomes, parts = answered.outcomes, answered.parts
    story = msgspec.json.encode(outcomes.batch)
    lengths = array("I", list(map(len, outcomes.bodies)))
    count = len(lengths)
    size = (
        _OUTCOMES.size
        + len(parts) * _PART.size
        + count * _OUTCOME_RECORD_BYTES
        + len(story)
        + sum(lengths)
    )
    return b"".join(
        (
            HEADER.pack(_MAGIC, Kind.OUTCOMES, size),
            _OUTCOMES.pack(outcomes.lane, len(parts), count, len(story)),
            *(_PART.pack(serial, part) for serial, part in parts),
            array("q", outcomes.offsets).tobytes(),
            lengths.tobytes(),
            outcomes.codes,
            story,
            *outcomes.bodies,
        )
    )


def frame_block(serial: int, block: Block) -> bytes:
    """`serial` numbers the works and blocks that one executor was given."""
    topic = block.topic.encode()
    size = _BLOCK.size + len(topic) + len(block.raw)
    return b"".join(
        (
            HEADER.pack(_MAGIC, Kind.BLOCK, size),
            _BLOCK.pack(
                serial,
                block.lane,
                block.entered_ns,
                block.first,
                block.next,
                block.first_ms,
                block.partition,
                block.count,
                len(topic),
            ),
            topic,
            block.raw,
        )
    )


def frame_results(serial: int, results: Results) -> bytes:
    batches = results.batches
    stories = msgspec.json.encode(results.stories)
    body = b"".join(
        (
            _RESULTS.pack(
                serial, results.lane, results.first, results.next, len(batches), len(stories)
            ),
            *(_BATCH.pack(one.count, one.codec, len(one.body)) for one in batches),
            stories,
            *(one.body for one in batches),
        )
    )
    return HEADER.pack(_MAGIC, Kind.RESULTS, len(body)) + body


def frame_unread(serial: int) -> bytes:
    return HEADER.pack(_MAGIC, Kind.UNREAD, _UNREAD.size) + _UNREAD.pack(serial)


def read_header(header: bytes) -> tuple[Kind, int]:
    """Kind and bytes of the body of the frame that begins with these `HEADER.size` bytes.

    Raises:
        BrokenFrame: no frame begins so.
    """
    magic, kind, size = HEADER.unpack(header)
    found = _KINDS.get(kind)
    if magic != _MAGIC or found is None or size > MAX_BODY_BYTES:
        raise BrokenFrame(f"no frame begins with {header.hex()}")
    return found, size


def read_forget(body: bytes) -> int:
    """Raises BrokenFrame."""
    if len(body) != _FORGET.size:
        raise BrokenFrame(f"forget: {len(body)} bytes")
    lane: int = _FORGET.unpack(body)[0]
    return lane


def read_traffic(body: bytes) -> Traffic:
    """Raises BrokenFrame."""
    try:
        return _TRAFFIC_IN.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BrokenFrame(f"traffic: {error}") from None


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
        _text(body[text : text + topic_bytes]),
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


def read_outcomes(body: bytes) -> Answered:
    """Raises BrokenFrame: counts and bytes do not fit together, a code or the story is unknown."""
    if len(body) < _OUTCOMES.size:
        raise BrokenFrame(f"outcomes: {len(body)} bytes")
    lane, parts_count, count, story_bytes = _OUTCOMES.unpack_from(body)
    position = _OUTCOMES.size + parts_count * _PART.size
    codes_at = position + 12 * count
    story_at = codes_at + count
    start = story_at + story_bytes
    if start > len(body):
        raise BrokenFrame(f"outcomes: {count} records in {len(body)} bytes")
    parts: list[tuple[int, int]] = list(_PART.iter_unpack(body[_OUTCOMES.size : position]))
    if sum([part for _, part in parts]) != count:
        raise BrokenFrame("outcomes: the parts are not the whole")
    codes = body[codes_at:story_at]
    if codes.translate(None, _CODES):
        raise BrokenFrame("outcomes: a code that no error has")
    try:
        story = _STORY_IN.decode(body[story_at:start])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BrokenFrame(f"outcomes: story: {error}") from None
    offsets = _unpack("q", body, position, count).tolist()
    lengths = _unpack("I", body, position + 8 * count, count)
    bodies = _split(body, start, lengths)
    return Answered(Outcomes(lane, offsets, codes, bodies, story), parts)


def read_block(body: bytes) -> tuple[int, Block]:
    """A block and its serial.

    Raises:
        BrokenFrame: it is cut off, or its topic is not text.
    """
    if len(body) < _BLOCK.size:
        raise BrokenFrame(f"block: {len(body)} bytes")
    serial, lane, entered_ns, first, next_, first_ms, partition, count, topic_bytes = (
        _BLOCK.unpack_from(body)
    )
    start = _BLOCK.size + topic_bytes
    if start > len(body):
        raise BrokenFrame(f"block: a topic of {topic_bytes} bytes in {len(body)}")
    topic = _text(body[_BLOCK.size : start])
    block = Block(lane, topic, partition, first, next_, count, first_ms, body[start:], entered_ns)
    return serial, block


def read_results(body: bytes) -> tuple[int, Results]:
    """Results and the serial of their block.

    Raises:
        BrokenFrame: counts and bytes do not fit together, or a story is none.
    """
    if len(body) < _RESULTS.size:
        raise BrokenFrame(f"results: {len(body)} bytes")
    serial, lane, first, next_, batches, stories_bytes = _RESULTS.unpack_from(body)
    told_at = _RESULTS.size
    stories_at = told_at + batches * _BATCH.size
    at = stories_at + stories_bytes
    if at > len(body):
        raise BrokenFrame(f"results: {batches} batches in {len(body)} bytes")
    try:
        stories = _STORIES_IN.decode(body[stories_at:at])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BrokenFrame(f"results: stories: {error}") from None
    found: list[Encoded] = []
    for count, codec, size in _BATCH.iter_unpack(body[told_at:stories_at]):
        found.append(Encoded(count, codec, body[at : at + size]))
        at += size
    if at != len(body):
        raise BrokenFrame(f"results: batches add up to {at} bytes of {len(body)}")
    return serial, Results(lane, first, next_, tuple(found), stories)


def read_unread(body: bytes) -> int:
    """The serial of a block that its lane has to read. Raises BrokenFrame."""
    if len(body) != _UNREAD.size:
        raise BrokenFrame(f"unread: {len(body)} bytes")
    serial: int = _UNREAD.unpack(body)[0]
    return serial


class Reassembly:
    """Turns the pieces in which a stream arrives into frames."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._held = 0
        self._needed = HEADER.size

    def feed(self, piece: bytes) -> Iterator[tuple[Kind, bytes]]:
        """Frames that are complete with this piece; exhaust it before the next one.

        Raises:
            BrokenFrame: the stream cannot be read on.
        """
        self._pieces.append(piece)
        self._held += len(piece)
        if self._held < self._needed:
            return
        held = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        position = 0
        while True:
            start = position + HEADER.size
            if len(held) < start:
                self._needed = HEADER.size
                break
            kind, size = read_header(held[position:start])
            if len(held) < start + size:
                self._needed = HEADER.size + size
                break
            position = start + size
            yield kind, held[start:position]
        rest = held[position:]
        self._pieces = [rest] if rest else []
        self._held = len(rest)


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


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BrokenFrame("work: the topic is not UTF-8") from None


def _read_extras(raw: bytes, count: int) -> dict[int, dict[str, str]]:
    try:
        extras = _EXTRAS_IN.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BrokenFrame(f"work: extras: {error}") from None
    if any(not 0 <= index < count for index in extras):
        raise BrokenFrame("work: extras of a record that is not there")
    return extras
