"""Takes a record of `training.triggers`: what it orders stands in the registry, or it is refused.

    read ── tenant ── rights ── order ── one transaction {job, answer, queued}     accepted
      └───────┴────────┴─────────┴────── dead letter, answer with every reason     refused

Whatever goes wrong with one trigger is its refusal, so that the next one is taken; what is wrong with
Postgres is nobody's. Taking a trigger again changes nothing and tells nothing. What sets or removes a policy is checked like
any order, and done by `policies`. `tests/agents/training/test_desk.py`.
"""

import msgspec
import structlog

from chimera.agents.training.orders import Orders
from chimera.agents.training.policies import Policies
from chimera.agents.training.telling import Telling, key_of, tell
from chimera.agents.training.trigger_log import PARTITION, Record, Told
from chimera.schemas.errors import (
    ConfigurationError,
    PostgresUnavailable,
    RequestError,
    SchemaInvalid,
    TrainingRefused,
    Unauthorised,
)
from chimera.schemas.manifest import is_name
from chimera.schemas.model_names import DEFAULT_TENANT
from chimera.schemas.settings import Settings
from chimera.schemas.training_config import TrainingConfig, hash_config
from chimera.schemas.training_events import (
    MAX_REASON,
    RunCancelled,
    RunQueued,
    TriggerAnswered,
    encode_event,
)
from chimera.schemas.training_rights import POLICY, TrainingRights, rights_of
from chimera.schemas.training_triggers import (
    DEFAULT_PRIORITY,
    CancelRun,
    RemovePolicy,
    ResumeRun,
    SetPolicy,
    TrainModel,
    Trigger,
    decode_trigger,
    encode_trigger,
    reasons,
    run_id_of,
)
from chimera.stores.connecting import is_servers
from chimera.stores.postgres import Database
from chimera.stores.registry import policies, training_runs
from chimera.stores.registry.records import Tenant
from chimera.stores.registry.tenants import Tenants
from chimera.stores.registry.training_runs import NewRun, TrainingRun
from chimera.topics.catalogue import Topic
from chimera.topics.dead_letters import Copy, Failure, Origin, dead_letter

log = structlog.get_logger(__name__)

MAX_REASONS = 32  # in an answer: with each at its longest, and escaped, it still fits its topic
LATER = (PostgresUnavailable, ConfigurationError)  # the latter: Postgres refuses the agent's role


class Declined(Exception):
    """A trigger that will not be done: a code of the closed set, and every reason."""

    def __init__(self, code: str, *why: str) -> None:
        super().__init__("; ".join(why))
        told = [*why[:MAX_REASONS]]
        if len(why) > MAX_REASONS:
            told[-1] = f"and {len(why) - MAX_REASONS + 1} reasons more"
        self.code, self.reasons = code, tuple(map(_writable, told))


class _Traces(msgspec.Struct):
    """What may be left of a trigger that cannot be read."""

    action: object = None
    trigger_id: object = None
    tenant: object = None
    run_id: object = None


class Intake:
    """Of one agent; `dead` is where refused triggers go."""

    # What it is made of comes one by one.
    def __init__(
        self,
        settings: Settings,
        database: Database,
        telling: Telling,
        policies: Policies,
        dead: Topic,
    ) -> None:
        """Raises ConfigurationError: a prefix of the settings is none."""
        self._database, self._telling, self._dead = database, telling, dead
        self._policies = policies
        self._orders = Orders(settings)

    async def take(self, record: Record) -> Told:
        """What is to be told of it beside what stands in the outbox now.

        Raises:
            PostgresUnavailable, ConfigurationError, asyncpg's errors: of Postgres, not of this
                trigger; whether it was taken is not known; take it again.
        """
        value = record.value or b""
        try:
            await self._do(_read(value))
        except Declined as declined:
            log.warning("trigger_refused", offset=record.offset, reasons=declined.reasons)
            return self._refused(record, value, declined)
        except LATER:
            raise
        except Exception as error:  # the boundary: one trigger must not stop all others
            if is_servers(error):
                raise
            log.exception("trigger_failed", offset=record.offset)
            why = f"it cannot be taken: {error!r}"
            return self._refused(record, value, Declined(SchemaInvalid.code, why))
        return Told()

    async def _do(self, trigger: Trigger) -> None:
        tenant = await Tenants(self._database).find(trigger.tenant)
        if tenant is None:
            raise Declined("unauthorised", f"there is no tenant {trigger.tenant}")
        rights = await self._rights(tenant)
        try:
            if isinstance(trigger, TrainModel):
                await self._queue(trigger, tenant, await self._allowed(trigger, rights))
                return
            if isinstance(trigger, SetPolicy):
                await self._policies.put(trigger, tenant, await self._allowed(trigger, rights))
                return
            if lacking := rights.lacking(trigger.actor, "train"):
                raise Declined("unauthorised", lacking)
            if isinstance(trigger, RemovePolicy):
                await self._policies.remove(trigger, tenant)
            else:
                await self._change(trigger, tenant, rights)
        except TrainingRefused as error:
            raise Declined("schema_invalid", str(error)) from None

    async def _rights(self, tenant: Tenant) -> TrainingRights:
        async with self._database.tenant(tenant.id) as connection:
            found = await policies.find(connection, POLICY)
        try:
            return TrainingRights() if found is None else rights_of(found.body)
        except SchemaInvalid as error:
            raise Declined("unauthorised", str(error)) from None

    async def _allowed(
        self, trigger: TrainModel | SetPolicy, rights: TrainingRights
    ) -> TrainingConfig:
        """What is ordered. Raises Declined: it may not be, by every reason."""
        lacking = [rights.lacking(trigger.actor, "train")]
        config: TrainingConfig | None = None
        against: list[str] = []
        try:
            config = await self._orders.config_of(trigger)
            against = self._orders.against(config)
            if isinstance(trigger, SetPolicy):
                against += self._orders.against_served(trigger.served)
        except TrainingRefused as error:
            against = [str(error)]
        if trigger.promote or (config is not None and config.release.until == "promoted"):
            lacking.append(rights.lacking(trigger.actor, "promote"))
        why = [*filter(None, lacking), *against]
        if why or config is None:
            raise Declined(_code(any(lacking)), *why)
        return config

    async def _queue(self, trigger: TrainModel, tenant: Tenant, config: TrainingConfig) -> None:
        run = NewRun(
            run_id=run_id_of(trigger.tenant, trigger.trigger_id, config.name),
            trigger_id=trigger.trigger_id,
            trigger=encode_trigger(trigger).decode(),
            model=config.name,
            actor=trigger.actor,
            reason=trigger.reason,
            priority=trigger.priority or DEFAULT_PRIORITY,
            config=msgspec.json.encode(config).decode(),
            until="promoted" if trigger.promote else config.release.until,
        )
        async with self._database.tenant(tenant.id) as connection:
            if not await training_runs.add(connection, tenant.id, run):
                log.info("trigger_repeated", trigger_id=trigger.trigger_id, run_id=run.run_id)
                return
            queued = self._queued(tenant, run, config)
            await tell(connection, tenant, self._telling.accepted(trigger, run.run_id), queued)

    async def _change(
        self, trigger: CancelRun | ResumeRun, tenant: Tenant, rights: TrainingRights
    ) -> None:
        """Raises TrainingRefused: nothing to cancel, nothing to resume."""
        async with self._database.tenant(tenant.id) as connection:
            if isinstance(trigger, CancelRun):
                run = await training_runs.cancel(
                    connection, trigger.run_id, trigger.actor, trigger.trigger_id
                )
            else:
                run = await training_runs.resume(connection, trigger.run_id, trigger.trigger_id)
            if run is None:
                log.info("trigger_repeated", trigger_id=trigger.trigger_id, run_id=trigger.run_id)
                return
            promotes = isinstance(trigger, ResumeRun) and run.until == "promoted"
            if promotes and (lacking := rights.lacking(trigger.actor, "promote")):
                raise Declined("unauthorised", lacking)
            await tell(connection, tenant, self._telling.accepted(trigger, run.run_id))
            if run.state == "cancelled":
                cancelled = self._telling.of(RunCancelled, tenant.name, run, actor=trigger.actor)
                await tell(connection, tenant, cancelled)
            elif run.state == "queued":
                config = msgspec.json.decode(run.config, type=TrainingConfig)
                await tell(connection, tenant, self._queued(tenant, run, config))

    def _queued(
        self, tenant: Tenant, run: NewRun | TrainingRun, config: TrainingConfig
    ) -> RunQueued:
        return self._telling.event(
            RunQueued,
            tenant.name,
            run_id=run.run_id,
            model=run.model,
            trigger_id=run.trigger_id,
            actor=run.actor,
            reason=run.reason,
            priority=run.priority,
            config_hash=hash_config(config),
            until=run.until,
        )

    def _refused(self, record: Record, value: bytes, declined: Declined) -> Told:
        traces = _traces(value)
        answer = self._telling.event(
            TriggerAnswered,
            _name(traces.tenant) or DEFAULT_TENANT,
            outcome="refused",
            action=_name(traces.action) or "unknown",
            trigger_id=_name(traces.trigger_id),
            run_id=_name(traces.run_id),
            reasons=declined.reasons,
        )
        failure = Failure(declined.code, str(declined), 1, record.timestamp_ms)
        origin = Origin(record.topic, PARTITION, record.offset, record.timestamp_ms)
        copy = Copy(record.key, record.value, list(record.headers))
        dead = dead_letter(copy, origin, failure, self._dead.max_message_bytes)
        return Told((dead,), ((key_of(answer), encode_event(answer)),))


def _writable(reason: str) -> str:
    """As an event holds it: cut, and UTF-8 (a path's name may be none)."""
    return reason[:MAX_REASON].encode("utf-8", "replace").decode()


def _read(value: bytes) -> Trigger:
    try:
        return decode_trigger(value)
    except RequestError as error:
        raise Declined(error.code, *reasons(value, error)) from None


def _code(is_right: bool) -> str:
    return Unauthorised.code if is_right else SchemaInvalid.code


def _traces(value: bytes) -> _Traces:
    try:
        return msgspec.json.decode(value, type=_Traces)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Traces()


def _name(found: object) -> str | None:
    return found if isinstance(found, str) and is_name(found) else None
