import pytest

from chimera.agents.following.refusals import AWAY_S, LONGEST, TRIES, Refusals
from chimera.schemas.model_state import ModelState


def state(revision: int = 1) -> ModelState:
    return ModelState(
        tenant="default", model="digits", revision=revision, changed_ms=0, command_id="c"
    )


def test_what_was_refused_is_tried_later_each_time_and_then_no_more() -> None:
    refusals, wanted, now_s = Refusals(15.0), state(), 100.0
    pauses: list[float] = []
    for tries in range(1, TRIES):
        assert refusals.may_be_tried(wanted, now_s)
        assert refusals.refused(wanted, now_s) == tries
        pause_s = 15.0 * min(2 ** (tries - 1), LONGEST)
        assert not refusals.may_be_tried(wanted, now_s + pause_s - 0.1)
        now_s += pause_s
        pauses.append(pause_s)
    assert pauses == sorted(pauses) and pauses[-1] == 15.0 * LONGEST
    assert refusals.refused(wanted, now_s) == TRIES
    assert not refusals.may_be_tried(wanted, now_s + 10**9)


def test_new_state_is_tried_at_once_and_counts_anew() -> None:
    refusals = Refusals(15.0)
    refusals.refused(state(), 0.0)
    new = state(2)
    assert refusals.may_be_tried(new, 0.0) and not refusals.has_failed(new)
    assert refusals.refused(new, 0.0) == 1


def test_store_that_is_away_is_asked_again_and_again() -> None:
    refusals, wanted = Refusals(15.0), state()
    for turn in range(100):
        refusals.away(wanted, turn * AWAY_S)
        assert not refusals.may_be_tried(wanted, turn * AWAY_S + AWAY_S - 0.1)
        assert refusals.may_be_tried(wanted, turn * AWAY_S + AWAY_S)


@pytest.mark.parametrize("how", ["away", "refused"])
def test_what_is_there_has_not_failed(how: str) -> None:
    refusals, wanted = Refusals(15.0), state()
    getattr(refusals, how)(wanted, 0.0)
    assert refusals.has_failed(wanted)
    refusals.passed("digits")
    assert not refusals.has_failed(wanted) and refusals.may_be_tried(wanted, 0.0)
