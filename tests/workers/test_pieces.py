from chimera.workers.pieces import PIECE_RECORDS, part, pieces, without
from tests.workers.rig import block, work


def test_part_keeps_lists_parallel_and_extras_with_their_records() -> None:
    whole = work([b"a", b"b", b"c"], start=7, heads=[1, 2, 3], extras={2: {"model": "m"}})
    cut = part(whole, [0, 2])
    assert (cut.offsets, cut.values, cut.heads) == ([7, 9], [b"a", b"c"], [1, 3])
    assert cut.extras == {1: {"model": "m"}}
    assert (cut.lane, cut.topic, cut.entered_ns) == (whole.lane, whole.topic, whole.entered_ns)


def test_large_work_is_handed_on_in_pieces() -> None:
    whole = work([b"x" * 1000] * 1300, extras={600: {"model": "m"}}, heads=list(range(1300)))
    parts = pieces(whole)
    assert [len(one.offsets) for one in parts] == [PIECE_RECORDS, PIECE_RECORDS, 276]
    assert [offset for one in parts for offset in one.offsets] == whole.offsets
    assert [head for one in parts for head in one.heads] == whole.heads
    assert [one.extras for one in parts] == [{}, {88: {"model": "m"}}, {}]
    assert [len(one.offsets) for one in pieces(work([b"x" * (3 << 20)] * 3))] == [1, 1, 1]
    assert pieces(parts[0]) == [parts[0]]


def test_what_is_left_of_a_work_is_what_is_still_wanted() -> None:
    whole = work([b"a", b"b", b"c"], start=7, extras={2: {"model": "m"}})
    left = without(whole, frozenset((7, 8, 100)))
    assert left == part(whole, [2])
    assert without(whole, frozenset((6, 10))) is whole
    assert without(whole, frozenset((7, 8, 9))) is None
    unread = block([b"a", b"b"], start=7)
    assert without(unread, frozenset((7, 8))) is None and without(unread, frozenset((6,))) is unread
