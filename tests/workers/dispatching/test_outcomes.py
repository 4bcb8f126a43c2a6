import pytest

from chimera.schemas.errors import REQUEST_ERRORS, ModelFailed, OutOfMemory, SchemaInvalid
from chimera.workers.dispatching.outcomes import ERRORS, Outcome, outcome_of


@pytest.mark.parametrize(
    ("error", "requests", "computed", "expected"),
    [
        (None, 8, 8, Outcome.COMPUTED),
        (ModelFailed("x"), 1, 0, Outcome.REFUSED),
        (ModelFailed("x"), 8, 7, Outcome.COMPUTED),
        (ModelFailed("x"), 8, 0, Outcome.FAILED),
        (SchemaInvalid("x"), 8, 0, Outcome.REFUSED),
        (OutOfMemory("x"), 1, 0, Outcome.OUT_OF_MEMORY),
        (OutOfMemory("x"), 8, 7, Outcome.COMPUTED),
        (MemoryError(), 8, 0, Outcome.OUT_OF_MEMORY),
        (ConnectionResetError(), 1, 0, Outcome.FAILED),
    ],
)
def test_outcome_of_a_call(
    error: BaseException | None, requests: int, computed: int, expected: Outcome
) -> None:
    assert outcome_of(error, requests=requests, computed=computed) is expected


def test_outcome_of_a_single_request_is_the_tiers_only_where_the_tier_broke() -> None:
    blamed = {
        error
        for error in REQUEST_ERRORS
        if outcome_of(error("x"), requests=1, computed=0) in ERRORS
    }
    assert blamed == {OutOfMemory}
