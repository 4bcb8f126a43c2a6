import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.workers.deaths import EX_MEMORY, legacy, reason, were_alone
from tests.workers.rig import work

OFFSETS = st.sets(st.integers(0, 30))


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 6)), max_size=6), OFFSETS, OFFSETS)
def test_every_request_is_accused_or_computed_again(
    shape: list[tuple[int, int]], first: set[int], second: set[int]
) -> None:
    suspects = {1: first, 2: second}
    abandoned = [work([b"x"] * count, lane, 10 * at) for at, (lane, count) in enumerate(shape)]
    left = legacy(abandoned, suspects)
    again = [(one.lane, offset) for one in left.again for offset in one.offsets]
    accused = [(lane, offset) for lane, offsets in left.accused.items() for offset in offsets]
    whole = [(one.lane, offset) for one in abandoned for offset in one.offsets]
    assert sorted(again + accused) == sorted(whole)
    assert again == [key for key in whole if key not in accused]
    assert all(offset in suspects.get(lane, ()) for lane, offset in accused)
    assert all(offsets for offsets in left.accused.values())


def test_isolated_work_stays_isolated() -> None:
    left = legacy([work([b"x"] * 3, isolate=True)], {1: {1}})
    assert [one.isolate for one in left.again] == [True]
    assert left.accused == {1: [1]}


def test_suspect_was_alone_where_its_work_was_to_be_computed_one_by_one() -> None:
    together, alone = work([b"x"] * 3), work([b"x"] * 3, 2, isolate=True)
    assert not were_alone([together, alone], {1: {1}})
    assert were_alone([together, alone], {1: {1}, 2: {0}})
    assert not were_alone([alone], {2: {7}})


@pytest.mark.parametrize(
    ("killed", "status", "oom_kills", "expected"),
    [
        ("hung", -signal.SIGKILL, 1, "hung"),
        ("", -signal.SIGKILL, 0, "crashed"),
        ("", -signal.SIGKILL, 1, "out_of_memory"),
        ("", -signal.SIGABRT, 1, "crashed"),
        ("", EX_MEMORY, 0, "out_of_memory"),
        ("", 0, 0, "crashed"),
        ("crashed", -signal.SIGKILL, 0, "crashed"),
    ],
)
def test_reason_is_told_where_it_can_be(
    killed: str, status: int, oom_kills: int, expected: str
) -> None:
    assert reason(killed, status, oom_kills=oom_kills) == expected
