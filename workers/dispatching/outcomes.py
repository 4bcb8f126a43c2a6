"""What one call of a tier says about that tier: one outcome for a whole batch, however it was cut.

A request that its model refuses says nothing of the tier that ran it, so it neither opens a breaker
nor closes one. A batch that was halved until its culprits were alone is one call: the tier computed
as soon as one of its requests was computed. A hang or a lost device is no outcome here: it ends the
executor, and the node tells the next one (`workers/toll.py`). `tests/workers/dispatching/test_outcomes.py`.
"""

from enum import StrEnum

from chimera.schemas.errors import ModelFailed, OutOfMemory, RequestError


class Outcome(StrEnum):
    COMPUTED = "computed"
    REFUSED = "refused"  # a request's own failure
    FAILED = "failed"  # the whole batch
    OUT_OF_MEMORY = "out_of_memory"


ERRORS = frozenset((Outcome.FAILED, Outcome.OUT_OF_MEMORY))


def outcome_of(error: BaseException | None, *, requests: int, computed: int) -> Outcome:
    """Of a call with so many requests, of which so many were computed; `error` is of the others.

    A model that fails with one request alone may be right about it: `REFUSED`. That it was not
    shows when another tier computes the same request (`Dispatcher.contradict`).
    """
    match error:
        case None:
            return Outcome.COMPUTED
        case _ if computed:
            return Outcome.COMPUTED
        case MemoryError() | OutOfMemory():
            return Outcome.OUT_OF_MEMORY
        case ModelFailed():
            return Outcome.REFUSED if requests == 1 else Outcome.FAILED
        case RequestError():
            return Outcome.REFUSED
        case _:
            return Outcome.FAILED
