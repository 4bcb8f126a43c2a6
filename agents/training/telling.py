"""Events of one agent: made here, and told through the outbox with the change that they tell of.

`tests/agents/training/test_desk.py`.
"""

import time
import uuid
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from chimera.agents.training.fitting import fitting
from chimera.schemas.training_events import (
    Event,
    PolicyFired,
    PolicyRemoved,
    PolicySet,
    TriggerAnswered,
    encode_event,
)
from chimera.schemas.training_triggers import Trigger
from chimera.stores.registry import outbox
from chimera.stores.registry.outbox import TRAINING
from chimera.stores.registry.records import Tenant
from chimera.stores.registry.training_runs import TrainingRun

if TYPE_CHECKING:
    from chimera.stores.postgres import Connection

E = TypeVar("E", bound=Event)
NOBODY = "unknown"


class Telling:
    """`source` is who tells."""

    def __init__(self, source: str) -> None:
        self.source = source

    def event(self, kind: type[E], tenant: str, **fields: Any) -> E:
        """Raises msgspec.ValidationError: a field that its record does not allow, a bug of ours."""
        common = {
            "event": kind.__struct_config__.tag,
            "event_id": uuid.uuid4().hex,
            "tenant": tenant,
            "at_ms": time.time_ns() // 1_000_000,
            "source": self.source,
        }
        return msgspec.convert(msgspec.to_builtins({**common, **fields}), kind)

    def of(self, kind: type[E], tenant: str, run: TrainingRun, **fields: Any) -> E:
        """An event of a run."""
        return self.event(kind, tenant, run_id=run.run_id, model=run.model, **fields)

    def accepted(self, trigger: Trigger, run_id: str | None = None) -> TriggerAnswered:
        """The answer to a trigger; with the run that it is about, if it is about one."""
        return self.event(
            TriggerAnswered,
            trigger.tenant,
            outcome="accepted",
            action=trigger.__struct_config__.tag,
            trigger_id=trigger.trigger_id,
            run_id=run_id,
        )


async def tell(connection: "Connection", tenant: Tenant, *events: Event) -> None:
    """With the transaction, in this order; what would not fit the topic is told shorter."""
    for event in events:
        value = encode_event(fitting(event))
        await outbox.add(connection, tenant.id, TRAINING, key_of(event), value)


def key_of(event: Event) -> bytes:
    """The run's id; the policy's name, or the trigger's id, where there is no run."""
    if isinstance(event, TriggerAnswered):
        return (event.run_id or event.trigger_id or NOBODY).encode()
    if isinstance(event, PolicySet | PolicyRemoved | PolicyFired):
        return event.policy.encode()
    return (event.run_id or NOBODY).encode()
