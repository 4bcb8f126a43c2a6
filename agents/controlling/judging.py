"""The controller's judgement over versions that are watched: kept, or rolled back by itself.

    every `controller.judge_ms`:  what nodes saw since ── each open watch ── `judge` ── wait
                                                              passed: keep ──┤
                                              breached: what was before ─────┴─ registry and outbox

A judgement is one change in the registry, with an id that follows from what it judges: whoever leads
makes it once. Its events stand in the outbox beside the new state, so all of it becomes visible in
one transaction, once. Which watches are open is what histories say: they are read when a reign
begins, and of a model again whenever its state has changed.

A breach that the registry refuses to roll back, since what was before may serve no more, is told as
judged, with why; it is counted, and tried again, later each time, until it is done or somebody
changes what serves. `tests/agents/controlling/test_judging.py`.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from chimera.agents.controlling import replies
from chimera.agents.controlling.controller_metrics import ControllerMetrics
from chimera.agents.controlling.evidence import Evidence
from chimera.agents.controlling.observed_log import ObservedLog
from chimera.schemas.deployments import Change, Live, judgement_id
from chimera.schemas.errors import DeploymentRefused
from chimera.schemas.model_events import Event, WatchJudged
from chimera.stores.backoff import pause_s
from chimera.stores.postgres import Database
from chimera.stores.registry.registry import Registry
from chimera.stores.registry.tenants import Tenants
from chimera.workers.watching.watch import Ruling, Verdict, judge

log = structlog.get_logger(__name__)

ACTOR = "controller"
AGAIN_S, MOST_S = 1.0, 60.0  # between tries of a rollback that is refused


@dataclass(slots=True)
class Held:
    """A breach that could not be rolled back."""

    verdict: Verdict
    tries: int
    again_at: datetime


class Judging:
    """Of one reign; `source` stands in the events."""

    # What it judges by and with comes one by one.
    def __init__(
        self,
        database: Database,
        observed: ObservedLog,
        source: str,
        step: Callable[[str], None],
        metrics: ControllerMetrics,
    ) -> None:
        self._database, self._observed, self._metrics = database, observed, metrics
        self._source, self._step = source, step
        self._watched: dict[tuple[str, str], Evidence] = {}
        self._held: dict[tuple[str, str], Held] = {}

    async def start(self) -> None:
        """Find all open watches. Raises PostgresUnavailable."""
        for tenant in await Tenants(self._database).all():
            for live in await Registry(self._database, tenant.id).what_served():
                await self._follow(live)

    async def look_at(self, tenant: str, model: str) -> None:
        """Its state has changed. Raises PostgresUnavailable."""
        await self._follow(await (await self._registry(tenant)).live(model))

    async def judge(self, now: datetime) -> list[Event] | None:
        """Read what is new, and end the watches that can be ended; None: there was none.

        `now` is by the server's clock. Events are those of watches that should have ended and could
        not; the same ones again, if they were told before.

        Raises:
            PostgresUnavailable, KafkaError.
        """
        if not self._watched:
            return None
        async for told in self._observed.unread():
            for evidence in self._watched.values():
                evidence.take(*told)
        events: list[Event] = []
        has_ended = False
        for evidence in list(self._watched.values()):
            verdict = self._verdict(evidence, now)
            if verdict is not None:
                events += await self._end(evidence, verdict, now)
                has_ended = True
        return events if has_ended else None

    def _verdict(self, evidence: Evidence, now: datetime) -> Verdict | None:
        """None: there is nothing to do about it yet."""
        held = self._held.get((evidence.tenant, evidence.model))
        if held is not None:
            return held.verdict if now >= held.again_at else None
        watch = evidence.watch
        elapsed_s = (now - watch.since).total_seconds()
        verdict = judge(
            watch.policy,
            elapsed_s,
            evidence.candidate,
            evidence.previous,
            is_same_load=evidence.is_same_load,
        )
        return None if verdict.ruling is Ruling.WAIT else verdict

    async def _follow(self, live: Live) -> None:
        at = live.tenant, live.model
        known = self._watched.get(at)
        if known is not None and known.watch == live.watch:
            return
        self._forget(*at)
        if live.watch is not None:
            self._watched[at] = Evidence(*at, live.watch)
            await self._observed.read_from(min(one.from_ms for one in self._watched.values()))

    def _forget(self, tenant: str, model: str) -> None:
        self._watched.pop((tenant, model), None)
        if self._held.pop((tenant, model), None) is not None:
            self._metrics.held.remove(tenant, model)

    async def _end(self, evidence: Evidence, verdict: Verdict, now: datetime) -> list[Event]:
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
        registry = await self._registry(evidence.tenant)
        try:
            await registry.record_deployment(
                model, change, lambda before, after: self._tell(evidence, verdict, before, after)
            )
        except DeploymentRefused as error:
            if (await registry.live(model)).watch == watch:
                return [self._hold(evidence, verdict, str(error), now)]
            log.info("watch_superseded", model=model, verdict=verdict.ruling)
            self._forget(evidence.tenant, model)
            return []
        self._forget(evidence.tenant, model)
        self._step("after_judgement")
        log.info(
            "watch_judged",
            model=model,
            version=watch.placed.version,
            verdict=verdict.ruling,
            reason=verdict.reason,
        )
        return []

    def _hold(self, evidence: Evidence, verdict: Verdict, why: str, now: datetime) -> WatchJudged:
        """Try it again later; the event that says so."""
        at = evidence.tenant, evidence.model
        tries = self._held[at].tries + 1 if at in self._held else 1
        pause = timedelta(seconds=pause_s(tries, random.random(), AGAIN_S, MOST_S))
        self._held[at] = Held(verdict, tries, now + pause)
        self._metrics.held.labels(*at).set(1)
        log.error("rollback_refused", model=evidence.model, reason=why, tries=tries)
        return self._judged(evidence, verdict, f"could not be rolled back: {why}; {verdict.reason}")

    def _tell(
        self, evidence: Evidence, verdict: Verdict, before: Live, after: Live
    ) -> Iterator[Event]:
        """What becomes visible with the state; its ids are the same, whoever tells it."""
        yield self._judged(evidence, verdict, verdict.reason)
        if verdict.ruling is Ruling.BREACH:
            common = self._common(evidence, "rolled-back")
            yield replies.rolled_back(common, before, after, verdict.reason, is_automatic=True)

    def _judged(self, evidence: Evidence, verdict: Verdict, reason: str) -> WatchJudged:
        return WatchJudged(
            version=evidence.watch.placed.version,
            verdict="breached" if verdict.ruling is Ruling.BREACH else "passed",
            reason=reason[: replies.MAX_REASON],
            policy=evidence.watch.policy,
            candidate=evidence.candidate.observed(),
            previous=evidence.previous.observed(),
            **self._common(evidence, "judged"),
        )

    def _common(self, evidence: Evidence, what: str) -> dict[str, Any]:
        """The fields that every event of a judgement has."""
        watch = evidence.watch
        judgement = judgement_id(evidence.tenant, evidence.model, watch.sequence)
        return {
            "event_id": f"{judgement}-{what}",
            "tenant": evidence.tenant,
            "model": evidence.model,
            "at_ms": time.time_ns() // 1_000_000,
            "source": self._source,
            "command_id": watch.command_id,
        }

    async def _registry(self, name: str) -> Registry:
        tenant = await Tenants(self._database).find(name)
        if tenant is None:
            raise AssertionError(f"tenant {name} has a state, and is not there")
        return Registry(self._database, tenant.id)
