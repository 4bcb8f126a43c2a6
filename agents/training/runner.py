"""Takes runs that wait, one for each place on a device, and attends to them until they are over.

The first of all tenants' queues goes first, by priority and then by time. Any number of agents share the
queue: a claim is one statement. The queue is looked at, and its length told, also while no place is free. `tests/agents/training/test_agent.py`.
"""

import asyncio
from collections.abc import Sequence

import structlog

from chimera.agents.training.attendance import Attendance, Office
from chimera.agents.training.telling import tell
from chimera.schemas.errors import ChimeraError
from chimera.schemas.training_events import RunStarted
from chimera.stores.registry import training_runs
from chimera.stores.registry.records import Tenant
from chimera.stores.registry.tenants import Tenants
from chimera.stores.registry.training_runs import TrainingRun, Waiting

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
            while waiting := await self._waiting():
                if not self._free or not (claimed := await self._claim(waiting, self._free[-1])):
                    break
                device = self._free.pop()
                tasks.create_task(self._attend(device, *claimed), name=claimed[1].run_id)
        except ChimeraError as error:
            log.warning("queue_not_read", reason=str(error))
        except Exception:  # the boundary: what is under way goes on, and the queue is read again
            log.exception("queue_not_read")

    async def _waiting(self) -> list[Tenant]:
        """Tenants with runs that wait, in the order of the first of each."""
        database = self._office.database
        found: list[tuple[Waiting, Tenant]] = []
        for tenant in await Tenants(database).all():
            async with database.tenant(tenant.id) as connection:
                if waiting := await training_runs.waiting(connection):
                    found.append((waiting, tenant))
        self._office.metrics.queued.set(sum(waiting.runs for waiting, _ in found))
        found.sort(key=lambda one: (one[0].priority, one[0].queued_at, one[1].name))
        return [tenant for _, tenant in found]

    async def _claim(
        self, waiting: Sequence[Tenant], device: str
    ) -> tuple[Tenant, TrainingRun] | None:
        database, of = self._office.database, self._office.settings.trainer
        for tenant in waiting:
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
        metrics = self._office.metrics
        try:
            with metrics.attended((run.run_id, run.attempt)):
                await Attendance(self._office, tenant, run).attend()
        except ChimeraError as error:  # the lease runs out, and the run is taken up again
            metrics.ended("lost")
            log.warning("run_left", run_id=run.run_id, reason=str(error))
        except Exception:  # the boundary: one run must not end the others
            metrics.ended("lost")
            log.exception("run_left", run_id=run.run_id)
        finally:
            self._free.append(device)
            self.wake()
