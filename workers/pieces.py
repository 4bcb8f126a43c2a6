"""Works cut into smaller works: to hand them on in pieces, or again without what was answered.

`tests/workers/test_pieces.py`.
"""

from collections.abc import Sequence
from dataclasses import replace

from chimera.schemas.work import Block, Work

PIECE_RECORDS = 512
PIECE_BYTES = 4 << 20  # a single larger request is a piece of its own


def pieces(work: Work) -> list[Work]:
    """A work in pieces that a frame and an executor take well."""
    count = len(work.offsets)
    sizes = [len(value) for value in work.values]
    if count <= PIECE_RECORDS and sum(sizes) <= PIECE_BYTES:
        return [work]
    found: list[Work] = []
    start = size = 0
    for at, length in enumerate(sizes):
        if at > start and (at - start == PIECE_RECORDS or size + length > PIECE_BYTES):
            found.append(part(work, range(start, at)))
            start, size = at, 0
        size += length
    found.append(part(work, range(start, count)))
    return found


def part(work: Work, indexes: Sequence[int], *, isolate: bool | None = None) -> Work:
    """Some requests of a work as a work of their own."""
    extras = work.extras
    return replace(
        work,
        offsets=[work.offsets[at] for at in indexes],
        values=[work.values[at] for at in indexes],
        heads=[work.heads[at] for at in indexes],
        deadlines=[work.deadlines[at] for at in indexes],
        extras={new: extras[at] for new, at in enumerate(indexes) if at in extras}
        if extras
        else {},
        isolate=work.isolate if isolate is None else isolate,
    )


def without(given: Work | Block, offsets: frozenset[int]) -> Work | Block | None:
    """What is left of it without these; a block, which nobody has read, goes with its first one."""
    if isinstance(given, Block):
        return None if given.first in offsets else given
    if offsets.isdisjoint(given.offsets):
        return given
    kept = [at for at, offset in enumerate(given.offsets) if offset not in offsets]
    return part(given, kept) if kept else None
