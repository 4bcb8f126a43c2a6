"""A block as its executor reads it, and its results until all of them are there.

A block's requests are plain, so their results can go to Kafka as they leave the executor: record
batches, compressed, in the requests' order. The node puts its producer's numbers before them and
looks at no record, neither of the request nor of the result. As soon as one request fails, the
lane has decisions to make: the block is answered request by request then, like any work.
`tests/workers/test_collection.py`, and with real executors `test_blocks.py`.
"""

from collections.abc import Sequence
from operator import attrgetter

import numpy as np

from chimera.schemas.batches import ENVELOPE_BYTES, Compression, encode_all
from chimera.schemas.columns import Numbers, constant, numbers
from chimera.schemas.stored import Damaged, Stored, heads, parse
from chimera.schemas.work import BatchStory, Block, Results, Work
from chimera.workers.ledger import Ledger, Pages, put

_headers_of = attrgetter("headers")
_timestamp_of = attrgetter("timestamp")

HELD_BYTES = 8 << 20  # more results than that do not wait for each other
HELD_NS = (
    1_000_000_000  # nor for longer: their lane would see no progress, and their callers no results
)


class Collection:
    """Results of one block; `None` where there is none yet."""

    __slots__ = (
        "_block",
        "_keys",
        "_story_of",
        "began_ns",
        "left",
        "pages",
        "size",
        "stories",
        "tails",
    )

    def __init__(self, block: Block, keys: list[bytes | None], pages: Pages | None = None) -> None:
        """`pages`: of the journal, if one is written."""
        self._block = block
        self._keys = keys
        self.pages = pages
        self.tails: list[bytes | None] = [None] * len(keys)
        self._story_of = [0] * len(keys)
        self.left = len(keys)
        self.size = 0
        self.began_ns = 0  # the first of its batches; 0: none has
        self.stories: list[BatchStory] = []

    def may_wait(self, count: int, size: int, waited_ns: int) -> bool:
        """Whether so many, of `size` bytes, may wait with the others; the first began so long ago.

        One by one they are answered soon where a model is slow; nobody waits who is the last.
        """
        if self.size + size > HELD_BYTES:
            return False
        return waited_ns < HELD_NS or count == self.left

    def add(
        self, indexes: Sequence[int], tails: Sequence[bytes], size: int, story: BatchStory
    ) -> None:
        """Results of some of its requests, by their places in the block; `size`: their bytes."""
        put(self.tails, indexes, tails)
        if self.stories:
            put(self._story_of, indexes, [len(self.stories)] * len(indexes))
        self.left -= len(tails)
        self.size += size
        self.stories.append(story)

    def places(self, story: int) -> list[int]:
        """Of the requests that have a result, and were computed in that one of its stories."""
        return [
            at
            for at, (tail, number) in enumerate(zip(self.tails, self._story_of, strict=True))
            if tail is not None and number == story
        ]

    def results(self, max_bytes: int, compression: Compression) -> Results:
        """All of them, when none is left."""
        tails = [tail for tail in self.tails if tail is not None]
        batches = encode_all(self._keys, tails, max_bytes, compression)
        block = self._block
        rows = b"" if self.pages is None else self.pages.parts(self._story_of)
        return Results(
            block.lane, block.first, block.next, tuple(batches), tuple(self.stories), rows
        )


def read(
    block: Block, max_request_bytes: int, ledger: Ledger | None = None
) -> tuple[Work, Collection] | None:
    """The requests of a block; None if they are not all plain, and its lane has to read it."""
    try:
        records = parse(block.raw)
    except Damaged:
        return None  # whoever has it knows what to do
    values = [record.value or b"" for record in records]
    sizes = list(map(len, values))
    keys = [record.key for record in records]
    if (
        not records
        or any(map(_headers_of, records))
        or max(sizes) > max_request_bytes
        or not all(sizes)  # none, or empty: which is not the same, and the lane's to tell
        or max(map(len, filter(None, keys)), default=0) > ENVELOPE_BYTES
    ):
        return None
    count = len(records)
    offsets: Sequence[int] = range(records[0].offset, records[0].offset + count)
    if records[-1].offset != offsets[-1]:
        offsets = [record.offset for record in records]
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
    pages = None
    if ledger is not None:
        pages = ledger.pages(work, sizes, _appended_ms(block.raw, records))
    return work, Collection(block, keys, pages)


def _appended_ms(raw: bytes | memoryview, records: Sequence[Stored]) -> Numbers:
    """When each was appended; made, where its topic keeps that instead."""
    batches = list(heads(raw))
    if not all(batch.is_by_append for batch in batches):
        return numbers(list(map(_timestamp_of, records)))
    times = [batch.last_ms for batch in batches]
    if len(set(times)) == 1:
        return constant(times[0], len(records))
    each: Numbers = np.repeat(numbers(times), [batch.count for batch in batches])
    return each
