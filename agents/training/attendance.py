"""One attempt at a run: its trainer started, its lease held, what happens told, its end written down.

    claimed ── trainer ──┬── says finished ── packed ── recorded, signed ── finished, registering
                         ├── says failed ────────────────────────────────── failed
                         ├── ended, or hangs ────────────────────────────── queued again; too often: failed
                         ├── is cancelled ───────────────────────────────── cancelled
                         └── its lease is lost ──────────────────────────── killed: it is another's

Whoever cannot renew a lease in time ends its trainer before the lease does, so a run never has two.
`tests/agents/training/test_agent.py` kills both.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from chimera.agents.training import process, releasing
from chimera.agents.training.metrics import TrainerMetrics
from chimera.agents.training.packing import Packing
from chimera.agents.training.process import TrainerProcess
from chimera.agents.training.telling import Telling, tell
from chimera.schemas.errors import ChimeraError, PostgresUnavailable
from chimera.schemas.settings import Settings
from chimera.schemas.training_config import TrainingConfig
from chimera.schemas.training_events import (
    MAX_REASON,
    CheckpointSaved,
    DriftFound,
    Event,
    RunCancelled,
    RunEvaluated,
    RunFailed,
    RunFinished,
    RunInterrupted,
    RunProgressed,
    VersionWithheld,
    encode_event,
)
from chimera.schemas.training_manifest import TrainingManifest
from chimera.stores.postgres import Database
from chimera.stores.registry import training_policies, training_runs
from chimera.stores.registry.records import Tenant
from chimera.stores.registry.training_runs import Ending, TrainingRun
from chimera.workers.training import limits, pruning
from chimera.workers.training.folder import runs_of
from chimera.workers.training.lines import Evaluated, Failed, Finished, Line, Order, Saved, Stepped

log = structlog.get_logger(__name__)

T = TypeVar("T")


class _Over(Exception):
    """The attempt ends here: the trainer is killed, then this is written down."""

    def __init__(self, write: Callable[[], Awaitable[None]]) -> None:
        self.write = write


@dataclass(frozen=True, slots=True)
class Office:
    """What all attendances of an agent share."""

    settings: Settings
    database: Database
    telling: Telling
    packing: Packing
    metrics: TrainerMetrics
    stopping: asyncio.Event
    step: Callable[[str], None]  # called by name at each stage


class Attendance:
    """Of one claim."""

    def __init__(self, office: Office, tenant: Tenant, run: TrainingRun) -> None:
        self._office, self._tenant, self._run = office, tenant, run
        self._of = office.settings.trainer
        self._fruitless, self._progress = run.fruitless, None if run.progress is None else ""
        self._config = msgspec.json.decode(run.config, type=TrainingConfig)

    async def attend(self) -> None:
        """Until the attempt is over. Raises PostgresUnavailable: whether it is, others will see."""
        try:
            if self._run.cancelled_by:
                raise _Over(self._cancelled)
            async with process.started(self._order()) as trainer:
                await self._beating(trainer.ended, trainer)
                await self._beat(trainer)
                ended = await self._end_of(trainer)
        except _Over as over:
            ended = over.write
        await ended()
        self._office.step("after_end")

    def _order(self) -> Order:
        training, of, runs = self._office.settings.training, self._of, self._runs_dir()
        return process.new_order(
            config=msgspec.to_builtins(self._config),
            runs_dir=str(runs),
            run_id=self._run.run_id,
            allowed=training.allowed,
            device=self._run.device,
            nice=of.nice,
            threads=min(self._config.loop.threads or of.threads, of.threads),
            memory_bytes=of.memory_bytes or self._share_bytes(),
            resident_bytes=training.resident_bytes,
            tell_s=of.tell_s,
            mlflow_uri=training.mlflow_uri,
        )

    def _share_bytes(self) -> int | None:
        """What a trainer may allocate where nobody has said; on a GPU nobody has tried a limit."""
        is_gpu = self._run.device != "cpu"
        return None if is_gpu else limits.share_bytes(len(self._of.devices))

    def _runs_dir(self) -> Path:
        return runs_of(self._office.settings.training.dir, self._tenant.name)

    # While it goes on.

    async def _beating(self, work: "asyncio.Task[T]", trainer: TrainerProcess) -> T:
        """The lease is held while something goes on. Raises _Over: it must not go on."""
        while True:
            done, _ = await asyncio.wait((work,), timeout=self._of.tell_s)
            if done:
                return work.result()
            await self._beat(trainer)
            self._require_going_on(trainer)

    async def _beat(self, trainer: TrainerProcess) -> None:
        """Hold the lease, and tell what was said. Raises _Over: lost, or cancelled."""
        told = [self._event(line) for line in trainer.take()]
        if any(isinstance(one, CheckpointSaved) for one in told):
            self._fruitless = 0
        steps = [one for one in told if isinstance(one, RunProgressed)]
        progress = encode_event(steps[-1]).decode() if steps else None
        told = [one for one in told if not isinstance(one, RunProgressed) or one is steps[-1]]
        try:
            async with (
                asyncio.timeout(self._of.lease_s / 2),
                self._office.database.tenant(self._tenant.id) as connection,
            ):
                cancelled_by = await training_runs.beat(
                    connection, self._run, self._of.lease_s, progress, self._fruitless
                )
                if cancelled_by is None:
                    raise _Over(self._lost)
                await tell(connection, self._tenant, *told)
        except (TimeoutError, PostgresUnavailable):
            raise _Over(self._lost) from None
        self._office.metrics.renewed((self._run.run_id, self._run.attempt))
        self._office.step("after_beat")
        if cancelled_by:
            self._run = msgspec.structs.replace(self._run, cancelled_by=cancelled_by)
            raise _Over(self._cancelled)

    def _require_going_on(self, trainer: TrainerProcess) -> None:
        """Raises _Over: the agent stops, or the trainer hangs."""
        if self._office.stopping.is_set():
            raise _Over(self._stopped)
        limit_s = self._of.hang_s if trainer.has_stepped else self._of.start_within_s
        if trainer.last is None and time.monotonic() - trainer.heard_s > limit_s:
            what = "no step" if trainer.has_stepped else "no first step"
            error = f"{what} within {limit_s:g} s: it hangs, and was ended"
            raise _Over(lambda: self._broken_off("hung", error))

    def _event(self, line: Line) -> Event:
        attempt = {"attempt": self._run.attempt}
        of, tenant, run = self._office.telling.of, self._tenant.name, self._run
        match line:
            case Stepped():
                batch = self._config.loop.batch_size
                left = (line.updates - line.update) * batch / line.rows_s if line.rows_s else None
                return of(
                    RunProgressed, tenant, run, **attempt, epoch=line.epoch, update=line.update,
                    updates=line.updates, loss=line.loss, lr=line.lr, samples_per_s=line.rows_s,
                    eta_s=left, memory_bytes=line.memory_bytes,
                )  # fmt: skip
            case Evaluated():
                fields = msgspec.structs.asdict(line)
                return of(RunEvaluated, tenant, run, **attempt, **fields)
            case Saved():
                fields = msgspec.structs.asdict(line)
                return of(CheckpointSaved, tenant, run, **attempt, **fields)
            case _:
                raise AssertionError(f"{type(line).__name__} is a trainer's last line")

    # How it ends.

    async def _end_of(self, trainer: TrainerProcess) -> Callable[[], Awaitable[None]]:
        last = trainer.last
        if isinstance(last, Finished):
            digest, why = "", last.unservable
            if not why:
                digest, why = await self._packed(last, trainer)
            manifest = await self._recorded(last.manifest, why, trainer)
            if not why:  # nobody reads its data any more
                await self._forgotten(trainer)
            return lambda: self._finished(manifest, digest, why)
        if isinstance(last, Failed):
            return lambda: self._failed(last)
        status = trainer.status or 0
        error = f"its trainer was ended by signal {-status}"
        if status >= 0:
            error = f"its trainer ended with status {status} and said nothing; see {process.LOG}"
        return lambda: self._broken_off("died", error)

    async def _packed(self, last: Finished, trainer: TrainerProcess) -> tuple[str, str]:
        """The version's digest, or why there is none."""
        folder = Path(last.version_dir)
        work = asyncio.create_task(asyncio.to_thread(self._office.packing.pack, folder))
        try:
            return await self._beating(work, trainer), ""
        except ChimeraError as error:
            return "", str(error)
        finally:
            work.cancel()

    async def _recorded(
        self, draft: TrainingManifest, why: str, trainer: TrainerProcess
    ) -> TrainingManifest:
        """The run's manifest, with its version if it has one, as it stands in the history now."""
        version = None if why else self._run.run_id
        draft = msgspec.structs.replace(draft, version=version, signature="")
        record, runs = self._office.packing.record, self._runs_dir()
        work = asyncio.create_task(asyncio.to_thread(record, runs, draft))
        found = await self._beating(work, trainer)
        self._office.step("after_record")
        return found

    async def _forgotten(self, trainer: TrainerProcess) -> None:
        forget, folder = pruning.forget_data, self._runs_dir() / self._run.run_id
        await self._beating(asyncio.create_task(asyncio.to_thread(forget, folder)), trainer)

    async def _finished(self, manifest: TrainingManifest, digest: str, why: str) -> None:
        run, of = self._run, self._office.telling.of
        name = self._tenant.name
        told: list[Event] = [of(RunFinished, name, run, manifest=manifest)]
        columns = tuple(one for one in manifest.drift_from_previous if one.is_drift)
        if columns:
            before = manifest.previous_run_id
            told.append(of(DriftFound, name, run, previous_run_id=before, columns=columns))
        if why:
            why = why[:MAX_REASON]
            told.append(of(VersionWithheld, name, run, step="pack", error=why))
        ending = Ending(
            state="finished",
            error=why or None,
            manifest=manifest,
            stage="withheld" if why else "register",
        )
        await self._write(ending, told, digest)

    async def _failed(self, last: Failed) -> None:
        failed = self._failure(last.code, last.error)
        await self._write(Ending(state="failed", error=last.error), [failed])

    async def _cancelled(self) -> None:
        who = self._run.cancelled_by
        told = self._office.telling.of(RunCancelled, self._tenant.name, self._run, actor=who)
        await self._write(Ending(state="cancelled"), [told])

    async def _broken_off(self, code: str, error: str) -> None:
        """Its trainer is gone: once more, unless that has led nowhere too often."""
        fruitless = self._fruitless + 1
        if fruitless >= self._of.max_attempts:
            error = f"{error}; {fruitless} attempts in a row left no checkpoint"
            await self._write(Ending(state="failed", error=error), [self._failure(code, error)])
        else:
            await self._give_back(code, error, fruitless)

    async def _stopped(self) -> None:
        await self._give_back("agent_stopped", "its agent was told to stop", self._fruitless)

    async def _lost(self) -> None:
        self._office.metrics.ended("lost")
        log.warning("lease_lost", run_id=self._run.run_id, attempt=self._run.attempt)

    def _failure(self, code: str, error: str) -> RunFailed:
        fields = {"code": code, "error": error[:MAX_REASON], "attempt": self._run.attempt}
        return self._office.telling.of(RunFailed, self._tenant.name, self._run, **fields)

    async def _give_back(self, code: str, error: str, fruitless: int) -> None:
        told = self._office.telling.of(
            RunInterrupted,
            self._tenant.name,
            self._run,
            code=code,
            error=error,
            attempt=self._run.attempt,
        )
        async with self._office.database.tenant(self._tenant.id) as connection:
            if not await training_runs.give_back(connection, self._run, fruitless):
                await self._lost()
                return
            await tell(connection, self._tenant, told)
        self._office.metrics.ended("interrupted")

    async def _write(self, ending: Ending, told: Sequence[Event], digest: str = "") -> None:
        """All of an end, or nothing where the lease is lost."""
        self._office.step("before_end")
        async with self._office.database.tenant(self._tenant.id) as connection:
            if not await training_runs.end(connection, self._run, ending):
                await self._lost()
                return
            await tell(connection, self._tenant, *told)
            is_drift = any(isinstance(one, DriftFound) for one in told)
            if is_drift and self._run.reason != "drift":  # else it has learnt from these data
                await training_policies.alert(connection, self._run.model, self._run.run_id)
            if ending.stage is not None:
                await releasing.send(connection, self._tenant, self._run, ending.stage, digest)
        self._office.metrics.ended(ending.state)
