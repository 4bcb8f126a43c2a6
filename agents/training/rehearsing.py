"""Replays before promotions: finished runs whose model asks for one, one after the other.

    compiled ── stage `replay` ── rehearsal ── one transaction {report, `replayed`, next stage}
                                                   passed: promote command ── else: withheld

Whoever leads does it, beside the desk; killed anywhere before that transaction, the next one begins
anew. What it replays are the last hours' requests, by the limits of the model's policy, on this
machine: its times are only like the nodes' where this machine is like theirs.
`tests/agents/training/test_rehearsing.py`.
"""

# pyright: reportMissingTypeStubs=false
# (aiokafka ships no type information)

import asyncio
import time
from collections.abc import Callable

import structlog
from aiokafka.errors import KafkaError

from chimera.agents.replaying.rehearsal import Asked, rehearse
from chimera.agents.training import releasing
from chimera.agents.training.telling import Telling, tell
from chimera.schemas.errors import (
    ArtifactsUnavailable,
    ChimeraError,
    KafkaUnavailable,
    PostgresUnavailable,
)
from chimera.schemas.replay_report import ReplayReport
from chimera.schemas.settings import Settings
from chimera.schemas.training_events import MAX_REASON, VersionReplayed, VersionWithheld
from chimera.stores.postgres import Database
from chimera.stores.registry import replays, training_runs
from chimera.stores.registry.records import Tenant
from chimera.stores.registry.registry import Registry
from chimera.stores.registry.tenants import Tenants
from chimera.stores.registry.training_runs import TrainingRun

log = structlog.get_logger(__name__)

WORDS = {"failed": "failed", "undecided": "could not be judged"}
LATER = (KafkaUnavailable, KafkaError, PostgresUnavailable, ArtifactsUnavailable)


class Rehearsing:
    """Of one desk."""

    # What it is made of comes one by one.
    def __init__(
        self,
        settings: Settings,
        bootstrap: str,
        database: Database,
        telling: Telling,
        step: Callable[[str], None],
    ) -> None:
        self._settings, self._bootstrap, self._database = settings, bootstrap, database
        self._telling, self._step = telling, step
        self._of = settings.trainer

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                while (found := await self._first()) is not None:
                    await self._rehearse(*found)
            except LATER as error:
                log.warning("replay_put_off", reason=str(error))
            await asyncio.sleep(self._of.queue_ms / 1000)

    async def _first(self) -> tuple[Tenant, TrainingRun] | None:
        for tenant in await Tenants(self._database).all():
            async with self._database.tenant(tenant.id) as connection:
                run = await training_runs.first_to_replay(connection)
            if run is not None:
                return tenant, run
        return None

    async def _rehearse(self, tenant: Tenant, run: TrainingRun) -> None:
        """Raises PostgresUnavailable, KafkaUnavailable, ArtifactsUnavailable: later."""
        log.info("replay_begins", run_id=run.run_id, model=run.model)
        now_ms = time.time_ns() // 1_000_000
        asked = Asked(
            model=run.model,
            version=run.run_id,
            since_ms=max(0, now_ms - 1000 * self._of.replay_since_s),
            until_ms=now_ms,
            max_requests=self._of.replay_requests,
        )
        report, why = None, ""
        try:
            registry = Registry(self._database, tenant.id)
            report = await rehearse(self._settings, self._bootstrap, registry, asked)
        except LATER:
            raise
        except ChimeraError as error:
            why = str(error)
        except Exception as error:  # the boundary: one run must not stop all others
            log.exception("replay_failed", run_id=run.run_id)
            why = repr(error)
        self._step("after_replay")
        await self._write(tenant, run, report, why)
        self._step("after_verdict")

    async def _write(
        self, tenant: Tenant, run: TrainingRun, report: ReplayReport | None, why: str
    ) -> None:
        """The verdict and what follows from it, once."""
        if report is not None and report.verdict != "passed":
            why = f"its replay {WORDS[report.verdict]}: {report.reason}"
        why, of = why[:MAX_REASON], self._telling.of
        after: training_runs.Stage = "withheld" if why else "promote"
        async with self._database.tenant(tenant.id) as connection:
            if not await training_runs.advance(
                connection, run.run_id, "replay", after, why or None
            ):
                return
            if report is not None:
                await replays.add(connection, tenant.id, report, run.actor)
                told = of(VersionReplayed, tenant.name, run, **_fields(report))
                await tell(connection, tenant, told)
            if why:
                withheld = of(VersionWithheld, tenant.name, run, step="replay", error=why)
                await tell(connection, tenant, withheld)
            await releasing.send(connection, tenant, run, after)


def _fields(report: ReplayReport) -> dict[str, object]:
    return {
        "version": report.version,
        "verdict": report.verdict,
        "reason": report.reason,
        "requests": report.counts.replayed,
        "disagreed": report.counts.disagreed + report.counts.broken,
        "since_ms": report.since_ms,
        "until_ms": report.until_ms,
    }
