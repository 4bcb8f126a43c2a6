"""A place for tests of the sequencer: topics of its own, segments in, the log and its heads out."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from chimera.agents.sequencing.sequencer import Sequencer
from chimera.schemas.audit_settings import AuditSettings
from chimera.schemas.columns import constant, numbers
from chimera.schemas.journal import SegmentHead, encode_segment, framed, key
from chimera.schemas.journal_rows import NO_SLACK, OK, Group, Rows, write_part
from chimera.schemas.server_settings import KafkaSettings
from chimera.schemas.settings import Settings
from chimera.schemas.signing import SigningKey
from chimera.schemas.transparency.log_records import Indexed, rows
from chimera.schemas.transparency.policy import Policy
from chimera.schemas.transparency.verification import Verdict, verify
from chimera.stores.checkpoint_file import head_of
from chimera.topics import admin, clients, log_reader
from chimera.topics.catalogue import Catalogue, catalogue
from tests.schemas.transparency.logs import KEY, ORIGIN, make_policy

WITHIN_S = 60.0
GROUP = Group("default", "digits", "1", "d" * 64, "onnx-cpu", "cpu:0", 2, 90, 700, 800)
Step = Callable[[str], None]


def settings_of(bootstrap: str, prefix: str, folder: Path, **audit: Any) -> Settings:
    known: dict[str, Any] = {
        "origin": ORIGIN,
        "checkpoints_file": folder / "checkpoints.txt",
        "checkpoint_leaves": 30,
        "checkpoint_ms": 50,
        "batch_leaves": 40,
        "poll_ms": 20,
    }
    return Settings(
        kafka=KafkaSettings(
            bootstrap=bootstrap, group=f"{prefix}group", topic_prefix=prefix, partitions=2
        ),
        audit=AuditSettings(**known | audit),
    )


def segment(topic: str, partition: int, start: int, end: int) -> bytes:
    """Of a lane: a row for each offset."""
    count = end - start
    part = Rows(
        (GROUP,),
        (OK,),
        numbers(range(start, end)),
        constant(0, count),
        constant(0, count),
        constant(1_767_225_600_000, count),
        constant(1_300, count),
        constant(250, count),
        constant(NO_SLACK, count),
        constant(0, count),
        [b"r-%d-%d" % (partition, at) for at in range(start, end)],
    )
    head = SegmentHead(
        topic=topic, partition=partition, start=start, next=end, guarantee="exactly_once"
    )
    return encode_segment(head, [framed(write_part(part))])


@dataclass(frozen=True)
class Place:
    """Of one test."""

    settings: Settings
    topics: Catalogue

    @property
    def bootstrap(self) -> str:
        return self.settings.kafka.bootstrap or ""

    @property
    def arguments(self) -> Any:
        return clients.consumer_arguments(self.settings.kafka, self.bootstrap, "test")

    async def journal(self, partition: int, *spans: tuple[int, int]) -> None:
        """Segments of the lane of this partition."""
        topic = self.topics.requests.name
        values = [segment(topic, partition, start, end) for start, end in spans]
        await self._send(self.topics.journal.name, partition, key(topic, partition), values)

    async def act(self, *values: bytes) -> None:
        """On `audit.events`."""
        await self._send(self.topics.audit_events.name, 0, b"ada", values)

    async def publish(self, *values: bytes) -> None:
        """On `audit.checkpoints`, as anybody who may write there."""
        await self._send(self.topics.audit_checkpoints.name, 0, ORIGIN.encode(), values)

    async def _send(self, topic: str, partition: int, name: bytes, values: Any) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, enable_idempotence=True)
        await producer.start()
        try:
            for value in values:
                await producer.send_and_wait(topic, value, key=name, partition=partition)
        finally:
            await producer.stop()

    async def leaves(self) -> list[Indexed]:
        """All that are visible."""
        async with log_reader.reading(self.arguments, self.topics.audit_log.name) as reader:
            return [one async for some in reader.leaves() for one in some]

    async def notes(self) -> list[bytes]:
        name = self.topics.audit_checkpoints.name
        async with log_reader.reading(self.arguments, name) as reader:
            return [one async for some in reader.values() for one in some]

    async def signed(self, size: int, by: Policy | None = None) -> list[bytes]:
        """The checkpoints, once the last, or one that is believed, covers so many leaves."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                notes = await self.notes()
                last = head_of(notes[-1]).size if notes and by is None else 0
                if (last if by is None else by.size_of(notes) or 0) >= size:
                    return notes
                await asyncio.sleep(0.05)

    async def verdict(self, policy: Policy | None = None) -> Verdict:
        """Of all that is published."""
        notes = await self.notes()
        return verify(rows(await self.leaves()), notes, policy or make_policy())


@asynccontextmanager
async def placed(settings: Settings) -> AsyncGenerator[Place]:
    topics = catalogue(settings)
    async with admin.connected(settings.kafka) as client:
        assert not await admin.apply(client, topics, await admin.plan(client, topics))
    yield Place(settings, topics)


@asynccontextmanager
async def sequencing(
    settings: Settings, signing: SigningKey = KEY, *, read_again: bool = False
) -> AsyncGenerator["asyncio.Task[None]"]:
    """A sequencer that has begun; it is stopped at the end, and what ended it is raised."""
    bootstrap = settings.kafka.bootstrap or ""
    sequencer = Sequencer(settings, bootstrap, signing, read_again=read_again)
    async with running_of(sequencer) as running:
        yield running


@asynccontextmanager
async def running_of(sequencer: Sequencer) -> AsyncGenerator["asyncio.Task[None]"]:
    """As `sequencing`, for who looks at its metrics."""
    stop, begun = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(sequencer.run(stop, begun.set))
    try:
        waiting = asyncio.create_task(begun.wait())
        async with asyncio.timeout(WITHIN_S):
            await asyncio.wait((waiting, running), return_when="FIRST_COMPLETED")
        waiting.cancel()
        yield running
    finally:
        stop.set()
        await running


def killer(step: str, visit: int) -> Step:
    """Ends the process when a step is reached for the n-th time."""
    left = visit

    def reached(name: str) -> None:
        nonlocal left
        left -= name == step
        if name == step and left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return reached


def die_at(settings: bytes, step: str, visit: int) -> None:
    """A process that sequences until it is killed at a step."""
    read = Settings.model_validate_json(settings)
    sequencer = Sequencer(read, read.kafka.bootstrap or "", KEY, killer(step, visit))
    asyncio.run(sequencer.run(asyncio.Event()))


Work = Callable[[Place], Awaitable[None]]


def play(settings: Settings, work: Work) -> None:
    """Runs a coroutine function with a place of the test's own."""

    async def placing() -> None:
        async with placed(settings) as place:
            await work(place)

    asyncio.run(placing())
