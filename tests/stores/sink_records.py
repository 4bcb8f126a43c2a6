"""Records of a journal that any process makes the same."""

from chimera.schemas.columns import constant, numbers
from chimera.schemas.guarantees import Guarantee
from chimera.schemas.journal import SegmentHead, encode_segment, framed
from chimera.schemas.journal_rows import NO_SLACK, OK, Group, Rows, write_part
from chimera.stores.source import Record

FIRST_MS = 1_767_225_600_000 - 5_000  # five seconds before a year ends
APART = 2  # offsets of neighbouring segments: Kafka's markers lie between
SIZE = 10  # requests of a segment
GROUP = Group("default", "digits", "1", "d" * 64, "onnx-cpu", "cpu:0", 2, 90, 700, 800, "aa11")
OTHER = Group("acme", "words", "2", "e" * 64, "torch-cpu", "cpu:1", 1, 9, 70, 80)


def record(partition: int, number: int, guarantee: Guarantee = "exactly_once") -> Record:
    """The `number`th segment: requests number * SIZE and the following, a second after the last."""
    start = number * SIZE
    at_ms = FIRST_MS + number * 1_000
    rows = Rows(
        (GROUP, OTHER),
        (OK, "too_large"),
        numbers(range(start, start + SIZE)),
        numbers([at % 2 for at in range(SIZE)]),
        numbers([int(at == 3) for at in range(SIZE)]),
        constant(at_ms - 7, SIZE),
        numbers([1_300 + at for at in range(SIZE)]),
        numbers([2**40, *range(1, SIZE)]),
        numbers([NO_SLACK, -5, *[at * 10 for at in range(2, SIZE)]]),
        constant(0, SIZE),
        [b"id-%d" % (start + at) for at in range(SIZE)],
        input_commitments=bytes(range(32)) * SIZE,
        output_commitments=bytes(range(32, 64)) * SIZE,
    )
    head = SegmentHead(
        topic="inference.requests",
        partition=partition,
        start=start,
        next=start + SIZE,
        guarantee=guarantee,
        node="n:1",
    )
    value = encode_segment(head, [framed(write_part(rows))])
    return Record(partition, number * APART, at_ms, value)
