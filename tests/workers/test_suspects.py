import os
import time

from hypothesis import given
from hypothesis import strategies as st

from chimera.workers.suspects import Board, Doing

OFFSETS = st.lists(st.integers(0, 2**63 - 1), max_size=20)


@given(st.lists(st.tuples(st.integers(1, 5), OFFSETS), max_size=6))
def test_marks_are_read_by_the_other_side(lanes: list[tuple[int, list[int]]]) -> None:
    node = Board.create()
    executor = Board(os.dup(node.fileno))
    try:
        executor.mark(Doing.COMPUTING, lanes, "digits/1", "onnx-cpu")
        wanted: dict[int, list[int]] = {}
        for lane, offsets in lanes:
            wanted.setdefault(lane, []).extend(offsets)
        assert node.suspects() == wanted
        assert (node.computing(), node.loading()) == (("digits/1", "onnx-cpu"), "")
        executor.clear()
        assert (node.suspects(), node.computing()) == ({}, ("", ""))
    finally:
        node.close()
        executor.close()


def test_board_shows_what_is_done_and_since_when() -> None:
    board = Board.create()
    try:
        before_ns = time.monotonic_ns()
        board.beat()
        board.mark(Doing.DECODING, [(1, [2])])
        sight = board.look()
        assert sight.doing is Doing.DECODING
        assert before_ns <= sight.beat_ns <= sight.since_ns <= time.monotonic_ns()
        board.mark_loading("digits/1")
        assert (board.loading(), board.suspects()) == ("digits/1", {})
        board.mark_shadowing("digits/2")
        assert (board.look().doing, board.shadowing()) == (Doing.SHADOWING, "digits/2")
        assert (board.loading(), board.suspects()) == ("", {})
        board.clear()
        assert board.loading() == board.shadowing() == ""
        assert board.look().doing is Doing.WAITING
    finally:
        board.close()


def test_shorter_mark_leaves_nothing_of_a_longer_one() -> None:
    board = Board.create()
    try:
        board.mark(Doing.COMPUTING, [(1, list(range(100))), (2, [7])])
        board.mark(Doing.COMPUTING, [(3, [9])])
        assert board.suspects() == {3: [9]}
    finally:
        board.close()


def test_more_than_fits_is_cut_and_not_written_beside() -> None:
    board = Board.create()
    try:
        board.mark(Doing.COMPUTING, [(lane, list(range(65_536))) for lane in range(8)])
        found = board.suspects()
        assert set(found) == {0, 1, 2}
        assert all(offsets == list(range(65_536)) for offsets in found.values())
    finally:
        board.close()
