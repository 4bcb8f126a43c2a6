from hypothesis import given
from hypothesis import strategies as st

from chimera.agents.lanes.deferrals import Deferrals
from chimera.schemas.work import Deferred

OFFSETS = st.sets(st.integers(0, 50))


def deferred(model: str = "digits", until_ms: int = 0) -> Deferred:
    return Deferred(1, [], model, "1" if until_ms else "", until_ms)


def test_requests_of_a_paused_model_wait_until_it_is_resumed() -> None:
    deferrals = Deferrals()
    deferrals.add(deferred("a"), [1, 2], 100)
    deferrals.add(deferred("b"), [3], 150)
    assert deferrals.due(10**9, {"a", "b"}, 0) == {}
    assert deferrals.due(200, {"b"}, 0) == {1: 100, 2: 100}
    assert deferrals.due(200, {"b"}, 0) == {}
    assert deferrals.due(250, (), 0) == {3: 100}
    assert len(deferrals) == 0


def test_requests_whose_tiers_fail_wait_for_their_time_alone() -> None:
    deferrals = Deferrals()
    deferrals.add(deferred(until_ms=500), [1], 100)
    deferrals.add(deferred(until_ms=700), [2], 100)
    assert deferrals.due(499, (), 0) == {}
    assert deferrals.due(500, {"digits"}, 0) == {1: 400}
    assert deferrals.offsets == {2}


def test_requests_that_wait_for_a_tier_try_whoever_answers_now() -> None:
    deferrals = Deferrals()
    deferrals.add(deferred(until_ms=10**9), [1], 100)
    deferrals.add(deferred("paused"), [2], 100)
    assert deferrals.due(200, {"paused"}, 0) == {}
    assert deferrals.due(300, {"paused"}, 1) == {1: 200}
    deferrals.add(deferred(until_ms=10**9), [1], 300)
    assert deferrals.due(400, {"paused"}, 1) == {}


@given(OFFSETS, OFFSETS, st.integers(0, 60))
def test_what_is_committed_is_forgotten_and_nothing_else(
    paused: set[int], failing: set[int], end: int
) -> None:
    deferrals = Deferrals()
    deferrals.add(deferred(), paused, 0)
    deferrals.add(deferred(until_ms=9), failing, 0)
    deferrals.forget_below(end)
    assert deferrals.offsets == {offset for offset in paused | failing if offset >= end}
    assert deferrals.due(9, (), 0).keys() == {
        offset for offset in paused | failing if offset >= end
    }
