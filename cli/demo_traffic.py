"""The demo's traffic: publish the plan, and record whatever becomes visible until all is answered.

    burst ── all at once, in batches ─────────── requests/s: until the last result is visible
    paced ── an open loop at a fixed rate ────── latency: from each request's scheduled time
    end   ── the node has stopped ── topics read to their end ── nothing more can come

One consumer reads results and dead letters under `read_committed` all the while, in this process:
its work and the producer's are part of what is measured. `tests/cli/test_demo.py` runs it.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder

from chimera.cli import results
from chimera.cli.demo_requests import Plan, Request
from chimera.cli.results import Coordinates
from chimera.schemas.settings import Settings
from chimera.topics import clients
from chimera.topics.catalogue import Catalogue

RATE = 300  # paced requests a second: well below what two busy cores serve
BATCH_BYTES = 131_072
STALLED_S = 30.0  # nothing new for so long: what is missing counts as lost
DRAIN_S = 15.0
POLL_S = 0.02

Sent = Awaitable[Any]  # of aiokafka's metadata: where the broker put the record or the batch


@dataclass(frozen=True, slots=True)
class Watch:
    """What the traffic needs of whoever shows and keeps the stack."""

    tell: Callable[[int], None]  # how many requests are answered
    require_node: Callable[[], None]  # raises when the node has ended
    stop_node: Callable[[], None]  # returns when it has


@dataclass(slots=True)
class Traffic:
    """What was sent, and what came back; times are `time.monotonic()`."""

    sent: dict[Coordinates, Request] = field(default_factory=dict[Coordinates, Request])
    answers: list[Any] = field(default_factory=list[Any])
    seen_s: list[float] = field(default_factory=list[float])  # of each answer
    dead_letters: list[Any] = field(default_factory=list[Any])
    due_s: dict[Coordinates, float] = field(default_factory=dict[Coordinates, float])  # of paced
    burst: int = 0
    burst_s: float = 0.0  # from the first publish to the last visible result

    @property
    def throughput_rps(self) -> float:
        """Of the burst: publishing, serving and reading back."""
        return self.burst / self.burst_s if self.burst_s else 0.0

    def latencies_ms(self) -> list[float]:
        """Of the paced requests: from the scheduled time to the visible result."""
        found: list[float] = []
        for seen_s, record in zip(self.seen_s, self.answers, strict=True):
            where = results.story(record).request
            if where is not None and where in self.due_s:
                found.append((seen_s - self.due_s[where]) * 1000)
        return found


async def exchange(
    settings: Settings, bootstrap: str, catalogue: Catalogue, plan: Plan, watch: Watch
) -> Traffic:
    """Publish everything and read until all is answered, or nothing comes any more.

    Raises:
        ChimeraError: what `watch.require_node` raises.
    """
    traffic = Traffic()
    topics = [catalogue.results.name, catalogue.dead_letters.name]
    async with (
        results.reading(settings.kafka, bootstrap, topics, start="beginning") as consumer,
        _recording(consumer, traffic, topics[0]) as recording,
        _publishing(settings, bootstrap, catalogue.requests.name) as publisher,
    ):
        wait = _Wait(traffic, recording, watch)
        await _burst(publisher, plan.burst, traffic, wait)
        await _paced(publisher, plan.paced, traffic)
        await wait.until_answered(len(traffic.sent))
        await asyncio.to_thread(watch.stop_node)
        await _drain(consumer)
    return traffic


async def _burst(
    publisher: "_Publisher", requests: Sequence[Request], traffic: Traffic, wait: "_Wait"
) -> None:
    batches = publisher.prepare(requests)
    started_s = time.monotonic()
    traffic.sent.update(await publisher.send(batches))
    await wait.until_answered(len(requests))
    traffic.burst = min(len(requests), len(traffic.seen_s))
    if traffic.burst:
        traffic.burst_s = traffic.seen_s[traffic.burst - 1] - started_s


async def _paced(publisher: "_Publisher", requests: Sequence[Request], traffic: Traffic) -> None:
    start_s = time.monotonic() + 0.1
    sent: list[tuple[Request, float, Sent]] = []
    for number, request in enumerate(requests):
        due_s = start_s + number / RATE
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        sent.append((request, due_s, await publisher.send_one(request)))
    for request, due_s, acknowledged in sent:
        where = await acknowledged
        at = Coordinates(where.topic, where.partition, where.offset)
        traffic.sent[at] = request
        traffic.due_s[at] = due_s


class _Wait:
    def __init__(self, traffic: Traffic, recording: "asyncio.Task[None]", watch: Watch) -> None:
        self._traffic = traffic
        self._recording = recording
        self._watch = watch

    async def until_answered(self, count: int) -> None:
        """Until so many results are visible, or none has come for `STALLED_S`."""
        answers = self._traffic.answers
        seen, moved_s = -1, time.monotonic()
        while len(answers) < count and time.monotonic() - moved_s < STALLED_S:
            if self._recording.done():
                self._recording.result()
            self._watch.require_node()
            if len(answers) != seen:
                seen, moved_s = len(answers), time.monotonic()
                self._watch.tell(seen)
            await asyncio.sleep(POLL_S)
        self._watch.tell(len(answers))


@asynccontextmanager
async def _recording(
    consumer: AIOKafkaConsumer, traffic: Traffic, answers: str
) -> AsyncGenerator["asyncio.Task[None]", None]:
    async def record() -> None:
        while True:
            fetched = await consumer.getmany(timeout_ms=100)
            now_s = time.monotonic()
            for where, records in fetched.items():
                if where.topic == answers:
                    traffic.answers += records
                    traffic.seen_s += itertools.repeat(now_s, len(records))
                else:
                    traffic.dead_letters += records

    task = asyncio.create_task(record())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _drain(consumer: AIOKafkaConsumer) -> None:
    """Until the recording has read everything that is visible; the node has stopped before."""
    for _ in range(int(DRAIN_S / POLL_S)):
        if await results.is_at_end(consumer):
            return
        await asyncio.sleep(POLL_S)


Batch = tuple[int, BatchBuilder, list[Request]]


class _Publisher:
    """Sends requests to the partitions of their keys, as any producer would."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, partitions: Iterable[int]) -> None:
        self._producer = producer
        self._topic = topic
        self._partitions = sorted(partitions)
        self._choose = DefaultPartitioner()

    def prepare(self, requests: Iterable[Request]) -> list[Batch]:
        """Record batches of `BATCH_BYTES`, each for one partition, in order."""
        done: list[Batch] = []
        filling: dict[int, Batch] = {}
        for request in requests:
            partition = self._partition(request)
            batch = filling.get(partition)
            if batch is None or not _append(batch[1], request):
                batch = (partition, self._producer.create_batch(), [])
                _append(batch[1], request)
                filling[partition] = batch
                done.append(batch)
            batch[2].append(request)
        for _, builder, _ in done:
            builder.close()
        return done

    async def send(self, batches: Iterable[Batch]) -> dict[Coordinates, Request]:
        """Returns where the broker put each request, once all are acknowledged."""
        sent: list[tuple[Batch, Sent]] = []
        for batch in batches:
            partition, builder, _ = batch
            future = await self._producer.send_batch(builder, self._topic, partition=partition)
            sent.append((batch, future))
        where: dict[Coordinates, Request] = {}
        for (partition, _, requests), acknowledged in sent:
            first = (await acknowledged).offset
            for number, request in enumerate(requests):
                where[Coordinates(self._topic, partition, first + number)] = request
        return where

    async def send_one(self, request: Request) -> Sent:
        """The returned future is done when the broker has it."""
        sent: Sent = await self._producer.send(
            self._topic,
            request.value,
            key=request.key,
            partition=self._partition(request),
            headers=request.headers,
        )
        return sent

    def _partition(self, request: Request) -> int:
        return int(self._choose(request.key, self._partitions, self._partitions))


def _append(builder: BatchBuilder, request: Request) -> bool:
    added = builder.append(
        timestamp=None, key=request.key, value=request.value, headers=request.headers
    )
    return added is not None


@asynccontextmanager
async def _publishing(
    settings: Settings, bootstrap: str, topic: str
) -> AsyncGenerator[_Publisher, None]:
    producer = AIOKafkaProducer(
        **clients.arguments(settings.kafka, bootstrap, "chimera-demo"),
        enable_idempotence=True,
        max_batch_size=BATCH_BYTES,
    )
    await producer.start()
    try:
        yield _Publisher(producer, topic, await producer.partitions_for(topic))
    finally:
        await producer.stop()
