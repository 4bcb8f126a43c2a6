"""Training policies of one desk: set and removed by triggers, and fired by whoever leads.

    every `trainer.judge_ms`:  what is due ── one transaction {the next time, `fired` in the outbox}
    outbox ── one transaction of Kafka {`fired` on training.events, its order on training.triggers}

What fires is a trigger as any other: read by the desk, its actor's rights asked again, accepted or
refused. Its id follows from the setting and the occasion, so whoever is killed anywhere, it is there
once. Who sets or removes one is told to the audit log, in the same transaction.
`tests/agents/training/test_policies.py` kills it at each step.
"""

import hashlib
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
import structlog

from chimera.agents.training.telling import Telling, tell
from chimera.schemas.control_actions import policy_put, policy_removed
from chimera.schemas.errors import RequestError, TrainingRefused
from chimera.schemas.training_config import TrainingConfig
from chimera.schemas.training_events import PolicyFired, PolicyRemoved, PolicySet
from chimera.schemas.training_triggers import (
    RemovePolicy,
    SetPolicy,
    TrainModel,
    decode_trigger,
    encode_trigger,
    firing_id,
)
from chimera.stores.postgres import Database
from chimera.stores.registry import audit_events, training_policies
from chimera.stores.registry.records import Tenant
from chimera.stores.registry.tenants import Tenants
from chimera.stores.registry.training_policies import Firing, NewPolicy, TrainingPolicy

log = structlog.get_logger(__name__)

MAX_ORDER_BYTES = 1 << 18  # an event carries it, beside what else it says


class Policies:
    """Of one desk."""

    def __init__(self, database: Database, telling: Telling, judge_s: float) -> None:
        self._database, self._telling, self._judge_s = database, telling, judge_s
        self._judged_s = float("-inf")  # by the monotonic clock

    async def put(self, trigger: SetPolicy, tenant: Tenant, config: TrainingConfig) -> None:
        """Set one that was found allowed; once for each trigger.

        Raises:
            TrainingRefused: too large, or the trigger's id has set another one.
        """
        raw = encode_trigger(trigger)
        if len(raw) > MAX_ORDER_BYTES:
            raise TrainingRefused(
                f"a policy's order has {len(raw)} bytes, at most {MAX_ORDER_BYTES}: name its"
                " configuration by a reference"
            )
        policy = NewPolicy(
            name=trigger.policy,
            trigger_id=trigger.trigger_id,
            trigger=raw.decode(),
            model=config.name,
            actor=trigger.actor,
            cause=trigger.cause,
            interval_s=trigger.interval_s,
        )
        async with self._database.tenant(tenant.id) as connection:
            if not await training_policies.put(connection, tenant.id, policy):
                log.info("trigger_repeated", trigger_id=trigger.trigger_id, policy=trigger.policy)
                return
            change = self._telling.event(
                PolicySet,
                tenant.name,
                policy=policy.name,
                model=policy.model,
                trigger_id=policy.trigger_id,
                actor=policy.actor,
                cause=policy.cause,
                interval_s=policy.interval_s,
            )
            await tell(connection, tenant, self._telling.accepted(trigger), change)
            told = partial(policy_put, name=audited(policy.name), body=_body(policy))
            await audit_events.add(connection, tenant.id, policy.actor, datetime.now(UTC), told)

    async def remove(self, trigger: RemovePolicy, tenant: Tenant) -> None:
        """It fires no more. Raises TrainingRefused: there is none."""
        async with self._database.tenant(tenant.id) as connection:
            found = await training_policies.remove(
                connection, trigger.policy, trigger.actor, trigger.trigger_id
            )
            if found is None:
                log.info("trigger_repeated", trigger_id=trigger.trigger_id, policy=trigger.policy)
                return
            change = self._telling.event(
                PolicyRemoved,
                tenant.name,
                policy=found.name,
                model=found.model,
                trigger_id=trigger.trigger_id,
                actor=trigger.actor,
            )
            await tell(connection, tenant, self._telling.accepted(trigger), change)
            told = partial(policy_removed, name=audited(found.name))
            await audit_events.add(connection, tenant.id, trigger.actor, datetime.now(UTC), told)

    async def judge(self, now: datetime) -> int:
        """Fire what is due, by the server's clock; how many did. Raises PostgresUnavailable."""
        if time.monotonic() - self._judged_s < self._judge_s:
            return 0
        self._judged_s, count = time.monotonic(), 0
        for tenant in await Tenants(self._database).all():
            async with self._database.tenant(tenant.id) as connection:
                due = await training_policies.due(connection, now)
            for policy in due:
                found = training_policies.firing(policy, now)
                try:
                    count += found is not None and await self._fire(tenant, policy, found)
                except RequestError as error:  # of another release: the others fire
                    log.error("policy_unreadable", policy=policy.name, reason=str(error))
        return count

    async def _fire(self, tenant: Tenant, policy: TrainingPolicy, found: Firing) -> bool:
        order = order_of(tenant.name, policy, found.occasion)
        told = self._telling.event(
            PolicyFired,
            tenant.name,
            policy=policy.name,
            model=policy.model,
            trigger_id=order.trigger_id,
            actor=policy.actor,
            cause=policy.cause,
            occasion=found.occasion,
            order=msgspec.to_builtins(order),
        )
        async with self._database.tenant(tenant.id) as connection:
            if not await training_policies.fired(connection, policy, found, order.trigger_id):
                return False
            await tell(connection, tenant, told)
        log.info("policy_fired", policy=policy.name, cause=policy.cause, occasion=found.occasion)
        return True


def audited(name: str) -> str:
    """What the audit log calls a policy: the registry's own have names without a slash."""
    return f"training/{name}"


def _body(policy: NewPolicy) -> Mapping[str, Any]:
    """What the audit log says of one; the order itself stands on the topics of training."""
    return {
        "cause": policy.cause,
        "interval_s": policy.interval_s,
        "model": policy.model,
        "order_sha256": hashlib.sha256(policy.trigger.encode()).hexdigest(),
        "trigger_id": policy.trigger_id,
    }


def order_of(tenant: str, policy: TrainingPolicy, occasion: str) -> TrainModel:
    """What a policy orders on an occasion: the same however often it is asked. Raises RequestError."""
    wanted = decode_trigger(policy.trigger.encode())
    assert isinstance(wanted, SetPolicy)  # nothing else is put
    return TrainModel(
        trigger_id=firing_id(tenant, policy.trigger_id, policy.name, occasion),
        tenant=tenant,
        actor=policy.actor,
        config=wanted.config,
        reference=wanted.reference,
        priority=wanted.priority,
        promote=wanted.promote,
        reason=policy.cause,
    )
