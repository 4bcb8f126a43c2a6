"""A registered version into its tiers: out of the store, compiled, what is verified back into it.

    version ── its folder, once its signature was checked ── report ── native code signed
    ── each verified tier's files stored ── one row a variant in the registry

A row has the digest of the file that its tier runs (of the source, for tiers that are not compiled)
and a whole report that holds this one tier, so rows of several machines can be read as they are.
`tests/cli/test_models_registry.py`.
"""

import asyncio
import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from msgspec.structs import replace

from chimera.cli.registry import opened
from chimera.schemas.compile_report import REPORT_FILE, CompileReport, TierReport, Verdict, encode
from chimera.schemas.errors import ModelRefused
from chimera.schemas.manifest import File
from chimera.schemas.settings import Settings
from chimera.schemas.signing import SigningKey
from chimera.schemas.tiers import BY_NAME, ENGINE, PACKAGE
from chimera.stores import keys
from chimera.stores.artifacts import Artifacts
from chimera.stores.registry import records
from chimera.stores.registry.records import Artifact, Version
from chimera.stores.versions import Versions
from chimera.workers.compiling.attempts import Progress
from chimera.workers.compiling.pipeline import Targets, compile
from chimera.workers.vouching import sign_program

PROGRAMS = (PACKAGE, ENGINE)  # native code: each is signed by itself
VERDICTS: dict[Verdict, records.Verdict] = {
    "verified": "verified",
    "rejected": "refused",
    "failed": "refused",
    "skipped": "skipped",
}


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
    digest = hashlib.sha256(found.manifest_bytes).hexdigest()
    with TemporaryDirectory(prefix="chimera-compile-") as scratch:
        folder = Versions(store).materialize(digest, Path(scratch), trusted)
        report = compile(folder, targets, out, settings.compiling, progress)
    tiers = tuple(signed(one, out / one.variant, key) for one in report.tiers)
    report = replace(report, tiers=tiers)
    (out / REPORT_FILE).write_bytes(encode(report))
    for one in tiers:
        _store(store, one, out / one.variant)
    wanted = targets.tiers or tuple(one.tier for one in tiers)
    rows = [artifact(report, one, found) for one in tiers if one.tier in wanted]
    asyncio.run(_write_down(settings, found, rows))
    return report


def artifact(report: CompileReport, tier: TierReport, version: Version) -> Artifact:
    """One variant, as the registry keeps it."""
    file: File | None = None
    if tier.verdict == "verified":
        own = BY_NAME[tier.tier].file
        file = tier.files[own] if own else version.files[version.manifest.source]
    return Artifact(
        tier.tier,
        tier.precision,
        tier.target,
        VERDICTS[tier.verdict],
        tier.reason,
        file.sha256 if file else None,
        file.size_bytes if file else None,
        msgspec.to_builtins(replace(report, tiers=(tier,)), str_keys=True),
    )


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
