"""The controller's judgement over versions that are watched: kept, or rolled back by itself.

    every `controller.judge_ms`:  what nodes saw since ── each open watch ── `judge` ── wait
                                                              passed: keep ──┤
                                              breached: what was before ─────┴─ registry and outbox

A judgement is one change in the registry, with an id that follows from what it judges: whoever leads
makes it once. Its events stand in the outbox beside the new state, so all of it becomes visible in
one transaction, once. Which watches are open is what histories say: they are read when a reign
begins, and of a model again whenever its state has changed. `tests/agents/test_judging.py`.
"""

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import structlog

from chimera.agents.controlling import replies
from chimera.agents.controlling.evidence import Evidence
from chimera.agents.controlling.observed_log import ObservedLog
from chimera.schemas.deployments import Change, Live, judgement_id
from chimera.schemas.errors import DeploymentRefused
from chimera.schemas.model_events import Event, WatchJudged
from chimera.stores.postgres import Database
from chimera.stores.registry.registry import Registry
from chimera.stores.registry.tenants import Tenants
from chimera.workers.watching.watch import Ruling, Verdict, judge

log = structlog.get_logger(__name__)

ACTOR = "controller"


class Judging:
    """Of one reign; `source` stands in the events."""

    def __init__(
        self, database: Database, observed: ObservedLog, source: str, step: Callable[[str], None]
    ) -> None:
        self._database, self._observed = database, observed
        self._source, self._step = source, step
        self._watched: dict[tuple[str, str], Evidence] = {}

    async def start(self) -> None:
        """Find all open watches. Raises PostgresUnavailable."""
        for tenant in await Tenants(self._database).all():
            for live in await Registry(self._database, tenant.id).what_served():
                await self._follow(live)

    async def look_at(self, tenant: str, model: str) -> None:
        """Its state has changed. Raises PostgresUnavailable."""
        await self._follow(await (await self._registry(tenant)).live(model))

    async def judge(self, now: datetime) -> bool:
        """Read what is new, and end the watches that can be ended; whether there was any.

        `now` is by the server's clock.

        Raises:
            PostgresUnavailable, KafkaError.
        """
        if not self._watched:
            return False
        async for told in self._observed.unread():
            for evidence in self._watched.values():
                evidence.take(*told)
        has_ended = False
        for evidence in list(self._watched.values()):
            watch = evidence.watch
            elapsed_s = (now - watch.since).total_seconds()
            verdict = judge(watch.policy, elapsed_s, evidence.candidate, evidence.previous)
            if verdict.ruling is not Ruling.WAIT:
                await self._end(evidence, verdict)
                has_ended = True
        return has_ended

    async def _follow(self, live: Live) -> None:
        at = live.tenant, live.model
        known = self._watched.get(at)
        if known is not None and known.watch == live.watch:
            return
        self._watched.pop(at, None)
        if live.watch is not None:
            self._watched[at] = Evidence(*at, live.watch)
            await self._observed.read_from(min(one.from_ms for one in self._watched.values()))

    async def _end(self, evidence: Evidence, verdict: Verdict) -> None:
        watch, model = evidence.watch, evidence.model
        is_breach = verdict.ruling is Ruling.BREACH
        change = Change(
            "rollback" if is_breach else "keep",
            ACTOR,
            verdict.reason,
            (watch.previous if is_breach else watch.placed).version,
            100 if is_breach else watch.weight,
            judgement_id(evidence.tenant, model, watch.sequence),
            judges=watch.sequence,
        )
        del self._watched[evidence.tenant, model]
        registry = await self._registry(evidence.tenant)
        try:
            await registry.record_deployment(
                model, change, lambda before, after: self._tell(evidence, verdict, before, after)
            )
        except DeploymentRefused as error:  # it is over, or what was before may serve no more
            log.error("judgement_refused", model=model, verdict=verdict.ruling, reason=str(error))
            return
        self._step("after_judgement")
        log.info(
            "watch_judged",
            model=model,
            version=watch.placed.version,
            verdict=verdict.ruling,
            reason=verdict.reason,
        )

    def _tell(
        self, evidence: Evidence, verdict: Verdict, before: Live, after: Live
    ) -> Iterator[Event]:
        """What becomes visible with the state; its ids are the same, whoever tells it."""
        watch = evidence.watch
        judgement = judgement_id(evidence.tenant, evidence.model, watch.sequence)
        common: dict[str, Any] = {
            "tenant": evidence.tenant,
            "model": evidence.model,
            "at_ms": time.time_ns() // 1_000_000,
            "source": self._source,
            "command_id": watch.command_id,
        }
        is_breach = verdict.ruling is Ruling.BREACH
        yield WatchJudged(
            event_id=f"{judgement}-judged",
            version=watch.placed.version,
            verdict="breached" if is_breach else "passed",
            reason=verdict.reason,
            policy=watch.policy,
            candidate=evidence.candidate.observed(),
            previous=evidence.previous.observed(),
            **common,
        )
        if is_breach:
            common["event_id"] = f"{judgement}-rolled-back"
            yield replies.rolled_back(common, before, after, verdict.reason, is_automatic=True)

    async def _registry(self, name: str) -> Registry:
        tenant = await Tenants(self._database).find(name)
        if tenant is None:
            raise AssertionError(f"tenant {name} has a state, and is not there")
        return Registry(self._database, tenant.id)
