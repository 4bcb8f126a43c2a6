"""`audit.log`: one record a leaf, in sequence; what a record of it says beside its leaf.

    value                   the leaf's canonical bytes
    chimera-log-index       its place in the log, decimal: offsets have gaps, for Kafka's own markers
    chimera-compact-range   of the log up to and with this leaf (`compact_range`)
    chimera-covered         which offsets of each lane have leaves so far (`coverage`), as JSON

The last two stand in the last record of each transaction: who sequences starts again from there,
and from nothing else. `tests/schemas/transparency/test_log_records.py`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from chimera.schemas import headers as names
from chimera.schemas.batches import Encoded, encode_all
from chimera.schemas.errors import EvidenceMalformed
from chimera.schemas.headers import SMALL, VARINTS, header, tail, varint
from chimera.schemas.transparency import chain
from chimera.schemas.transparency.checkpoints import decode_decimal
from chimera.schemas.transparency.compact_range import CompactRange
from chimera.schemas.transparency.merkle import leaf_hash
from chimera.schemas.transparency.row import Row

LOG_INDEX = "chimera-log-index"
COMPACT_RANGE = "chimera-compact-range"
COVERED = "chimera-covered"
BATCH_BYTES = 900_000  # before compression; the topic takes a MiB

Headers = Sequence[tuple[str, bytes | None]]


class Indexed(NamedTuple):
    """A leaf and its place."""

    log_index: int
    body: bytes


def encode_records(
    first: int, bodies: Sequence[bytes], tree: CompactRange, covered: bytes
) -> list[Encoded]:
    """Batches of leaves `first` and following, at least one; `tree` is the log's after the last."""
    opening = header(LOG_INDEX, b"")[:-1]  # without the length of its value
    tails: list[bytes] = []
    for number, body in enumerate(bodies[:-1], first):
        size, digits = len(body), b"%d" % number
        length = VARINTS[size] if size < SMALL else varint(size)
        tails.append(b"%b%b\2%b%b%b" % (length, body, opening, VARINTS[len(digits)], digits))
    last = first + len(bodies) - 1
    told = ((LOG_INDEX, b"%d" % last), (COMPACT_RANGE, tree.encode()), (COVERED, covered))
    tails.append(tail(bodies[-1], len(told), names.headers(told)))
    return encode_all([None] * len(tails), tails, BATCH_BYTES, "snappy")


def index_of(headers: Headers) -> int:
    """A record's place in the log. Raises EvidenceMalformed: it does not say."""
    for name, value in headers:
        if name == LOG_INDEX and value is not None:
            return decode_decimal(value.decode("ascii", "replace"), f"audit.log: {LOG_INDEX}")
    raise EvidenceMalformed(f"audit.log: a record without {LOG_INDEX}")


def rows(leaves: Iterable[Indexed]) -> Iterator[Row]:
    """As they would rest in a table: both hashes beside each leaf, from the log's first on."""
    previous = chain.START
    for log_index, body in leaves:
        hashed = leaf_hash(body)
        previous = chain.link(previous, hashed)
        yield Row(log_index, body, hashed, previous)
