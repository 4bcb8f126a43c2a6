"""What is done to what serves, told to the audit log: none is lost, whether Kafka answers or not.

    held (the disk) ── done ── sent ── forgotten
                                └── Kafka is away: it waits there, for whoever sends next

Each process that lasts sends what waits on its machine when it begins, and so does each command that
tells something. `tests/integration/test_audit_events.py` asks a real sequencer for the leaves.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (aiokafka ships no type information)

import asyncio
import time
import uuid
from collections.abc import Iterable

import msgspec

from chimera.schemas.control_actions import Act
from chimera.schemas.settings import Settings
from chimera.schemas.transparency.leaves import ActionTaken
from chimera.stores.audit_outbox import AuditOutbox
from chimera.topics.audit_events import producing
from chimera.topics.catalogue import catalogue


def act(actor: str, reason: str = "", **more: str) -> Act:
    """Somebody does something now; `more`: the tenant, if it is not the default one."""
    return Act(actor, time.time_ns() // 1_000_000, uuid.uuid4().hex, reason, **more)


async def record(settings: Settings, bootstrap: str, *events: ActionTaken) -> None:
    """Tell what was done; on the disk of this machine at least, when it returns or raises.

    Raises:
        KafkaUnavailable, ConfigurationError: as `deliver`; they wait.
    """
    await asyncio.to_thread(_keep, AuditOutbox(settings.audit.outbox), events)
    await deliver(settings, bootstrap)


async def deliver(settings: Settings, bootstrap: str) -> int:
    """Send what waits on this machine; how many that were.

    Raises:
        KafkaUnavailable: no broker takes them; they wait. ConfigurationError: no such topic.
    """
    outbox = AuditOutbox(settings.audit.outbox)
    topic = catalogue(settings).audit_events
    with outbox.waiting() as events:
        if not events:
            return 0
        async with producing(settings, bootstrap, [topic]) as producer:
            for name, value in events.items():
                await producer.send_and_wait(topic.name, value, key=_actor(value))
                outbox.forget([name])
        return len(events)


def _keep(outbox: AuditOutbox, events: Iterable[ActionTaken]) -> None:
    for event in events:
        with outbox.holding(event):
            pass


class _Who(msgspec.Struct):
    actor: str


def _actor(value: bytes) -> bytes:
    return msgspec.json.decode(value, type=_Who).actor.encode()
