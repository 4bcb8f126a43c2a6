"""A registered version into its tiers: out of the store, compiled, what is verified back into it.

    version ── its folder, once its signature was checked ── report ── native code signed
    ── each verified tier's files stored ── one row a variant in the registry

`tests/cli/test_models_registry.py`.
"""

import asyncio
import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec.structs import replace

from chimera.cli.registry import opened
from chimera.schemas.compile_report import REPORT_FILE, CompileReport, TierReport, encode
from chimera.schemas.errors import ModelRefused
from chimera.schemas.manifest import File
from chimera.schemas.settings import Settings
from chimera.schemas.signing import SigningKey
from chimera.schemas.tiers import ENGINE, PACKAGE
from chimera.stores import keys
from chimera.stores.artifacts import Artifacts
from chimera.stores.registry.records import Artifact, Version
from chimera.stores.registry.reports import row_of
from chimera.stores.versions import Versions
from chimera.workers.compiling.attempts import Progress
from chimera.workers.compiling.pipeline import Targets, compile
from chimera.workers.vouching import sign_program

PROGRAMS = (PACKAGE, ENGINE)  # native code: each is signed by itself


def compile_registered(
    model: str, version: str, settings: Settings, targets: Targets, out: Path, progress: Progress
) -> CompileReport:
    """Compile a version of the registry; `out` gets what `compile` writes, and signatures.

    Raises:
        UnknownModel: it is not registered. ConfigurationError: no key, or no registry.
        SignatureInvalid: nobody trusted vouches for what is stored.
        ModelRefused, ArtifactsUnavailable, PostgresUnavailable.
    """
    key, trusted = keys.signing_key(settings.keys), keys.trusted(settings.keys)
    store = Artifacts(settings.artifacts.url, settings.artifacts.cache_dir)
    found = asyncio.run(_version(settings, model, version))
    with TemporaryDirectory(prefix="chimera-compile-") as scratch:
        folder = Versions(store).materialize(found.digest, Path(scratch), trusted)
        report = compile(folder, targets, out, settings.compiling, progress)
    tiers = tuple(signed(one, out / one.variant, key) for one in report.tiers)
    report = replace(report, tiers=tiers)
    (out / REPORT_FILE).write_bytes(encode(report))
    for one in tiers:
        _store(store, one, out / one.variant)
    wanted = targets.tiers or tuple(one.tier for one in tiers)
    rows = [row_of(one, found, {"machine": report.machine}) for one in tiers if one.tier in wanted]
    asyncio.run(_write_down(settings, found, rows))
    return report


def signed(tier: TierReport, folder: Path, key: SigningKey) -> TierReport:
    """With a signature of its native code, where it has some, beside it and among its files."""
    files = dict(tier.files)
    for name in PROGRAMS:
        if name in tier.files:
            signature = sign_program(folder / name, key)
            content = signature.read_bytes()
            files[signature.name] = File(hashlib.sha256(content).hexdigest(), len(content))
    return replace(tier, files=files)


def _store(store: Artifacts, tier: TierReport, folder: Path) -> None:
    for name, file in tier.files.items():
        if store.put(folder / name) != file:
            raise ModelRefused(f"{folder / name}: changed since it was verified")


async def _version(settings: Settings, model: str, version: str) -> Version:
    async with opened(settings.postgres) as registry:
        return await registry.version(model, version)


async def _write_down(settings: Settings, version: Version, rows: list[Artifact]) -> None:
    async with opened(settings.postgres) as registry:
        for row in rows:
            await registry.add_artifact(version.model, version.version, row)
