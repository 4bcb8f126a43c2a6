"""Frames of blocks and results: requests that nobody has read, and batches that are ready to be sent.

    Block     fixed fields, topic, raw record batches
    Results   fixed fields, batches (count, codec, bytes), stories, rows, bodies joined
    Unread    the serial of a block that its lane has to read

`tests/workers/test_frames.py` takes them there and back, and fuzzes them.
"""

import struct

import msgspec

from chimera.schemas.batches import Encoded
from chimera.schemas.work import BatchStory, Block, Results
from chimera.workers.frames import HEADER, MAGIC, BrokenFrame, Kind, read_text

# serial, lane, entered, first, next, ms, partition, count, topic
_BLOCK = struct.Struct("=QqqqqqIIH")
_RESULTS = struct.Struct("=QqqqIII")  # serial, lane, first, next, batches, stories, rows
_BATCH = struct.Struct("=IBI")  # records, codec, bytes
_UNREAD = struct.Struct("=Q")
_STORIES_IN = msgspec.json.Decoder(tuple[BatchStory, ...])


def frame_block(serial: int, block: Block) -> tuple[bytes, bytes | memoryview]:
    """All before the records, and the records, which nobody copies here.

    `serial` numbers the works and blocks that one executor was given.
    """
    topic = block.topic.encode()
    size = _BLOCK.size + len(topic) + len(block.raw)
    numbers = _BLOCK.pack(
        serial,
        block.lane,
        block.entered_ns,
        block.first,
        block.next,
        block.first_ms,
        block.partition,
        block.count,
        len(topic),
    )
    return HEADER.pack(MAGIC, Kind.BLOCK, size) + numbers + topic, block.raw


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
    topic = read_text(body[_BLOCK.size : start])
    raw = memoryview(body)[start:]
    block = Block(lane, topic, partition, first, next_, count, first_ms, raw, entered_ns)
    return serial, block


def frame_results(serial: int, results: Results) -> bytes:
    batches = results.batches
    stories = msgspec.json.encode(results.stories)
    body = b"".join(
        (
            _RESULTS.pack(
                serial,
                results.lane,
                results.first,
                results.next,
                len(batches),
                len(stories),
                len(results.rows),
            ),
            *(_BATCH.pack(one.count, one.codec, len(one.body)) for one in batches),
            stories,
            results.rows,
            *(one.body for one in batches),
        )
    )
    return HEADER.pack(MAGIC, Kind.RESULTS, len(body)) + body


def read_results(body: bytes) -> tuple[int, Results]:
    """Results and the serial of their block.

    Raises:
        BrokenFrame: counts and bytes do not fit together, or a story is none.
    """
    if len(body) < _RESULTS.size:
        raise BrokenFrame(f"results: {len(body)} bytes")
    serial, lane, first, next_, batches, stories_bytes, rows_bytes = _RESULTS.unpack_from(body)
    told_at = _RESULTS.size
    stories_at = told_at + batches * _BATCH.size
    rows_at = stories_at + stories_bytes
    at = rows_at + rows_bytes
    if at > len(body):
        raise BrokenFrame(f"results: {batches} batches in {len(body)} bytes")
    try:
        stories = _STORIES_IN.decode(body[stories_at:rows_at])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BrokenFrame(f"results: stories: {error}") from None
    rows = body[rows_at:at]
    found: list[Encoded] = []
    for count, codec, size in _BATCH.iter_unpack(body[told_at:stories_at]):
        found.append(Encoded(count, codec, body[at : at + size]))
        at += size
    if at != len(body):
        raise BrokenFrame(f"results: batches add up to {at} bytes of {len(body)}")
    return serial, Results(lane, first, next_, tuple(found), stories, rows)


def frame_unread(serial: int) -> bytes:
    return HEADER.pack(MAGIC, Kind.UNREAD, _UNREAD.size) + _UNREAD.pack(serial)


def read_unread(body: bytes) -> int:
    """The serial of a block that its lane has to read. Raises BrokenFrame."""
    if len(body) != _UNREAD.size:
        raise BrokenFrame(f"unread: {len(body)} bytes")
    serial: int = _UNREAD.unpack(body)[0]
    return serial
