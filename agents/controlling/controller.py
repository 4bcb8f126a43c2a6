"""The controller: whoever owns `models.commands`, publishes the outbox, and judges versions.

    waits ── leads (a lock of Postgres) ── fences ── reigns (`reign.py`)
      ▴                                                │
      └── fenced, or Kafka or Postgres is away ────────┘   whoever leads next goes on

Any number of them may run; one reigns. `tests/agents/controlling/test_controller.py`.
"""

# pyright: reportMissingTypeStubs=false
# (aiokafka ships no type information)

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import cast

import structlog
from aiokafka.errors import KafkaError
from prometheus_client import CollectorRegistry

from chimera.agents.controlling.command_log import CommandLog
from chimera.agents.controlling.commands import Commands
from chimera.agents.controlling.controller_metrics import ControllerMetrics
from chimera.agents.controlling.judging import Judging
from chimera.agents.controlling.observed_log import ObservedLog
from chimera.agents.controlling.reign import Reign
from chimera.schemas.errors import KafkaUnavailable, PostgresUnavailable
from chimera.schemas.settings import Settings
from chimera.stores.postgres import Database
from chimera.stores.registry.leadership import leading
from chimera.stores.registry.outbox import Outbox
from chimera.topics import connections
from chimera.topics.producers import ProducerError

log = structlog.get_logger(__name__)

TRY_AGAIN_S = 1.0
STOP_WITHIN_S = 5.0  # a command that takes longer is done again by whoever leads next
PASSES = (ProducerError, KafkaUnavailable, KafkaError, PostgresUnavailable)


class Controller:
    """After `start` it waits for its turn, and leads until `stop`."""

    # What it runs on comes one by one.
    def __init__(
        self,
        settings: Settings,
        bootstrap: str,
        database: Database,
        step: Callable[[str], None] = lambda _: None,
        metrics: ControllerMetrics | None = None,
    ) -> None:
        """`database` is started, and stays the caller's; `step` is called by name at each stage.

        `metrics`: none are shown where none are given.

        Raises:
            ConfigurationError: the store of artifacts, or a trusted key, is wrong.
        """
        self.leads = asyncio.Event()
        self._database, self._step = database, step
        self._metrics = metrics or ControllerMetrics(CollectorRegistry())
        self._judge_s = settings.controller.judge_ms / 1000
        self._new_log = partial(CommandLog, settings, bootstrap, step)
        self._source = self._new_log().transactional_id
        self._commands = Commands(settings, database, self._source)
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns at once; whether it leads is another question."""
        connections.install()
        self._task = asyncio.create_task(self._run(), name="controller")

    async def stop(self) -> None:
        """Ends after the command that it does, if that is soon; what is left is the next one's."""
        if self._task is None:
            return
        self._stopping.set()
        if self.leads.is_set():
            await asyncio.wait((self._task,), timeout=STOP_WITHIN_S)
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._lead()
            except* PASSES as group:
                log.warning("controller_steps_down", reason=_told(cast(BaseException, group)))
                await asyncio.sleep(TRY_AGAIN_S)
            except* Exception:  # the boundary: a node that serves must not lose its controller
                log.exception("controller_failed")
                await asyncio.sleep(TRY_AGAIN_S)
            finally:
                self.leads.clear()
                self._metrics.held.clear()
                self._metrics.unread.set(0)

    async def _lead(self) -> None:
        commands_log = self._new_log()
        observed_log = ObservedLog(
            commands_log.topics.model_observed.name, commands_log.consumer_arguments
        )
        async with (
            leading(self._database) as still,
            commands_log.opened() as commands,
            observed_log.opened() as observed,
        ):
            judging = Judging(self._database, observed, self._source, self._step, self._metrics)
            await judging.start()
            outbox = Outbox(self._database)
            reign = Reign(
                still, commands, self._commands, outbox, judging, self._step, self._metrics
            )
            self.leads.set()
            log.info("controller_leads", transactional_id=self._source)
            await reign.run(self._stopping, self._judge_s)


def _told(failure: BaseException) -> str:
    """The first of what went wrong: the others follow from it."""
    while isinstance(failure, ExceptionGroup):
        failure = cast(ExceptionGroup[Exception], failure).exceptions[0]
    return str(failure) or repr(failure)
