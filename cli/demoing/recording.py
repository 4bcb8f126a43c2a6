"""Everything that becomes visible while the demo runs: results, dead letters, events of models and runs.

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
from chimera.schemas import training_events
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
        self, consumer: AIOKafkaConsumer, topics: Catalogue, require: Callable[[], None]
    ) -> None:
        """`require` raises if one is gone who has to be there."""
        self.answers: list[Any] = []
        self.seen_s: list[float] = []  # of each answer
        self.dead_letters: list[Any] = []
        self.events: list[Seen] = []
        self.training: list[training_events.Event] = []
        self._consumer, self._topics, self._require = consumer, topics, require

    async def until(
        self, condition: Callable[[], bool], within_s: float = inf, stalled_s: float = STALLED_S
    ) -> bool:
        """Whether it came true within `within_s`, and before nobody answered for `stalled_s`.

        Raises:
            ChimeraError: what `require` raises, or the condition.
        """
        started_s = moved_s = time.monotonic()
        seen = len(self.answers)
        while not condition():
            self._require()
            now_s = time.monotonic()
            if len(self.answers) != seen:
                seen, moved_s = len(self.answers), now_s
            if now_s - moved_s > stalled_s or now_s - started_s > within_s:
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
                elif where.topic == self._topics.training_events.name:
                    decode = training_events.decode_event
                    self.training += (decode(one.value or b"") for one in records)
                else:
                    self.events += (Seen(now_s, decode_event(one.value or b"")) for one in records)


@asynccontextmanager
async def recording(
    settings: Settings, bootstrap: str, topics: Catalogue, require: Callable[[], None]
) -> AsyncGenerator[Recording, None]:
    """From the beginning: nothing was asked before."""
    served = (topics.results, topics.dead_letters, topics.model_events)
    names = [one.name for one in (*served, topics.training_events)]
    async with results.reading(settings.kafka, bootstrap, names, start="beginning") as consumer:
        found = Recording(consumer, topics, require)
        task = asyncio.create_task(found.run(), name="recording")
        try:
            yield found
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
