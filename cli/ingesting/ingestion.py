"""What was served and what is said of it, from Kafka into a folder of samples, up to now.

    inference.results ─┐                       ┌─ model=*/date=*/*.parquet
    training.samples ──┼─ piece ── one commit ─┤
    inference.requests ┘ (those with a label)  └─ rejected/*.jsonl

It joins no group: offsets lie in the ledger, and move with the rows. `tests/cli/ingesting/test_ingestion.py`.
"""

from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager

from chimera.agents.replaying.history import History, Span, opened
from chimera.cli.ingesting.joining import Joining, Pair
from chimera.schemas.errors import BackendUnavailable
from chimera.schemas.settings import Settings
from chimera.schemas.stored import Stored
from chimera.stores.samples import Commit, Samples
from chimera.topics.catalogue import Topic, catalogue
from chimera.workers.claims import Claims
from chimera.workers.training.labelling import Asked, Given, candidate

PATIENCE = 8  # claim checks that run out of time before no more are asked for
NEAR = 512  # offsets between two wanted requests that are read over, rather than asked for anew


class Ingestion:
    """From `opened_ingestion`."""

    def __init__(self, settings: Settings, samples: Samples, history: History) -> None:
        topics, serving = catalogue(settings), settings.serving
        self._requests, self._results = topics.requests.name, topics.results.name
        self._labels = topics.training_samples.name
        self._samples, self._history = samples, history
        self._limit = settings.ingest.commit_records
        self._limit_bytes = settings.ingest.commit_bytes
        self._window_ms = settings.ingest.window_s * 1_000
        timeout_s = serving.claim_timeout_ms / 1_000
        claims = Claims(serving.claim_prefixes, serving.max_claim_bytes, timeout_s)
        self._joining = Joining(
            samples, self._requests, self._window_ms, claims, PATIENCE * timeout_s
        )
        self._newest_ms = 0
        self.missed = 0  # partitions whose log begins behind what was read of it
        self.unsettled: dict[str, str] = {}  # by id: why its claim checks did not come; they wait

    async def run(self) -> None:
        """Everything that is visible now: results, then labels.

        Raises:
            KafkaUnavailable: the brokers do not answer; what was committed stays.
        """
        for topic in (self._results, self._labels):
            for span in await self._history.spans(topic, 0):
                await self._read(span)
        await self._decide_all()
        with self._samples.commit() as commit:  # not before: older labels may have lain behind
            self._joining.forget(self._newest_ms - 2 * self._window_ms, commit)

    async def _read(self, span: Span) -> None:
        start = self._joining.position(span.topic, span.partition)
        self.missed += int(0 < start < span.start)
        left = Span(span.topic, span.partition, max(start, span.start), span.stop)
        reader = self._history.reader(left)
        while not reader.is_at_end:
            records: list[Stored] = []
            while len(records) < self._limit and not reader.is_at_end:
                records += await reader.read()
            with self._samples.commit() as commit:
                self._add(span, records, commit)
                are_left = await self._decide(commit)
                self._joining.move(span.topic, span.partition, reader.position)
            if are_left:
                await self._decide_all()

    def _add(self, span: Span, records: list[Stored], commit: Commit) -> None:
        if span.topic == self._results:
            self._joining.add_results(span.partition, records)
        else:
            self._joining.add_labels(span.partition, records, commit)
        self._newest_ms = max([self._newest_ms, *(one.timestamp for one in records)])

    async def _decide_all(self) -> None:
        are_left = True
        while are_left:
            with self._samples.commit() as commit:
                are_left = await self._decide(commit)

    async def _decide(self, commit: Commit) -> bool:
        """Labels whose requests were answered; whether some are left for another commit."""
        labels = [one for one in self._joining.ready() if one.id not in self.unsettled]
        pairs = await self._pairs(labels)
        for label in labels:
            if commit.size_bytes >= self._limit_bytes:
                return True
            if label.id in self.unsettled:
                continue  # the first label of a request goes first
            try:
                await self._joining.decide(label, pairs, commit)
            except BackendUnavailable as error:
                self.unsettled[label.id] = str(error)
        return False

    async def _pairs(self, labels: Iterable[Given]) -> dict[tuple[int, int], Pair]:
        """Requests and results of labels that may count."""
        found = (candidate(one, self._joining.asked(one.id)) for one in labels)
        wanted = [one for one in found if isinstance(one, Asked)]
        requests, results = defaultdict[int, set[int]](set), defaultdict[int, set[int]](set)
        for one in wanted:
            requests[one.partition].add(one.offset)
            results[one.partition].add(one.result_offset)
        asked = await self._records(self._requests, requests)
        answered = await self._records(self._results, results)
        return {
            (one.partition, one.offset): Pair(
                asked.get((one.partition, one.offset)),
                answered.get((one.partition, one.result_offset)),
            )
            for one in wanted
        }

    async def _records(
        self, topic: str, wanted: dict[int, set[int]]
    ) -> dict[tuple[int, int], Stored]:
        found: dict[tuple[int, int], Stored] = {}
        for partition, offsets in wanted.items():
            for start, stop in near(offsets):
                reader = self._history.reader(Span(topic, partition, start, stop))
                while not reader.is_at_end:
                    for record in await reader.read():
                        if record.offset in offsets:
                            found[partition, record.offset] = record
        return found


def near(offsets: Iterable[int]) -> list[tuple[int, int]]:
    """Ranges that hold all of them, none with a gap of more than `NEAR`."""
    found: list[tuple[int, int]] = []
    for offset in sorted(offsets):
        if found and offset - found[-1][1] <= NEAR:
            found[-1] = (found[-1][0], offset + 1)
        else:
            found.append((offset, offset + 1))
    return found


@asynccontextmanager
async def opened_ingestion(
    settings: Settings, bootstrap: str, samples: Samples
) -> AsyncGenerator[Ingestion]:
    """Raises KafkaUnavailable: no broker, or a topic is missing."""
    topics = catalogue(settings)
    read: tuple[Topic, ...] = (topics.requests, topics.results, topics.training_samples)
    async with opened(settings, bootstrap, [one.name for one in read]) as history:
        yield Ingestion(settings, samples, history)
