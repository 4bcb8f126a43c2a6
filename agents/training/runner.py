"""Takes runs that wait, one for each place on a device, and attends to them until they are over.

The first of all tenants' queues goes first, by priority and then by time. Any number of agents share the
queue: a claim is one statement. `tests/agents/training/test_agent.py`.
"""

import asyncio

import structlog

from chimera.agents.training.attendance import Attendance, Office
from chimera.agents.training.telling import tell
from chimera.schemas.errors import ChimeraError
from chimera.schemas.training_events import RunStarted
from chimera.stores.registry import training_runs
from chimera.stores.registry.records import Tenant
from chimera.stores.registry.tenants import Tenants
from chimera.stores.registry.training_runs import TrainingRun

log = structlog.get_logger(__name__)


class Runner:
    """Of one agent."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._free = list(reversed(office.settings.trainer.devices))
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """There may be a run that waits."""
        self._wake.set()

    async def run(self) -> None:
        """Until the agent stops; runs that are under way are given back."""
        stopping, poll_s = self._office.stopping, self._office.settings.trainer.queue_ms / 1000
        told = asyncio.create_task(stopping.wait())
        async with asyncio.TaskGroup() as tasks:
            while not stopping.is_set():
                self._wake.clear()
                await self._fill(tasks)
                woken = asyncio.create_task(self._wake.wait())
                await asyncio.wait((told, woken), timeout=poll_s, return_when="FIRST_COMPLETED")
                woken.cancel()
        told.cancel()

    async def _fill(self, tasks: asyncio.TaskGroup) -> None:
        try:
            while self._free and (claimed := await self._claim(self._free[-1])):
                device = self._free.pop()
                tasks.create_task(self._attend(device, *claimed), name=claimed[1].run_id)
        except ChimeraError as error:
            log.warning("queue_not_read", reason=str(error))

    async def _claim(self, device: str) -> tuple[Tenant, TrainingRun] | None:
        database, of = self._office.database, self._office.settings.trainer
        waiting: list[tuple[tuple[object, ...], Tenant]] = []
        for tenant in await Tenants(database).all():
            async with database.tenant(tenant.id) as connection:
                if first := await training_runs.first_waiting(connection):
                    waiting.append(((*first, tenant.name), tenant))
        for _, tenant in sorted(waiting, key=lambda one: one[0]):
            async with database.tenant(tenant.id) as connection:
                source = self._office.telling.source
                run = await training_runs.claim(connection, source, of.lease_s, device)
                if run is None:
                    continue
                started = self._office.telling.of(
                    RunStarted, tenant.name, run, attempt=run.attempt, device=device
                )
                await tell(connection, tenant, started)
            self._office.step("after_claim")
            return tenant, run
        return None

    async def _attend(self, device: str, tenant: Tenant, run: TrainingRun) -> None:
        log.info("run_claimed", run_id=run.run_id, attempt=run.attempt, device=run.device)
        try:
            await Attendance(self._office, tenant, run).attend()
        except ChimeraError as error:  # the lease runs out, and the run is taken up again
            log.warning("run_left", run_id=run.run_id, reason=str(error))
        except Exception:  # the boundary: one run must not end the others
            log.exception("run_left", run_id=run.run_id)
        finally:
            self._free.append(device)
            self.wake()
