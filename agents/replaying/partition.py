"""One partition's requests of one model, with what became of them, as three logs are read in step.

Requests are those that name the model, in body or header, and no version: one that does name a version
would not be the candidate's to answer. Records of the other two logs that nobody of ours wrote are
passed over. `tests/agents/replaying/test_replay.py`.
"""

from collections.abc import AsyncGenerator, Iterable, Iterator
from typing import NamedTuple

import msgspec

from chimera.agents.replaying.history import History, Span
from chimera.agents.replaying.joining import Joining, Pair
from chimera.schemas import headers as names
from chimera.schemas import outcomes
from chimera.schemas.errors import SchemaInvalid
from chimera.schemas.outcomes import Outcome
from chimera.schemas.request_heads import UNREADABLE
from chimera.schemas.stored import Stored


class Spans(NamedTuple):
    """What is read of one partition."""

    requests: Span
    results: Span
    letters: Span


class _Named(msgspec.Struct):
    model_name: str | None = None
    model_version: str | None = None


_NAMED = msgspec.json.Decoder(_Named)


class Partition:
    """Read once, by `pairs`; the counts are of what was read so far."""

    def __init__(self, history: History, spans: Spans, model: str) -> None:
        self.spans, self.pinned = spans, 0
        self._model = model
        self._requests, self._results, self._letters = map(history.reader, spans)
        self._joining = Joining()

    @property
    def read(self) -> int:
        """How many offsets of the requests."""
        return self._requests.position - self.spans.requests.start

    @property
    def unanswered(self) -> int:
        return self._joining.unanswered

    @property
    def is_cut(self) -> bool:
        return self._requests.is_cut or self._results.is_cut

    async def pairs(self) -> AsyncGenerator[list[Pair]]:
        """Some at a time, in the order in which both of each were read.

        Raises:
            KafkaUnavailable, Damaged: a log cannot be read.
        """
        requests, joining = self._requests, self._joining
        while True:
            has_outcomes = not (self._results.is_at_end and self._letters.is_at_end)
            if not requests.is_at_end and (joining.wants_requests or not has_outcomes):
                ours = self._ours(await requests.read())
                found = joining.add_requests(ours, requests.position)
            elif has_outcomes:
                found = await self._outcomes()
            else:
                break
            yield found if has_outcomes else [*found, *joining.finish()]
        yield joining.finish()

    def _ours(self, records: Iterable[Stored]) -> Iterator[Stored]:
        for record in records:
            model, version = _named(record)
            if model == self._model:
                self.pinned += bool(version)
                if not version:
                    yield record

    async def _outcomes(self) -> list[Pair]:
        """The next piece of results, and of dead letters."""
        where = self.spans.requests.topic, self.spans.requests.partition
        results = _results(await self._results.read(), where)
        found = self._joining.add_outcomes(results, self.spans.requests.stop)
        self._joining.add_letters(_letters(await self._letters.read(), where))
        return found


def _named(record: Stored) -> tuple[str, str]:
    """The model that a request is for, and the version if it says one; empty: cannot be read."""
    value = record.value or b""
    headers = dict(record.headers) if record.headers else {}
    length = headers.get(names.HEAD_LENGTH) or b""
    try:
        body = _NAMED.decode(value[: int(length)] if length.isdigit() else value)
    except (*UNREADABLE, ValueError):
        return "", ""
    model = body.model_name or (headers.get(names.MODEL) or b"").decode("utf-8", "replace")
    return model, body.model_version or str(headers.get(names.MODEL_VERSION) or "")


def _results(records: Iterable[Stored], where: tuple[str, int]) -> Iterator[tuple[int, Outcome]]:
    for record in records:
        offset = _offset(record, where, outcomes.RESULT)
        if offset is not None:
            try:
                found = outcomes.read(record.value, record.headers)
            except SchemaInvalid:
                continue
            yield offset, found


def _letters(records: Iterable[Stored], where: tuple[str, int]) -> Iterator[tuple[int, str]]:
    for record in records:
        offset = _offset(record, where, outcomes.DEAD_LETTER)
        code = dict(record.headers).get(names.ERROR_CODE)
        if offset is not None and code:
            yield offset, code.decode("utf-8", "replace")


def _offset(record: Stored, where: tuple[str, int], named: tuple[str, str, str]) -> int | None:
    """Of the request that it is about, if that is in this partition."""
    try:
        found = outcomes.request_of(record.headers, named)
    except SchemaInvalid:
        return None
    return found[2] if found is not None and found[:2] == where else None
