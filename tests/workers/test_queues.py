from collections.abc import Sequence

from chimera.schemas.work import Block, Work
from chimera.workers.queues import Queues
from tests.workers.rig import block, work


def filled(*lanes: int) -> Queues:
    """A work for each lane named, numbered by its first offset."""
    queues = Queues()
    for number, lane in enumerate(lanes):
        queues.append(work([b"x"], lane, number))
    return queues


def given_out(queues: Queues, most: int = 100, *, full: Sequence[int] = ()) -> list[int]:
    """Numbers of works in the order in which they were taken; no work of `full` lanes is."""
    found: list[int] = []

    def take(given: Work | Block) -> bool:
        assert isinstance(given, Work)
        if len(found) == most or given.lane in full:
            return False
        found.append(given.offsets[0])
        return True

    queues.give_out(take)
    return found


def test_lanes_take_turns_and_keep_their_order() -> None:
    queues = filled(1, 1, 1, 2, 2, 3)
    assert given_out(queues) == [0, 3, 5, 1, 4, 2]
    assert not queues


def test_turns_go_on_where_they_ended() -> None:
    queues = filled(1, 1, 2, 2)
    assert given_out(queues, 1) == [0]
    assert given_out(queues, 2) == [2, 1]
    assert given_out(queues) == [3]


def test_lane_that_may_have_no_more_holds_up_no_other() -> None:
    queues = filled(1, 2, 1, 2)
    assert given_out(queues, full=[1]) == [1, 3]
    assert queues
    assert given_out(queues) == [0, 2]


def test_work_that_comes_back_goes_first() -> None:
    queues = filled(1, 1)
    queues.prepend(work([b"x"], 1, 7))
    assert given_out(queues) == [7, 0, 1]


def test_dropped_lane_is_gone() -> None:
    queues = filled(1, 2, 1)
    queues.drop(1)
    queues.drop(9)
    assert given_out(queues) == [1]
    queues = filled(1, 2)
    queues.clear()
    assert not queues and given_out(queues) == []


def test_what_is_withdrawn_is_given_to_nobody() -> None:
    queues = Queues()
    for given in (work([b"x"] * 3, 1, 0), block([b"x"] * 3, 1, 3), work([b"x"] * 2, 1, 6)):
        queues.append(given)
    queues.append(work([b"x"], 2, 1))
    queues.withdraw(1, frozenset((1, 3, 4, 5, 6, 7)))
    queues.withdraw(9, frozenset((1,)))
    found: list[tuple[int, list[int]]] = []

    def take(given: Work | Block) -> bool:
        assert isinstance(given, Work)
        found.append((given.lane, list(given.offsets)))
        return True

    assert 1 in queues
    queues.give_out(take)
    assert sorted(found) == [(1, [0, 2]), (2, [1])]
    queues.append(work([b"x"], 1))
    queues.withdraw(1, frozenset((0,)))
    assert not queues
