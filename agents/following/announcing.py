"""What a node has to say on `models.events`: told one after the other, beside the serving.

Events wait while no broker takes them, the oldest are dropped when too many do. One that was told
twice, since an acknowledgement was lost, has the same id. `tests/agents/test_announcing.py`.
"""

import asyncio
import os
import socket
import time
import uuid
from collections import deque
from collections.abc import Mapping
from typing import Any

from chimera.agents.following.publisher import Publisher
from chimera.schemas.model_events import Event, TierChanged, VersionRefused, encode_event
from chimera.schemas.model_names import DEFAULT_TENANT, key
from chimera.schemas.model_state import ModelState
from chimera.schemas.work import Loaded
from chimera.workers.reports import Report

MAX_WAITING = 1_000
AGAIN_S = 2.0
MAX_REASON = 4_096


class Announcing:
    """Of one node; `run` until cancelled."""

    def __init__(self, topic: str, client_arguments: Mapping[str, Any]) -> None:
        self.source = f"{socket.gethostname()}-{os.getpid()}"[:128]
        self._publisher = Publisher(topic, client_arguments)
        self._events: deque[Event] = deque(maxlen=MAX_WAITING)
        self._news = asyncio.Event()

    def __len__(self) -> int:
        """Events that wait, but for those that are being told."""
        return len(self._events)

    def take_report(self, report: Report) -> None:
        """One event a transition; executors are told apart, each has breakers of its own."""
        for one in report.transitions:
            self._tell(
                TierChanged(
                    event_id=uuid.uuid4().hex,
                    tenant=DEFAULT_TENANT,
                    model=one.model,
                    at_ms=one.at_ms,
                    source=f"{self.source}/{report.slot}",
                    version=one.version,
                    tier=one.tier,
                    before=one.before,
                    after=one.after,
                    reason=one.reason[:MAX_REASON],
                )
            )

    def refused(self, state: ModelState, one: Loaded, tries: int) -> None:
        """Executors did not load a version that the state wants, so often by now."""
        self._tell(
            VersionRefused(
                event_id=uuid.uuid4().hex,
                tenant=state.tenant,
                model=one.model,
                at_ms=time.time_ns() // 1_000_000,
                source=self.source,
                command_id=state.command_id,
                version=one.version,
                revision=state.revision,
                reason=one.refused[:MAX_REASON],
                tries=tries,
            )
        )

    async def run(self) -> None:
        """Publish what is told."""
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                events = list(self._events)
                self._events.clear()
                if not await self._publisher.publish([_record(event) for event in events]):
                    self._keep(events)
                    await asyncio.sleep(AGAIN_S)
        finally:
            await self._publisher.stop()

    def _tell(self, event: Event) -> None:
        self._events.append(event)
        self._news.set()

    def _keep(self, events: list[Event]) -> None:
        """For another time, before what was told meanwhile."""
        self._events = deque([*events, *self._events], maxlen=MAX_WAITING)
        self._news.set()


def _record(event: Event) -> tuple[bytes, bytes]:
    return key(event.tenant, event.model), encode_event(event)
