"""Everything that becomes visible while the demo runs: results, dead letters, events of models.

One consumer reads under `read_committed` all the while, in the demo's own process: its work is part
of what is measured. `tests/cli/demoing/test_demo.py` runs it.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from math import inf
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer

from chimera.cli.asking import results
from chimera.schemas.model_events import Event, decode_event
from chimera.schemas.settings import Settings
from chimera.topics.catalogue import Catalogue

STALLED_S = 30.0  # nothing new for so long: what is missing counts as lost
DRAIN_S = 15.0
POLL_S = 0.02


class Seen(NamedTuple):
    at_s: float  # `time.monotonic()`
    event: Event


class Recording:
    """Grows by itself; lists are in the order of each partition."""

    def __init__(
        self, consumer: AIOKafkaConsumer, topics: Catalogue, require_node: Callable[[], None]
    ) -> None:
        self.answers: list[Any] = []
        self.seen_s: list[float] = []  # of each answer
        self.dead_letters: list[Any] = []
        self.events: list[Seen] = []
        self._consumer, self._topics, self._require_node = consumer, topics, require_node

    async def until(self, condition: Callable[[], bool], within_s: float = inf) -> bool:
        """Whether it came true within `within_s`, and before nothing came for `STALLED_S`.

        Raises:
            ChimeraError: what `require_node` raises.
        """
        started_s = moved_s = time.monotonic()
        seen = len(self.answers)
        while not condition():
            self._require_node()
            now_s = time.monotonic()
            if len(self.answers) != seen:
                seen, moved_s = len(self.answers), now_s
            if now_s - moved_s > STALLED_S or now_s - started_s > within_s:
                return False
            await asyncio.sleep(POLL_S)
        return True

    async def drain(self) -> None:
        """Until everything that is visible has been read; the node has stopped before."""
        for _ in range(int(DRAIN_S / POLL_S)):
            if await results.is_at_end(self._consumer):
                return
            await asyncio.sleep(POLL_S)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            fetched = await self._consumer.getmany(timeout_ms=100)
            now_s = time.monotonic()
            for where, records in fetched.items():
                if where.topic == self._topics.results.name:
                    self.answers += records
                    self.seen_s += itertools.repeat(now_s, len(records))
                elif where.topic == self._topics.dead_letters.name:
                    self.dead_letters += records
                else:
                    self.events += (Seen(now_s, decode_event(one.value or b"")) for one in records)


@asynccontextmanager
async def recording(
    settings: Settings, bootstrap: str, topics: Catalogue, require_node: Callable[[], None]
) -> AsyncGenerator[Recording, None]:
    """From now on: results from the beginning, as nothing was asked before."""
    names = [topics.results.name, topics.dead_letters.name, topics.model_events.name]
    async with results.reading(settings.kafka, bootstrap, names, start="beginning") as consumer:
        found = Recording(consumer, topics, require_node)
        task = asyncio.create_task(found.run(), name="recording")
        try:
            yield found
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
