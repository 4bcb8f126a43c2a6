"""What one call of a tier says about that tier: one outcome for a whole batch, however it was cut.

A request that its model refuses says nothing of the tier that ran it, so it neither opens a breaker
nor closes one. A batch that was halved until its culprits were alone is one call: the tier computed
as soon as one of its requests was computed. `tests/workers/dispatching/test_outcomes.py`.
"""

from enum import StrEnum

from chimera.schemas.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    ModelFailed,
    OutOfMemory,
    RequestError,
    WorkerCrashed,
)
from chimera.workers.backends.protocol import DeviceLost


class Outcome(StrEnum):
    COMPUTED = "computed"
    REFUSED = "refused"  # a request's own failure
    UNFINISHED = "unfinished"  # given up for its caller's sake, before the tier's time-out
    FAILED = "failed"  # the whole batch
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    DEVICE_LOST = "device_lost"


ERRORS = frozenset((Outcome.FAILED, Outcome.TIMED_OUT, Outcome.OUT_OF_MEMORY, Outcome.DEVICE_LOST))


def outcome_of(error: BaseException | None, *, requests: int, computed: int) -> Outcome:
    """Of a call with so many requests, of which so many were computed; `error` is of the others.

    A model that fails with one request alone may be right about it: `REFUSED`. That it was not
    shows when another tier computes the same request (`Dispatcher.contradict`).
    """
    match error:
        case None:
            return Outcome.COMPUTED
        case DeviceLost():
            return Outcome.DEVICE_LOST
        case TimeoutError():
            return Outcome.TIMED_OUT
        case _ if computed:
            return Outcome.COMPUTED
        case MemoryError() | OutOfMemory():
            return Outcome.OUT_OF_MEMORY
        case DeadlineExceeded():
            return Outcome.UNFINISHED
        case ModelFailed():
            return Outcome.REFUSED if requests == 1 else Outcome.FAILED
        case BackendUnavailable() | WorkerCrashed():
            return Outcome.FAILED
        case RequestError():
            return Outcome.REFUSED
        case _:
            return Outcome.FAILED
