"""What tests of whoever leads a deployment have: topics and a tenant of their own, and processes that die.

`tests/agents/controlling/stage.py` is the controller's, `training/stage.py` the training agent's.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition

from chimera.schemas.settings import Settings
from chimera.topics import admin
from chimera.topics.catalogue import Catalogue, catalogue
from tests.forks import FORKS
from tests.stores.places import Place

TRANSACTION_STEPS = (
    "before_begin",
    "after_produce",
    "after_send_offsets",
    "before_commit",
    "after_commit",
    "after_forget",
)


@dataclass(frozen=True)
class Scene:
    """Of one test."""

    place: Place
    dsn: str
    settings: Settings
    topics: Catalogue

    @property
    def tenant(self) -> str:
        return self.place.tenant.name

    @property
    def bootstrap(self) -> str:
        return self.settings.kafka.bootstrap or ""

    async def records(self, topic: str) -> list[Any]:
        return await visible(self.bootstrap, topic)


S = TypeVar("S", bound=Scene)


def player(
    staged: Callable[[], AbstractAsyncContextManager[S]],
) -> Callable[[Callable[[S], Awaitable[None]]], None]:
    """Runs a coroutine function with a stage of its own."""

    def run(work: Callable[[S], Awaitable[None]]) -> None:
        async def staging() -> None:
            async with staged() as stage:
                await work(stage)

        asyncio.run(staging())

    return run


async def with_topics(settings: Settings) -> Catalogue:
    """All topics of these settings, made."""
    topics = catalogue(settings)
    async with admin.connected(settings.kafka) as client:
        left = await admin.apply(client, topics, await admin.plan(client, topics))
        assert not left
    return topics


async def visible(bootstrap: str, topic: str) -> list[Any]:
    """All records of a topic of one partition that can be seen now."""
    where = TopicPartition(topic, 0)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        enable_auto_commit=False,
        fetch_max_wait_ms=20,
    )
    await consumer.start()
    try:
        consumer.assign([where])
        end = (await consumer.end_offsets([where]))[where]
        consumer.seek(where, 0)
        found: list[Any] = []
        while await consumer.position(where) < end:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                found += records
        return found
    finally:
        await consumer.stop()


async def killed(target: Callable[..., None], *arguments: Any) -> None:
    """Run it in a process of its own, which kills itself on the way."""
    child = FORKS.Process(target=target, args=arguments)
    child.start()
    await asyncio.to_thread(child.join)
    assert child.exitcode == -signal.SIGKILL


def deadly(step: str) -> Callable[[str], None]:
    """A fail-point that kills this process at the step; `name:3` at the third time."""
    name, _, count = step.partition(":")
    left = int(count or 1)

    def visit(reached: str) -> None:
        nonlocal left
        left -= reached == name
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return visit
