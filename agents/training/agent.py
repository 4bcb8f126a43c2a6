"""The training agent: a desk, where one of all agents leads, and a runner of its own.

    triggers ── desk ── jobs in the registry ── runner ── trainers ── versions ── models.commands
                  └───── training.events ◂── outbox ◂──────┘

Any number may run, on any machines that share the folder of runs and the store of artifacts.
`tests/agents/training/test_agent.py`.
"""

import asyncio
import os
import platform
from collections.abc import Callable

from chimera.agents.training.attendance import Office
from chimera.agents.training.desk import Desk
from chimera.agents.training.metrics import TrainerMetrics
from chimera.agents.training.packing import Packing
from chimera.agents.training.runner import Runner
from chimera.agents.training.telling import Telling
from chimera.schemas.settings import Settings
from chimera.stores.postgres import Database

STOP_WITHIN_S = 5.0  # what is not published then, whoever leads next publishes


class TrainingAgent:
    """`run` it; `stop` ends it after its runs are given back."""

    def __init__(
        self,
        settings: Settings,
        bootstrap: str,
        database: Database,
        step: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`database` is started, and stays the caller's; `step` is called by name at each stage.

        Raises:
            ConfigurationError: a prefix of the settings is none.
        """
        telling = Telling(f"trainer-{platform.node()}-{os.getpid()}")
        self._stopping, self._closing = asyncio.Event(), asyncio.Event()
        self.metrics = TrainerMetrics()
        packing = Packing(settings)
        office = Office(settings, database, telling, packing, self.metrics, self._stopping, step)
        self._runner = Runner(office)
        self._desk = Desk(settings, bootstrap, database, telling, self._runner.wake, step)
        self.metrics.leads.set_function(self._desk.leads.is_set)

    @property
    def leads(self) -> asyncio.Event:
        """Set while its desk is the one that takes triggers."""
        return self._desk.leads

    async def run(self) -> None:
        """Until `stop`."""
        desk = asyncio.create_task(self._desk.run(self._closing), name="training-desk")
        try:
            await self._runner.run()
            self._closing.set()
            if self._desk.leads.is_set():  # what its runner told last is to be published
                await asyncio.wait((desk,), timeout=STOP_WITHIN_S)
        finally:
            desk.cancel()
            await asyncio.wait((desk,))

    def stop(self) -> None:
        self._stopping.set()
