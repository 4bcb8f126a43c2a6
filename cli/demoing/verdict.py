"""The demo's judge: every request that was sent against every record that was read back. Pure.

    lost         a request without a result
    duplicated   a result, or a dead letter, for a request that has one already
    mismatched   an outcome that is not this request's: another error code, id, key or partition, scores
                 that are not those of its digit and its version, a digest that is not its version's, an
                 order that is not its partition's, a dead letter that is missing, uncalled for, or not
                 the request's own bytes; a record of nobody's

`tests/cli/demoing/test_verdict.py` shows each of them to it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from chimera.cli.asking import results
from chimera.cli.asking.results import Coordinates, Record
from chimera.cli.demoing.requests import BROKEN, Digits, Request
from chimera.schemas import headers as names
from chimera.schemas.errors import RequestError
from chimera.schemas.tensors import Array

TOLERANCE = 1e-4  # of a probability, between torch and the served ONNX file
TOLD = 5  # complaints that are kept in words


@dataclass(slots=True)
class Verdict:
    requests: int = 0
    results: int = 0
    outcomes: Counter[str] = field(default_factory=Counter[str])  # by code; ok: a response
    dead_letters: Counter[str] = field(default_factory=Counter[str])  # by code
    expected: Counter[str] = field(default_factory=Counter[str])  # dead letters, by code
    lost: int = 0
    duplicated: int = 0
    mismatched: int = 0
    valid: int = 0  # requests that had to be served
    answered: Counter[str] = field(default_factory=Counter[str])  # by the version that served
    right: Counter[str] = field(default_factory=Counter[str])  # digits recognised, by version
    complaints: list[str] = field(default_factory=list[str])

    @property
    def accuracy(self) -> float:
        """Over all valid requests: one without an answer counts as wrong."""
        return self.right.total() / self.valid if self.valid else 0.0

    @property
    def is_exact(self) -> bool:
        return self.lost == self.duplicated == self.mismatched == 0

    def complain(self, what: str) -> None:
        if len(self.complaints) < TOLD:
            self.complaints.append(what)


def judge(
    sent: Mapping[Coordinates, Request],
    answers: Iterable[Record],
    dead_letters: Iterable[Record],
    digits: Digits,
) -> Verdict:
    """Compare; records are in the order of their partitions, as a consumer reads them."""
    bench = _Bench(sent, digits)
    for record in answers:
        bench.answer(record)
    for record in dead_letters:
        bench.dead_letter(record)
    return bench.close()


class _Bench:
    def __init__(self, sent: Mapping[Coordinates, Request], digits: Digits) -> None:
        self._sent = sent
        self._digits = digits
        self._answered: set[Coordinates] = set()
        self._copied: set[Coordinates] = set()
        self._last: dict[int, int] = {}  # partition -> offset of its latest answered request
        self._verdict = Verdict(requests=len(sent))
        for request in sent.values():
            if request.code is None:
                self._verdict.valid += 1
            else:
                self._verdict.expected[request.code] += 1

    def answer(self, record: Record) -> None:
        verdict = self._verdict
        verdict.results += 1
        story = results.story(record)
        verdict.outcomes[story.code or "ok"] += 1
        if (found := self._first(story, "result", self._answered)) is None:
            return
        where, request = found
        wrong = self._wrong_place(record, where) or self._wrong(record, story, request)
        if wrong:
            self._mismatch(f"{request.id} ({request.kind}): {wrong}")

    def dead_letter(self, record: Record) -> None:
        verdict = self._verdict
        story = results.story(record, results.DEAD_LETTER)
        verdict.dead_letters[story.code or "no code"] += 1
        if (found := self._first(story, "dead letter", self._copied)) is None:
            return
        _, request = found
        if story.code != request.code:
            self._mismatch(f"{request.id}: dead letter {story.code}, should be {request.code}")
        elif (record.key, record.value) != (request.key, request.value):
            self._mismatch(f"{request.id}: its dead letter has other bytes")

    def close(self) -> Verdict:
        verdict = self._verdict
        for where, request in self._sent.items():
            if where not in self._answered:
                verdict.lost += 1
                verdict.complain(f"{request.id} ({request.kind}): no result")
            elif request.code is not None and where not in self._copied:
                self._mismatch(f"{request.id} ({request.kind}): no dead letter")
        return verdict

    def _first(
        self, story: results.Story, what: str, seen: set[Coordinates]
    ) -> tuple[Coordinates, Request] | None:
        """The request that a record is the first one of; none: nobody's, or another has come."""
        request = self._sent.get(story.request) if story.request else None
        if story.request is None or request is None:
            self._mismatch(f"a {what} of nobody's request: {story.request}")
            return None
        if story.request in seen:
            self._verdict.duplicated += 1
            self._verdict.complain(f"{request.id}: a second {what}")
            return None
        seen.add(story.request)
        return story.request, request

    def _wrong_place(self, record: Record, where: Coordinates) -> str:
        before = self._last.get(where.partition, -1)
        self._last[where.partition] = max(before, where.offset)
        if record.partition != where.partition:
            return f"sent to partition {where.partition}, answered in {record.partition}"
        if where.offset < before:
            return f"offset {where.offset} is answered after {before}"
        return ""

    def _wrong(self, record: Record, story: results.Story, request: Request) -> str:
        """What of an outcome is not this request's; nothing: it is right."""
        if story.code != request.code:
            return f"outcome {story.code or 'ok'}, should be {request.code or 'ok'}"
        if record.key != request.key:
            return f"key {record.key!r}, should be {request.key!r}"
        value = record.value or b""
        try:
            head = results.head_of(value, story.head)
            name = head.get("id")
            if name != request.id and request.kind != BROKEN:  # its id could not be read
                return f"id {name!r}"
            if request.code is None:
                outputs = results.outputs(value, story.head)
                digest = (dict(record.headers).get(names.MODEL_DIGEST) or b"").decode()
                return self._wrong_answer(outputs, request, str(head["model_version"]), digest)
        except (ValueError, LookupError, TypeError, RequestError) as error:
            return f"its result cannot be read: {error!r}"
        return ""

    def _wrong_answer(
        self, outputs: dict[str, Array], request: Request, version: str, digest: str
    ) -> str:
        known = self._digits.scores.get(version)
        if known is None or digest != self._digits.digests[version]:
            return f"version {version} does not have the digest {digest}"
        self._verdict.answered[version] += 1
        if int(outputs["digit"][0]) == int(self._digits.labels[request.digit]):
            self._verdict.right[version] += 1
        if not np.allclose(outputs["scores"][0], known[request.digit], atol=TOLERANCE):
            return f"the scores are not those of its digit, by version {version}"
        return ""

    def _mismatch(self, what: str) -> None:
        self._verdict.mismatched += 1
        self._verdict.complain(what)
