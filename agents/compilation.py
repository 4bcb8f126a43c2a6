"""Compiles a version for a command: in a process of its own, then into the store and the registry.

    materialized ── python -m chimera.workers.compiling ── files stored ── all rows in one transaction

Rows bear the command's id: one that is done again finds them, and compiles nothing. Commands behind
it wait for as long as it takes.
`tests/agents/test_compilation.py`.
"""

import asyncio
import hashlib
import sys
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import structlog

from chimera.agents.replies import Reply
from chimera.schemas.compile_report import REPORT_FILE, CompileReport, TierReport, decode
from chimera.schemas.errors import CompileFailed
from chimera.schemas.model_commands import CompileModel
from chimera.schemas.model_events import ModelCompiled
from chimera.schemas.settings import Settings, inheritable
from chimera.schemas.signing import Trusted
from chimera.schemas.tiers import BY_NAME
from chimera.stores.artifacts import Artifacts
from chimera.stores.postgres import Database
from chimera.stores.registry import artifacts as rows
from chimera.stores.registry.records import Artifact, Tenant, Version
from chimera.stores.registry.registry import Registry
from chimera.stores.registry.reports import row_of
from chimera.stores.versions import Versions

log = structlog.get_logger(__name__)

READ_BYTES, STDERR_BYTES = 65_536, 2_000
COMMAND_ID, REPORT = "command_id", "report_sha256"  # in a row's report, beside the tier's own


class Compilation:
    """Of one controller; one version at a time."""

    def __init__(
        self, settings: Settings, database: Database, artifacts: Artifacts, trusted: Trusted
    ) -> None:
        self._settings, self._database = settings, database
        self._artifacts, self._trusted = artifacts, trusted

    async def compile(self, command: CompileModel, tenant: Tenant, reply: Reply) -> None:
        """Compile, unless this command has done so already, and tell what came of it.

        Raises:
            UnknownModel, ModelRefused, CompileFailed; ArtifactsUnavailable, PostgresUnavailable.
        """
        if unknown := [name for name in command.tiers if name not in BY_NAME]:
            raise CompileFailed(f"there is no tier {unknown[0]}, only {', '.join(BY_NAME)}")
        registry = Registry(self._database, tenant.id)
        version = await registry.version(command.model, command.version)
        made = await self._made_before(command, registry)
        if not made:
            made = await self._make(command, tenant, version)
        reply.told.append(_event(made, reply, command.version))
        if not any(one.verdict == "verified" for one in made):
            raise CompileFailed(f"{command.model} {command.version}: no tier of it was verified")

    async def _made_before(self, command: CompileModel, registry: Registry) -> list[Artifact]:
        found = await registry.artifacts(command.model, command.version)
        return [one for one in found if one.report.get(COMMAND_ID) == command.command_id]

    async def _make(
        self, command: CompileModel, tenant: Tenant, version: Version
    ) -> list[Artifact]:
        with TemporaryDirectory(prefix="chimera-compile-") as scratch:
            out = Path(scratch) / "out"
            folder = await asyncio.to_thread(
                Versions(self._artifacts).materialize,
                version.digest,
                Path(scratch) / "models",
                self._trusted,
            )
            await self._run(folder, out, command.tiers)
            raw = await asyncio.to_thread((out / REPORT_FILE).read_bytes)
            report = decode(raw, REPORT_FILE)
            await asyncio.to_thread(self._store, report, raw, out)
        about = {COMMAND_ID: command.command_id, REPORT: hashlib.sha256(raw).hexdigest()}
        made = [row_of(one, version, about) for one in report.tiers]
        async with self._database.tenant(tenant.id) as connection:
            for one in made:
                await rows.add(connection, tenant.id, command.model, command.version, one)
        return made

    def _store(self, report: CompileReport, raw: bytes, out: Path) -> None:
        for one in report.tiers:
            for name in one.files:
                self._artifacts.put(out / one.variant / name)
        self._artifacts.put(BytesIO(raw))

    async def _run(self, folder: Path, out: Path, tiers: tuple[str, ...]) -> None:
        """Raises CompileFailed: refused, ended by a signal, or not done in time."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "chimera.workers.compiling", str(folder), str(out), *tiers),
            env=inheritable(),
            stdout=asyncio.subprocess.PIPE,  # of one whose reader is gone the next step is the last
            stderr=asyncio.subprocess.PIPE,
        )
        within_s = self._settings.controller.compile_within_s
        try:
            async with asyncio.timeout(within_s), asyncio.TaskGroup() as tasks:
                tasks.create_task(_follow(process.stdout))
                errors = tasks.create_task(_last(process.stderr))
                await process.wait()
        except TimeoutError:
            raise CompileFailed(f"it was not done within {within_s:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        text = errors.result()
        status = process.returncode or 0
        if status < 0:
            raise CompileFailed(f"its process was ended by signal {-status}: {text}")
        if status:
            raise CompileFailed(text or f"its process ended with status {status}")


async def _follow(steps: asyncio.StreamReader | None) -> None:
    """Progress goes into the log, a line a step."""
    assert steps is not None  # a pipe was asked for
    async for line in steps:
        log.info("compiling", step=line.decode("utf-8", "replace").strip())


async def _last(errors: asyncio.StreamReader | None) -> str:
    """The end of what a process says of its errors, which may be much."""
    assert errors is not None  # a pipe was asked for
    kept = b""
    while part := await errors.read(READ_BYTES):
        kept = (kept + part)[-STDERR_BYTES:]
    return kept.decode("utf-8", "replace").strip()


def _event(made: list[Artifact], reply: Reply, version: str) -> ModelCompiled:
    verdicts = {"verified": "verified", "refused": "rejected", "skipped": "skipped"}
    tiers = [
        {
            "tier": msgspec.convert(one.report, TierReport, str_keys=True).variant,
            "verdict": verdicts[one.verdict],
            "reason": one.reason,
            "sha256": one.sha256,
        }
        for one in made
    ]
    event = {
        **reply.common,
        "event": "compiled",
        "version": version,
        "report_sha256": made[0].report[REPORT],
        "tiers": tiers,
    }
    return msgspec.convert(event, ModelCompiled)
