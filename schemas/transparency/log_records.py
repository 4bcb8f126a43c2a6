"""`audit.log`: one record a leaf, in sequence; what a record of it says beside its leaf.

    value                   the leaf's canonical bytes
    chimera-log-index       its place in the log, decimal: offsets have gaps, for Kafka's own markers
    chimera-compact-range   of the log up to and with this leaf (`compact_range`)
    chimera-covered         which offsets of each lane have leaves so far (`coverage`), as JSON
    chimera-read            how far each input was read (`positions`), as JSON

The last three stand in the last record of each transaction: who sequences starts again from there,
and from nothing else. `tests/schemas/transparency/test_log_records.py`.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from chimera.schemas import headers as names
from chimera.schemas.batches import Encoded, encode_keyless
from chimera.schemas.errors import EvidenceMalformed
from chimera.schemas.headers import VARINTS, header, varint
from chimera.schemas.transparency import chain
from chimera.schemas.transparency.compact_range import CompactRange
from chimera.schemas.transparency.merkle import leaf_hash
from chimera.schemas.transparency.row import Row
from chimera.schemas.transparency.sizes import decode_size

LOG_INDEX = "chimera-log-index"
COMPACT_RANGE = "chimera-compact-range"
COVERED = "chimera-covered"
READ = "chimera-read"
BATCH_BYTES = 800_000  # of leaves, before compression; the topic takes a MiB

Headers = Sequence[tuple[str, bytes | None]]


class Indexed(NamedTuple):
    """A leaf and its place."""

    log_index: int
    body: bytes


def encode_records(
    first: int, bodies: Sequence[bytes], tree: CompactRange, covered: bytes, read: bytes
) -> list[Encoded]:
    """Batches of leaves `first` and following, at least one; the others are the log's after the last."""
    opening = b"\2" + header(LOG_INDEX, b"")[:-1]  # of one header, without the length of its value
    digits = [b"%d" % number for number in range(first, first + len(bodies))]
    ends = [opening + VARINTS[len(one)] + one for one in digits]
    told = (
        (LOG_INDEX, digits[-1]),
        (COMPACT_RANGE, tree.encode()),
        (COVERED, covered),
        (READ, read),
    )
    ends[-1] = varint(len(told)) + names.headers(told)
    return [
        encode_keyless(bodies[start:stop], ends[start:stop], "snappy")
        for start, stop in pairwise([*_cuts(bodies), len(bodies)])
    ]


def _cuts(bodies: Sequence[bytes]) -> list[int]:
    """Where a batch begins, so that none has more than its bytes, unless one leaf has."""
    ends, found, before = list(accumulate(map(len, bodies))), [0], 0
    while (cut := bisect_right(ends, before + BATCH_BYTES)) < len(bodies):
        found.append(max(cut, found[-1] + 1))
        before = ends[found[-1] - 1]
    return found


def index_of(headers: Headers) -> int:
    """A record's place in the log. Raises EvidenceMalformed: it does not say."""
    for name, value in headers:
        if name == LOG_INDEX and value is not None:
            return decode_size(value.decode("ascii", "replace"), f"audit.log: {LOG_INDEX}")
    raise EvidenceMalformed(f"audit.log: a record without {LOG_INDEX}")


def rows(leaves: Iterable[Indexed]) -> Iterator[Row]:
    """As they would rest in a table: both hashes beside each leaf, from the log's first on."""
    previous = chain.START
    for log_index, body in leaves:
        hashed = leaf_hash(body)
        previous = chain.link(previous, hashed)
        yield Row(log_index, body, hashed, previous)
