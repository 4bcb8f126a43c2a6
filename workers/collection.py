"""A block as its executor reads it, and its results until all of them are there.

A block's requests are plain, so their results can go to Kafka as they leave the executor: record
batches, compressed, in the requests' order. The node puts its producer's numbers before them and
looks at no record, neither of the request nor of the result. As soon as one request fails, the
lane has decisions to make: the block is answered request by request then, like any work.
`tests/workers/test_collection.py`, and with real executors `test_pool.py`.
"""

from collections.abc import Sequence

from chimera.schemas.batches import ENVELOPE_BYTES, Compression, Encoded, split
from chimera.schemas.stored import Damaged, parse
from chimera.schemas.work import BatchStory, Block, Results, Work

HELD_BYTES = 8 << 20  # more results than that do not wait for each other


class Collection:
    """Results of one block; `None` where there is none yet."""

    __slots__ = ("_block", "_keys", "bytes", "left", "stories", "tails")

    def __init__(self, block: Block, keys: list[bytes | None]) -> None:
        self._block = block
        self._keys = keys
        self.tails: list[bytes | None] = [None] * len(keys)
        self.left = len(keys)
        self.bytes = 0
        self.stories: list[BatchStory] = []

    def add(self, indexes: Sequence[int], tails: Sequence[bytes], story: BatchStory) -> None:
        """Results of some of its requests, by their places in the block."""
        if indexes[-1] - indexes[0] == len(indexes) - 1:
            self.tails[indexes[0] : indexes[-1] + 1] = tails
        else:
            for index, tail in zip(indexes, tails, strict=True):
                self.tails[index] = tail
        self.left -= len(tails)
        self.bytes += sum(map(len, tails))
        self.stories.append(story)

    def results(self, max_bytes: int, compression: Compression) -> Results:
        """All of them, when none is left."""
        records = [
            (key, tail)
            for key, tail in zip(self._keys, self.tails, strict=True)
            if tail is not None
        ]
        batches: list[Encoded] = [one.finish(compression) for one in split(records, max_bytes)]
        block = self._block
        return Results(block.lane, block.first, block.next, tuple(batches), tuple(self.stories))


def read(block: Block, max_request_bytes: int) -> tuple[Work, Collection] | None:
    """The requests of a block; None if they are not all plain, and its lane has to read it."""
    try:
        records = parse(block.raw)
    except Damaged:
        return None  # whoever has it knows what to do
    offsets: list[int] = []
    values: list[bytes] = []
    keys: list[bytes | None] = []
    for record in records:
        if record.offset < block.first:  # the first batch begins before the block
            continue
        key, value = record.key, record.value
        if (
            value is None
            or len(value) > max_request_bytes
            or record.headers
            or (key is not None and len(key) > ENVELOPE_BYTES)
        ):
            return None
        offsets.append(record.offset)
        values.append(value)
        keys.append(key)
    if not offsets:
        return None
    count = len(offsets)
    work = Work(
        block.lane,
        block.topic,
        block.partition,
        offsets,
        values,
        [-1] * count,
        [0] * count,
        {},
        block.entered_ns,
    )
    return work, Collection(block, keys)
