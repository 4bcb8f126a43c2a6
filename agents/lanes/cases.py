"""What a lane knows of its requests beyond their records: how each failed, and whom it killed. Pure.

Most requests have no case. One is opened when a request fails, when it comes from a retry topic, or
when no executor answers it; it says what becomes of the request, and is closed once that is
committed. Deaths are counted apart: a request may kill executors without ever failing.
`tests/agents/test_cases.py`, and through the lane `test_lane.py`.
"""

from collections.abc import Iterable, Mapping

from chimera.agents.lanes.intake import Rules, case_of
from chimera.agents.lanes.outcomes import Case, Error, Later
from chimera.schemas import headers as names
from chimera.schemas.errors import RequestError
from chimera.schemas.manifest import Ordering
from chimera.schemas.request_heads import Named, identify
from chimera.schemas.stored import Stored
from chimera.schemas.work import Failure
from chimera.topics import retry
from chimera.topics.retry import RetryInLane


class Cases:
    """Of one lane."""

    def __init__(self, rules: Rules, policy: retry.Policy, crash_limit: int) -> None:
        self._rules = rules
        self._policy = policy
        self._crash_limit = crash_limit
        self._open: dict[int, Case] = {}
        self.deaths: dict[int, int] = {}  # executors that each offset has killed

    @property
    def offsets(self) -> set[int]:
        """Of all requests that have failed, or killed: somebody has them in hand."""
        return self._open.keys() | self.deaths.keys()

    def add(self, cases: Mapping[int, Case]) -> None:
        """Those that intake has opened."""
        self._open.update(cases)

    def failed(
        self,
        record: Stored,
        kind: type[RequestError],
        failure: Failure,
        ordering: Ordering,
        now_ms: int,
    ) -> Error | Later | RetryInLane:
        """An executor answered with an error: what becomes of the request."""
        case = self._of(record, now_ms)
        case.entered_ms = case.entered_ms or now_ms
        error = Error(
            kind.code,
            failure.message,
            case,
            failure.model,
            failure.id,
            failure.version,
            is_answer=True,
        )
        decision = retry.decide(
            retry.Failed(
                error=kind,
                ordering=ordering,
                attempt=case.attempt,
                entered_ms=case.entered_ms + case.waited_ms,
                first_failure_ms=case.first_failure_ms + case.waited_ms,
                deadline_ms=case.deadline_ms,
            ),
            self._policy,
            now_ms,
        )
        if isinstance(decision, RetryInLane):
            return decision
        if isinstance(decision, retry.RetryOnTopic):
            return Later(decision.rung, decision.not_before_ms, error)
        return error

    def ended(self, record: Stored, error: RequestError, now_ms: int) -> Error:
        """No executor answered, or will be asked: the request ends with this error."""
        case = self._of(record, now_ms)
        named = _identified(record, case)
        return Error(error.code, str(error), case, named.model_name, named.id, named.model_version)

    def _of(self, record: Stored, now_ms: int) -> Case:
        """The case of one more failure."""
        case = self._open.get(record.offset)
        if case is None:
            case = self._open[record.offset] = case_of(self._rules, record)
        case.attempt += 1
        case.first_failure_ms = case.first_failure_ms or now_ms
        return case

    def waited(self, waits_ms: Mapping[int, int]) -> None:
        """So long no executor might compute them: it is not held against those that have failed."""
        for offset in self._open.keys() & waits_ms.keys():
            self._open[offset].waited_ms += waits_ms[offset]

    def attempts(self, offset: int) -> int:
        """How often a request has failed so far."""
        case = self._open.get(offset)
        return 0 if case is None else case.attempt

    def accuse(self, offsets: Iterable[int]) -> dict[int, int]:
        """Each was being computed when an executor died; their new counts."""
        counted = {offset: self.deaths.get(offset, 0) + 1 for offset in offsets}
        self.deaths.update(counted)
        return counted

    def may_be_tried(self, offset: int) -> bool:
        """Whether it has killed fewer executors than it may."""
        return self.deaths.get(offset, 0) < self._crash_limit

    def close_below(self, end: int) -> list[int]:
        """All below are committed; returns those whose deaths may be forgotten."""
        if self._open:
            self._open = {offset: case for offset, case in self._open.items() if offset >= end}
        finished = [offset for offset in self.deaths if offset < end]
        for offset in finished:
            del self.deaths[offset]
        return finished


def _identified(record: Stored, case: Case) -> Named:
    """The names in a request that was never decoded, from its body or its headers."""
    told = dict(case.original)
    length = told.get(names.HEAD_LENGTH) or b""
    head = int(length) if length.isdigit() and len(length) < 10 else -1
    named = identify(record.value or b"", head)
    return Named(
        named.id,
        named.model_name or _text(told.get(names.MODEL)),
        named.model_version or _text(told.get(names.MODEL_VERSION)),
    )


def _text(header: bytes | None) -> str:
    return (header or b"").decode("utf-8", "replace")
