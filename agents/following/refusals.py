"""What a node could not have of its models, and when it tries again: later and later, then no more. Pure.

    away      the store of artifacts did not answer, or lacks something     every few seconds
    refused   executors did not load it, or ended over it                   doubles each time, TRIES times

A full disk passes, a lack of memory too; a file that is broken stays so, and each try starts an
executor. A new state of the model begins anew. `tests/agents/test_refusals.py`.
"""

from dataclasses import dataclass

from chimera.schemas.model_state import ModelState

AWAY_S = 5.0
TRIES = 10  # at 15 s to begin with: over two hours
LONGEST = 64  # times the first pause


@dataclass(slots=True)
class _Failure:
    state: ModelState
    again_s: float
    tries: int = 0  # that executors refused


class Refusals:
    """By model; seconds are monotonic."""

    def __init__(self, first_s: float) -> None:
        """`first_s`: the pause after a first refusal."""
        self._first_s = first_s
        self._failures: dict[str, _Failure] = {}

    def away(self, state: ModelState, now_s: float) -> None:
        """It could not be brought."""
        self._of(state).again_s = now_s + AWAY_S

    def refused(self, state: ModelState, now_s: float) -> int:
        """Executors would not have it; returns how often that was."""
        failure = self._of(state)
        pause_s = self._first_s * min(1 << failure.tries, LONGEST)
        failure.tries += 1
        failure.again_s = now_s + pause_s if failure.tries < TRIES else float("inf")
        return failure.tries

    def may_be_tried(self, state: ModelState, now_s: float) -> bool:
        failure = self._failures.get(state.model)
        return failure is None or failure.state is not state or failure.again_s <= now_s

    def has_failed(self, state: ModelState) -> bool:
        """Whether it was tried, in vain."""
        failure = self._failures.get(state.model)
        return failure is not None and failure.state is state

    def passed(self, model: str) -> None:
        """It is there."""
        self._failures.pop(model, None)

    def _of(self, state: ModelState) -> _Failure:
        failure = self._failures.get(state.model)
        if failure is None or failure.state is not state:
            failure = self._failures[state.model] = _Failure(state, 0.0)
        return failure
