"""One partition's part of a fetch: what is handed on, in which runs, and what is left out."""

from collections.abc import Sequence

import pytest

from chimera.agents.lanes.fetched import Fetched, Run
from chimera.schemas import headers, stored
from chimera.schemas.batches import Compression, encode
from tests.schemas.test_stored import sealed

LANE = 4
MANY = 64


def batch(
    first: int,
    count: int,
    *,
    producer_id: int = -1,
    control: int | None = None,
    compression: Compression = "none",
    head: bytes = b"\0",
) -> bytes:
    """`control`: 0 an abort marker, 1 a commit marker; `head`: the headers of each record."""
    key = b"key" if control is None else b"\0\0" + control.to_bytes(2, "big")
    values = [b"value %d" % (first + number) for number in range(count)]
    tails = [headers.varint(len(value)) + value + head for value in values]
    encoded = encode([key] * count, tails, compression)
    raw = bytearray(encoded.sent_by(producer_id, 0, 0, transactional=producer_id >= 0))
    raw[0:8] = first.to_bytes(8, "big")
    if control is not None:
        raw[22] |= stored.CONTROL
    return bytes(raw)


def runs(fetched: Fetched, max_records: int = 100) -> list[Run]:
    found: list[Run] = []
    while fetched.has_more:
        run = fetched.take(max_records)
        if run is not None:
            found.append(run)
    return found


def shown(found: Sequence[Run]) -> list[tuple[int, list[int]]]:
    """Where each run continues from, and its offsets."""
    return [(run.start, [record.offset for record in run.records]) for run in found]


def test_batches_come_together_up_to_a_run() -> None:
    raw = b"".join(batch(first, 4) for first in (0, 4, 8))
    fetched = Fetched("requests", 3, 0, raw)
    first, second = runs(fetched, 8)
    assert (first.topic, first.partition, first.offset, first.next, first.count) == (
        "requests",
        3,
        0,
        8,
        8,
    )
    assert shown([first, second]) == [(0, list(range(8))), (8, [8, 9, 10, 11])]
    assert fetched.position == fetched.continues == 12


def test_position_inside_a_batch_leaves_out_what_lies_before() -> None:
    (run,) = runs(Fetched("requests", 0, 2, batch(0, 4)))
    assert shown([run]) == [(2, [2, 3])]
    assert run.count == 2
    assert runs(Fetched("requests", 0, 4, batch(0, 4))) == []


def test_batch_that_is_larger_than_a_run_is_cut() -> None:
    fetched = Fetched("requests", 0, 1, batch(0, 50) + batch(50, 2), continues=0)
    found = shown(runs(fetched, 10))
    assert [start for start, _ in found] == [0, 11, 21, 31, 41, 50]
    assert [offset for _, offsets in found for offset in offsets] == list(range(1, 52))


def test_aborted_records_and_markers_are_left_out_and_no_hole() -> None:
    raw = b"".join(
        (
            batch(0, 2, producer_id=5),
            batch(2, 2),
            batch(4, 1, producer_id=5, control=0),
            batch(5, 2, producer_id=5),
            batch(7, 1, producer_id=5, control=1),
        )
    )
    fetched = Fetched("requests", 0, 0, raw, aborted=[(5, 0)])
    assert shown(runs(fetched)) == [(0, [2, 3]), (4, [5, 6])]
    assert (fetched.position, fetched.continues) == (8, 7)


def test_fetch_of_nothing_but_markers_moves_the_position_alone() -> None:
    fetched = Fetched("requests", 0, 9, batch(9, 1, producer_id=5, control=1), continues=6)
    assert runs(fetched) == []
    assert (fetched.position, fetched.continues) == (10, 6)


def test_run_of_many_plain_records_can_go_on_unread() -> None:
    raw = batch(7, MANY)
    (run,) = runs(Fetched("requests", 2, 7, raw))
    block = run.block(LANE, MANY, search=True)
    assert block is not None
    assert (block.lane, block.first, block.next, block.count) == (LANE, 7, 71, MANY)
    assert block.raw == raw


@pytest.mark.parametrize(
    "raw",
    [
        batch(0, MANY - 1),
        batch(0, MANY, compression="snappy", head=b"\2" + headers.header(headers.DEADLINE, b"1")),
        batch(0, 40, head=b"\2" + headers.header(headers.DEADLINE, b"1")) + batch(40, 40),
        batch(0, 40) + batch(40, 40, head=b"\2" + headers.header("any", b"1")),
    ],
    ids=["few", "compressed", "deadlines", "headers"],
)
def test_run_that_its_lane_has_to_read_is_no_block(raw: bytes) -> None:
    (run,) = runs(Fetched("requests", 0, 0, raw))
    assert run.block(LANE, MANY, search=True) is None
    assert len(run.records) == run.count


def test_compressed_run_goes_on_unread_while_its_lane_looks_for_no_deadline() -> None:
    (run,) = runs(Fetched("requests", 0, 0, batch(0, MANY, compression="zstd")))
    block = run.block(LANE, MANY, search=False)
    assert block is not None and len(stored.parse(block.raw)) == MANY
    assert run.block(LANE, MANY, search=True) is None


def test_run_that_begins_inside_a_batch_is_no_block() -> None:
    """How many records it has is not known before it is read."""
    first, second = runs(Fetched("requests", 0, 20, batch(0, 200) + batch(200, MANY)), 512)
    assert (first.count, first.block(LANE, MANY, search=True)) == (180, None)
    assert second.block(LANE, MANY, search=True) is not None


def test_what_is_dropped_comes_no_more() -> None:
    fetched = Fetched("requests", 0, 0, batch(0, 4))
    fetched.drop()
    assert not fetched.has_more and fetched.take(10) is None


def test_batch_that_is_withheld_is_handed_on_in_runs() -> None:
    """However many records its header says it has: nobody has unpacked it."""
    most = 2**31 - 1
    raw = bytearray(batch(0, MANY, compression="zstd"))
    raw[23:27], raw[57:61] = (most - 1).to_bytes(4, "big"), most.to_bytes(4, "big")
    fetched = Fetched("requests", 3, 5, sealed(raw))
    first, second = fetched.take(10), fetched.take(10)
    assert first is not None and second is not None
    assert shown([first, second]) == [(5, [*range(5, 15)]), (15, [*range(15, 25)])]
    assert fetched.has_more and fetched.position == 25
