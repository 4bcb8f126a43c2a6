"""From a finished run to a version that serves: commands for the controller, one after the other.

    register ── compile ──┬── promote      as far as the run is to go; an answer leads to the next
                          └─ replay ─┘     where its model's policy asks for one (`rehearsing`)

A command's id is the run's, its attempt's and the step's: one that is sent or answered twice is the same one. What
a controller refuses is told with its reason, and the version stays where it is: a model's promotion
policy is the controller's to hold. `tests/agents/training/test_agent.py`, `test_rehearsing.py`.
"""

from typing import TYPE_CHECKING, Any, assert_never

import msgspec
import structlog

from chimera.agents.training.telling import Telling, tell
from chimera.schemas.deployments import Change, takes_over
from chimera.schemas.errors import RequestError
from chimera.schemas.model_commands import (
    STORED,
    Command,
    CompileModel,
    PromoteModel,
    RegisterModel,
    encode_command,
)
from chimera.schemas.model_events import CommandAnswered, decode_event
from chimera.schemas.model_names import key
from chimera.schemas.training_config import TrainingConfig
from chimera.schemas.training_events import (
    Event,
    VersionCompiled,
    VersionPromoted,
    VersionRegistered,
    VersionWithheld,
)
from chimera.stores.postgres import Database
from chimera.stores.registry import deployments, outbox, replays, training_runs
from chimera.stores.registry.outbox import COMMANDS
from chimera.stores.registry.records import Tenant, Version
from chimera.stores.registry.tenants import Tenants
from chimera.stores.registry.training_runs import Stage, TrainingRun
from chimera.stores.registry.versions import version

if TYPE_CHECKING:
    from chimera.stores.postgres import Connection

log = structlog.get_logger(__name__)

_AFTER: dict[str, tuple[Stage, ...]] = {
    "registered": ("register", "released"),
    "compiled": ("register", "compile", "released"),
    "promoted": ("register", "compile", "promote", "released"),
}


class Releasing:
    """Of one desk."""

    def __init__(self, database: Database, telling: Telling) -> None:
        self._database, self._telling = database, telling

    async def hear(self, value: bytes) -> None:
        """Take a record of `models.events`; what answers no command of ours is passed over.

        Raises:
            PostgresUnavailable: hear it again.
        """
        try:
            answer = decode_event(value)
        except RequestError:
            return
        if not isinstance(answer, CommandAnswered) or answer.command_id is None:
            return
        run_id, _, step = answer.command_id.rpartition(".")
        run_id, _, attempt = run_id.rpartition(".")
        if not run_id or not attempt.isdecimal() or step not in _AFTER["promoted"][:-1]:
            return
        tenant = await Tenants(self._database).find(answer.tenant)
        if tenant is not None:
            await self._follow(answer, tenant, (run_id, int(attempt)))

    async def _follow(
        self, answer: CommandAnswered, tenant: Tenant, meant: tuple[str, int]
    ) -> None:
        async with self._database.tenant(tenant.id) as connection:
            run = await training_runs.find(connection, meant[0])
            if run is None or (run.run_id, run.attempt) != meant or run.stage is None:
                return
            if answer.command_id != command_id(run, run.stage):
                return
            if answer.outcome != "done":
                await training_runs.advance(
                    connection, run.run_id, run.stage, "withheld", answer.error
                )
                withheld = self._telling.of(
                    VersionWithheld, tenant.name, run, step=run.stage, error=answer.error
                )
                await tell(connection, tenant, withheld)
                return
            after = next_stage(run.until, run.stage)
            if after == "promote" and await _lacks_replay(connection, tenant, run):
                after = "replay"
            await training_runs.advance(connection, run.run_id, run.stage, after)
            await tell(connection, tenant, await self._done(connection, tenant, run, answer))
            await send(connection, tenant, run, after)

    async def _done(
        self, connection: "Connection", tenant: Tenant, run: TrainingRun, answer: CommandAnswered
    ) -> Event:
        if run.stage == "register":
            found: Version = await version(connection, run.model, run.run_id)
            return self._telling.of(
                VersionRegistered,
                tenant.name,
                run,
                version=run.run_id,
                manifest_sha256=found.digest,
            )
        if run.stage == "compile":
            return self._telling.of(VersionCompiled, tenant.name, run, version=run.run_id)
        return self._telling.of(
            VersionPromoted, tenant.name, run, version=run.run_id, revision=answer.revision
        )


def next_stage(until: str, stage: Stage) -> Stage:
    """What follows a step that was done."""
    steps = _AFTER[until]
    return steps[steps.index(stage) + 1]


async def _lacks_replay(connection: "Connection", tenant: Tenant, run: TrainingRun) -> bool:
    """Whether a promotion would be refused for want of one."""
    change = Change("promote", run.actor, version=run.run_id)
    live = await deployments.live(connection, tenant.id, run.model)
    if not takes_over(live, change, run.run_id):
        return False
    found = await version(connection, run.model, run.run_id)
    return bool(await replays.lacks(connection, found))


def command_id(run: TrainingRun, stage: Stage) -> str:
    return f"{run.run_id}.{run.attempt}.{stage}"


async def send(
    connection: "Connection", tenant: Tenant, run: TrainingRun, stage: Stage, digest: str = ""
) -> None:
    """The command of a step, through the outbox, if it has one."""
    if stage in ("replay", "released", "withheld"):
        return
    command = _command(tenant, run, stage, digest)
    where = key(tenant.name, run.model)
    await outbox.add(connection, tenant.id, COMMANDS, where, encode_command(command))


def _command(tenant: Tenant, run: TrainingRun, stage: Stage, digest: str) -> Command:
    release = msgspec.json.decode(run.config, type=TrainingConfig).release
    common: dict[str, Any] = {
        "command_id": command_id(run, stage),
        "tenant": tenant.name,
        "model": run.model,
        "actor": run.actor,
        "reason": f"training run {run.run_id}",
        "version": run.run_id,
    }
    match stage:
        case "register":
            return RegisterModel(**common, source=STORED, manifest_sha256=digest)
        case "compile":
            return CompileModel(**common, tiers=release.tiers)
        case "promote":
            return PromoteModel(**common, watch=release.watch)
        case "replay" | "released" | "withheld":
            raise AssertionError(f"there is no command to {stage}")
        case _:
            assert_never(stage)
