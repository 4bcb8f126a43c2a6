"""Compiles a version for a command: in a process of its own, then into the store and the registry.

    materialized ── compiled (`compiler`) ── native code signed ── files stored ── all rows at once
                                                              what it is live with: one transaction ─┘

Each step is told while it goes on. Rows are of the tiers that were asked for, and bear the command's
id: one that is done again finds them, and compiles nothing. Where there is no key to sign with,
tiers of native code are skipped.
`tests/agents/controlling/test_compilation.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import structlog
from msgspec.structs import replace

from chimera.agents.controlling import compiler
from chimera.agents.controlling.replies import Reply
from chimera.schemas.compile_report import (
    REPORT_FILE,
    CompileReport,
    Step,
    TierReport,
    decode,
    encode,
)
from chimera.schemas.deployments import Change, fold
from chimera.schemas.errors import CompileFailed, ModelRefused
from chimera.schemas.model_commands import CompileModel
from chimera.schemas.model_events import CompileStepped, Event, ModelCompiled
from chimera.schemas.settings import Settings
from chimera.schemas.signing import SigningKey, Trusted
from chimera.schemas.tiers import BY_NAME
from chimera.stores.artifacts import Artifacts
from chimera.stores.postgres import Database
from chimera.stores.registry import artifacts as rows
from chimera.stores.registry import deployments
from chimera.stores.registry.records import Artifact, Tenant, Version
from chimera.stores.registry.registry import Registry
from chimera.stores.registry.reports import row_of
from chimera.stores.versions import Versions
from chimera.workers.vouching import sign_native

log = structlog.get_logger(__name__)

SERVES_ON = "; it serves on with what nodes have: roll it back, or deploy another"
COMMAND_ID, REPORT = "command_id", "report_sha256"  # in a row's report, beside the tier's own

Tell = Callable[[Event], Awaitable[None]]


class Compilation:
    """Of one controller; one version at a time."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        artifacts: Artifacts,
        trusted: Trusted,
        key: SigningKey | None,
    ) -> None:
        """`key` signs native code; none: there will be none."""
        self._settings, self._database = settings, database
        self._artifacts, self._trusted, self._key = artifacts, trusted, key

    async def compile(
        self, command: CompileModel, tenant: Tenant, reply: Reply, tell: Tell
    ) -> None:
        """Compile, unless this command has done so already, and tell what came of it.

        `tell` is for what is to be known at once, however the command ends.

        Raises:
            UnknownModel, ModelRefused, CompileFailed; ArtifactsUnavailable, PostgresUnavailable.
        """
        if unknown := [name for name in command.tiers if name not in BY_NAME]:
            raise CompileFailed(f"there is no tier {unknown[0]}, only {', '.join(BY_NAME)}")
        registry = Registry(self._database, tenant.id)
        version = await registry.version(command.model, command.version)
        made = await self._made_before(command, registry)
        if not made:
            made = await self._make(command, tenant, version, _telling(command, reply, tell))
        reply.told.append(_event(made, reply, command.version))
        history = await registry.history(command.model)
        followed = (one.sequence for one in history if one.command_id == command.command_id)
        reply.revision = next(followed, 0)
        if not any(one.verdict == "verified" for one in made):
            live = fold(tenant.name, command.model, history)
            why = f"{command.model} {command.version}: no tier of it was verified"
            is_served = live.serving is not None and live.serving.version == command.version
            raise CompileFailed(why + SERVES_ON if is_served and not reply.revision else why)

    async def _made_before(self, command: CompileModel, registry: Registry) -> list[Artifact]:
        found = await registry.artifacts(command.model, command.version)
        return [one for one in found if one.report.get(COMMAND_ID) == command.command_id]

    async def _make(
        self, command: CompileModel, tenant: Tenant, version: Version, tell: compiler.Tell
    ) -> list[Artifact]:
        with TemporaryDirectory(prefix="chimera-compile-") as scratch:
            out = Path(scratch) / "out"
            models_dir, store = Path(scratch) / "models", Versions(self._artifacts)
            folder = await asyncio.to_thread(
                store.materialize, version.digest, models_dir, self._trusted
            )
            options = () if self._key is not None else (compiler.WITHOUT_NATIVE,)
            arguments = (*options, str(folder), str(out), *command.tiers)
            await compiler.run(arguments, self._settings.controller.compile_within_s, tell)
            report, digest = await asyncio.to_thread(self._store, out)
        about = {COMMAND_ID: command.command_id, REPORT: digest}
        wanted = command.tiers or BY_NAME
        made = [row_of(one, version, about) for one in report.tiers if one.tier in wanted]
        async with self._database.tenant(tenant.id) as connection:
            for one in made:
                await rows.add(connection, tenant.id, command.model, command.version, one)
            await deployments.recompile(connection, tenant.id, command.model, _change(command))
        return made

    def _store(self, out: Path) -> tuple[CompileReport, str]:
        """Sign what is native, and store all files; the report as it is now, and its digest."""
        report = decode((out / REPORT_FILE).read_bytes(), REPORT_FILE)
        if self._key is not None:
            key = self._key
            tiers = tuple(sign_native(one, out / one.variant, key) for one in report.tiers)
            report = replace(report, tiers=tiers)
        for one in report.tiers:
            for name, file in one.files.items():
                if self._artifacts.put(out / one.variant / name) != file:
                    raise ModelRefused(f"{one.variant}/{name}: changed since it was verified")
        return report, self._artifacts.put(BytesIO(encode(report))).sha256


def _change(command: CompileModel) -> Change:
    version, command_id = command.version, command.command_id
    return Change("recompile", command.actor, command.reason, version, command_id=command_id)


def _telling(command: CompileModel, reply: Reply, tell: Tell) -> compiler.Tell:
    """Steps as events."""

    async def step(done: Step) -> None:
        log.info("compiling", version=command.version, **msgspec.to_builtins(done))
        about = {"version": command.version, "tier": done.variant, "stage": done.stage}
        event = {**reply.common, **about, "event": "compiling", "detail": done.detail}
        await tell(msgspec.convert(event, CompileStepped))

    return step


def _event(made: list[Artifact], reply: Reply, version: str) -> ModelCompiled:
    verdicts = {"verified": "verified", "refused": "rejected", "skipped": "skipped"}
    reports = [msgspec.convert(one.report, TierReport, str_keys=True) for one in made]
    tiers = [
        {
            "tier": report.variant,
            "verdict": verdicts[one.verdict],
            "reason": one.reason,
            "sha256": one.sha256,
            "report": msgspec.to_builtins(report),
        }
        for one, report in zip(made, reports, strict=True)
    ]
    event = {
        **reply.common,
        "event": "compiled",
        "version": version,
        "report_sha256": made[0].report[REPORT],
        "tiers": tiers,
    }
    return msgspec.convert(event, ModelCompiled)
