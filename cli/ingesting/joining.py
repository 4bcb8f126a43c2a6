"""One commit of an ingestion: outcomes and labels in, rows and refusals out, in a ledger's transaction.

    asked     answered requests by their ids, kept for the window
    waiting   labels that came before their requests' results, kept as long

`tests/cli/ingesting/test_ingestion.py`.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from chimera.schemas import headers as names
from chimera.schemas import inference, outcomes, request_heads
from chimera.schemas.errors import BackendUnavailable, RequestError, SchemaInvalid, TrainingRefused
from chimera.schemas.inference import Request
from chimera.schemas.manifest import is_name
from chimera.schemas.request_heads import Named
from chimera.schemas.stored import Stored
from chimera.schemas.training_sample import decode_sample, each
from chimera.stores.samples import Commit, Rejected, Sample, Samples
from chimera.workers.claims import Claims
from chimera.workers.training import labelling
from chimera.workers.training.labelling import Asked, Given


class Pair(NamedTuple):
    """What a label is joined with, as it lies in Kafka; None: retention has removed it."""

    request: Stored | None
    result: Stored | None


class Joining:
    """Of one folder of samples."""

    def __init__(
        self, samples: Samples, requests: str, window_ms: int, claims: Claims, patience_s: float
    ) -> None:
        """`requests`: the topic that results speak of; `patience_s`: for claims that do not come."""
        self._ledger = samples.ledger
        self._requests, self._window_ms, self._claims = requests, window_ms, claims
        self._lost_s, self._patience_s = 0.0, patience_s

    def position(self, topic: str, partition: int) -> int:
        """The next offset to be read; 0 at first."""
        found = self._ledger.execute(
            "SELECT next FROM positions WHERE topic = ? AND partition = ?", (topic, partition)
        ).fetchone()
        return int(found[0]) if found else 0

    def move(self, topic: str, partition: int, position: int) -> None:
        self._ledger.execute(
            "INSERT OR REPLACE INTO positions VALUES (?, ?, ?)", (topic, partition, position)
        )

    def add_results(self, partition: int, results: Iterable[Stored]) -> None:
        """What was answered. A repeated result, or one of a foreign record, changes nothing."""
        rows = [row for one in results if (row := self._asked(partition, one)) is not None]
        self._ledger.executemany("INSERT OR IGNORE INTO asked VALUES (?,?,?,?,?,NULL,?)", rows)

    def add_labels(self, partition: int, labels: Iterable[Stored], commit: Commit) -> None:
        """All wait, until `ready` tells those whose requests are known."""
        for one in labels:
            try:
                sample = decode_sample(one.value or b"")
                if one.key not in (None, sample.id.encode()):
                    raise TrainingRefused("the key is another id")
            except (RequestError, TrainingRefused) as error:
                refused = Rejected(partition, one.offset, "malformed", "", str(error))
                commit.rejected.append(refused)
                continue
            observed = one.timestamp if sample.observed_ms is None else sample.observed_ms
            label = msgspec.json.encode(sample.label).decode()
            row = (partition, one.offset, sample.id, label, observed, one.timestamp)
            self._ledger.execute("INSERT OR IGNORE INTO waiting VALUES (?,?,?,?,?,?)", row)

    def ready(self) -> list[Given]:
        """Labels that wait and whose requests were answered, in the order of their offsets."""
        found = self._ledger.execute(
            "SELECT partition, offset, id, label, observed_ms FROM waiting"
            " WHERE id IN (SELECT id FROM asked) ORDER BY partition, offset"
        )
        return [Given(*row) for row in found.fetchall()]

    def asked(self, id: str) -> list[Asked]:
        found = self._ledger.execute(
            "SELECT partition, offset, result_offset, is_error, label FROM asked WHERE id = ?",
            (id,),
        )
        return [Asked(row[0], row[1], row[2], bool(row[3]), row[4]) for row in found.fetchall()]

    async def decide(
        self, label: Given, pairs: dict[tuple[int, int], Pair], commit: Commit
    ) -> None:
        """A row of it, or a refusal; it waits no longer.

        Raises:
            BackendUnavailable: the storage of a claim check does not answer; the label still waits.
        """
        one = labelling.candidate(label, self.asked(label.id))
        if isinstance(one, str):
            found: list[Sample] | Rejected = _rejected(label, one)
        else:
            found = await self._joined(label, pairs[one.partition, one.offset])
        self._ledger.execute(
            "DELETE FROM waiting WHERE partition = ? AND offset = ?",
            (label.partition, label.offset),
        )
        if isinstance(found, Rejected):
            commit.rejected.append(found)
        elif isinstance(one, Asked):
            commit.add(found)
            self._ledger.execute(
                "UPDATE asked SET label = ? WHERE id = ? AND partition = ? AND offset = ?",
                (label.label, label.id, one.partition, one.offset),
            )

    def forget(self, before_ms: int, commit: Commit) -> None:
        """Requests out of the window, and labels that have waited for it."""
        old = self._ledger.execute(
            "SELECT partition, offset, id, id IN (SELECT id FROM asked) FROM waiting"
            " WHERE at_ms < ?",
            (before_ms,),
        )
        commit.rejected += [
            Rejected(partition, offset, "gone" if is_known else "unknown", id)
            for partition, offset, id, is_known in old.fetchall()
        ]
        self._ledger.execute("DELETE FROM waiting WHERE at_ms < ?", (before_ms,))
        self._ledger.execute("DELETE FROM asked WHERE at_ms < ?", (before_ms,))

    def _asked(self, partition: int, result: Stored) -> tuple[object, ...] | None:
        try:
            request = outcomes.request_of(result.headers)
            outcome = outcomes.read(result.value, result.headers)
        except RequestError:
            return None
        named = request_heads.identify(outcome.value, outcome.head)
        if request is None or named.id is None or request[:2] != (self._requests, partition):
            return None
        is_error = bool(outcome.code)
        return named.id, partition, request[2], result.offset, is_error, result.timestamp

    async def _joined(self, label: Given, pair: Pair) -> list[Sample] | Rejected:
        if pair.request is None or pair.result is None:
            return _rejected(label, "gone")
        reason = labelling.verdict(label, pair.request.timestamp, self._window_ms)
        if reason is not None:
            return _rejected(label, reason)
        try:
            asked = await self._request(pair.request)
        except BackendUnavailable:
            raise  # later it may be there
        except RequestError as error:
            return _rejected(label, "gone", str(error))
        try:
            return _rows(label, pair.request, asked, pair.result)
        except RequestError as error:
            return _rejected(label, "misfit", str(error))

    async def _request(self, request: Stored) -> Request:
        """With the data of its claim checks. Raises RequestError."""
        headers = dict(request.headers)
        head = int(headers.get(names.HEAD_LENGTH) or -1)
        extra = {
            field: (headers.get(name) or b"").decode("utf-8", "replace")
            for field, name in (("model", names.MODEL), ("version", names.MODEL_VERSION))
            if headers.get(name)
        }
        found = inference.decode(request.value or b"", head, extra)
        return await self._settled(found) if found.claims else found

    async def _settled(self, request: Request) -> Request:
        if self._lost_s > self._patience_s:
            raise BackendUnavailable("the storage was not asked: others did not answer in time")
        began_s = time.monotonic()
        try:
            return await asyncio.to_thread(self._claims.settle, request)
        except BackendUnavailable:
            self._lost_s += time.monotonic() - began_s
            raise


def _rejected(label: Given, reason: str, message: str = "") -> Rejected:
    return Rejected(label.partition, label.offset, reason, label.id, message)


def _rows(label: Given, request: Stored, asked: Request, result: Stored) -> list[Sample]:
    """Raises SchemaInvalid: the labels do not fit."""
    outcome = outcomes.read(result.value, result.headers)
    answer = request_heads.identify(outcome.value, outcome.head)
    if not is_name(answer.model_name):
        raise SchemaInvalid(f"{answer.model_name!r} is no model's name")
    about = _about(label, request, answer, outcome.digest)
    rows = labelling.rows(asked, outcomes.outputs(outcome.value, outcome.head), each(label.label))
    where = (answer.model_name, request.timestamp, label.partition, label.offset)
    return [Sample(*where, about | row) for row in rows]


def _about(label: Given, request: Stored, answer: Named, digest: str) -> dict[str, object]:
    return {
        "request_id": label.id,
        "request_offset": request.offset,
        "requested_ms": request.timestamp,
        "observed_ms": label.observed_ms,
        "model_version": answer.model_version,
        "model_digest": digest,
    }
