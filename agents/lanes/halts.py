"""Lanes that halt, told to the audit log: which, why, and which requests nobody answers any more.

    lane halts ── on the disk ── sent ── forgotten        one after the other, for who sends holds the outbox

It never holds a lane up, nor ends a node: what no broker takes waits on the disk, and goes with the next,
or with whatever begins on this machine. `tests/cli/test_offsets.py` reads the events of real lanes.
"""

import asyncio
import socket

import structlog

from chimera.agents import audit_events
from chimera.agents.lanes.commit_loop import Halted
from chimera.schemas.control_actions import Lane, lane_halted
from chimera.schemas.errors import ConfigurationError, KafkaUnavailable
from chimera.schemas.settings import Settings

log = structlog.get_logger(__name__)

ACTOR_LENGTH = 255


class Halts:
    """Of one node."""

    def __init__(self, settings: Settings, bootstrap: str) -> None:
        self._settings, self._bootstrap = settings, bootstrap
        self._actor = f"node@{socket.gethostname()}"[:ACTOR_LENGTH]
        self._lock = asyncio.Lock()

    async def tell(self, topic: str, partition: int, halted: Halted) -> None:
        """On the disk when it returns, and sent if a broker takes it."""
        act = audit_events.act(self._actor, halted.reason)
        lane = Lane(self._settings.kafka.group, topic, partition)
        event = lane_halted(act, lane, halted.missing)
        async with self._lock:
            try:
                await audit_events.record(self._settings, self._bootstrap, event)
            except (ConfigurationError, KafkaUnavailable) as error:
                log.warning(
                    "halt_not_told_yet", topic=topic, partition=partition, reason=str(error)
                )
