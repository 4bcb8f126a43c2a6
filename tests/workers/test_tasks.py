from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chimera.workers.tasks import Task, halves, name_of
from tests.workers.fakes import served, task
from tests.workers.rig import request, work

ONE = served()


def of(count: int, lane: int = 1, **fields: Any) -> Task:
    return task(ONE, work([request((0, at)) for at in range(count)], lane, 100, **fields))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_halves_are_about_equal_and_keep_the_order(sizes: list[int]) -> None:
    tasks = [of(size, lane) for lane, size in enumerate(sizes)]
    total = sum(sizes)
    if total < 2:
        return
    first, second = halves(tasks)
    assert sum(map(len, first)) == total // 2
    whole = [(one.lane, offset) for one in tasks for offset in one.offsets]
    assert [(one.lane, offset) for one in first + second for offset in one.offsets] == whole


def test_cut_keeps_lists_parallel() -> None:
    whole = of(5)
    cut = whole.cut(1, 3)
    assert (cut.offsets, cut.indexes, len(cut.requests)) == ([101, 102], [1, 2], 2)
    assert whole.cut(0, 5) is whole
    picked = whole.pick([0, 4])
    assert (picked.offsets, picked.indexes) == ([100, 104], [0, 4])


def test_expired_are_those_with_a_deadline_in_the_past() -> None:
    timed = of(4, deadlines=[0, 10, 11, 12])
    assert timed.expired(11) == [1]
    assert timed.cut(1, 4).expired(12) == [0, 1]


def test_request_without_an_id_is_named_by_where_it_came_from() -> None:
    extras = {1: {"origin": "inference.requests:7:5"}}
    given = work([request((0, 1)), request((0, 1)), request((0, 1), id="own")], extras=extras)
    assert task(ONE, given).names == ["inference.requests:1:0", "inference.requests:7:5", "own"]
    assert name_of(given, 1) == "inference.requests:7:5"
