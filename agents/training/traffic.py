"""What is served, looked at for policies on drift that ask for that, by whoever leads.

    every `served.since_s`:  rows of so long ── against the model's last finished run, in a thread
    it has drifted ── one transaction {alert, `served_drift` in the outbox} ── the policy is due (`policies`)

One alert for each run that the rows were compared with: its policy fires once for that, and again only
when a newer run has learnt from other data. Killed before the transaction, whoever leads next looks
again; a new leader looks at once. `tests/agents/training/test_traffic.py` kills it at each step.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from chimera.agents.training.orders import Orders
from chimera.agents.training.telling import Telling, tell
from chimera.schemas.errors import PostgresUnavailable, RequestError, TrainingRefused
from chimera.schemas.settings import Settings
from chimera.schemas.training_events import ServedDriftFound
from chimera.schemas.training_triggers import ServedRows, SetPolicy, decode_trigger
from chimera.stores.postgres import Database
from chimera.stores.registry import training_policies
from chimera.stores.registry.records import Tenant
from chimera.stores.registry.tenants import Tenants
from chimera.stores.registry.training_policies import TrainingPolicy
from chimera.workers.training.folder import runs_of

if TYPE_CHECKING:
    from chimera.workers.training.served import Judged

log = structlog.get_logger(__name__)

AGAIN_S = 60  # after a look that failed


class Traffic:
    """Of one desk."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        telling: Telling,
        step: Callable[[str], None],
    ) -> None:
        """Raises ConfigurationError: a prefix of the settings is none."""
        self._database, self._telling, self._step = database, telling, step
        self._orders, self._runs_dir = Orders(settings), settings.training.dir
        self._judge_s = settings.trainer.judge_ms / 1_000
        self._next_s: dict[str, float] = {}  # by the setting's id: when it is looked at

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                for tenant in await Tenants(self._database).all():
                    await self._look_for(tenant)
            except PostgresUnavailable as error:
                log.warning("served_rows_put_off", reason=str(error))
            await asyncio.sleep(self._judge_s)

    async def _look_for(self, tenant: Tenant) -> None:
        async with self._database.tenant(tenant.id) as connection:
            policies = await training_policies.watching(connection)
        for policy in policies:
            served = served_by(policy)
            if served is not None and time.time() >= self._next_s.get(policy.trigger_id, 0):
                await self._look(tenant, policy, served)

    async def _look(self, tenant: Tenant, policy: TrainingPolicy, served: ServedRows) -> None:
        """Looks of one policy begin where spans of its length do: they share no rows."""
        now_s = time.time()
        span = int(1_000 * (now_s - served.since_s)), int(1_000 * now_s)
        try:
            if against := self._orders.against_served(served):
                raise TrainingRefused(against[0])
            runs = runs_of(self._runs_dir, tenant.name)
            found = await asyncio.to_thread(_judge, runs, policy.model, served.url, span)
        except Exception as error:  # noqa: BLE001  # the boundary: a storage's client may raise anything
            self._next_s[policy.trigger_id] = now_s + AGAIN_S
            log.warning("served_rows_not_judged", policy=policy.name, reason=str(error))
            return
        self._next_s[policy.trigger_id] = (now_s // served.since_s + 1) * served.since_s
        self._step("after_look")
        if found is None or not found.columns:
            log.info("served_rows_judged", policy=policy.name, rows=found.rows if found else 0)
            return
        await self._alert(tenant, policy, found, span)
        self._step("after_alert")

    async def _alert(
        self, tenant: Tenant, policy: TrainingPolicy, found: "Judged", span: tuple[int, int]
    ) -> None:
        told = self._telling.event(
            ServedDriftFound,
            tenant.name,
            run_id=found.run_id,
            model=policy.model,
            policy=policy.name,
            rows=found.rows,
            since_ms=span[0],
            until_ms=span[1],
            columns=found.columns,
        )
        async with self._database.tenant(tenant.id) as connection:
            if await training_policies.alert_served(connection, policy, found.run_id):
                await tell(connection, tenant, told)


def served_by(policy: TrainingPolicy) -> ServedRows | None:
    """What a policy wants to be looked at; None: nothing, or another release has set it."""
    try:
        wanted = decode_trigger(policy.trigger.encode())
    except RequestError:
        return None
    return wanted.served if isinstance(wanted, SetPolicy) else None


def _judge(runs: Path, model: str, url: str, span: tuple[int, int]) -> "Judged | None":
    from chimera.workers.training import served  # numbers' libraries: on first use, off the loop

    return served.judge(runs, model, url, served.Span(*span))
