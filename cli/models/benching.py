"""A registered version's tiers, measured on this machine: found by name, laid out, opened, compared.

    registry: version, artifacts ── files laid out, signatures checked ── each tier in turns ── report

The report is that of its compilation, with the times of this machine. Nothing is written into the
registry: what dispatch chooses by was measured where it was verified. `tests/cli/test_models_registry.py`.
"""

import time

import msgspec

from chimera.cli.models.registry import opened
from chimera.schemas.compile_report import CompileReport, TierReport
from chimera.schemas.errors import DeploymentRefused
from chimera.schemas.model_state import LiveVersion
from chimera.schemas.settings import Settings
from chimera.schemas.tiers import BY_NAME
from chimera.stores import keys
from chimera.stores.artifacts import Artifacts
from chimera.stores.layout import Layout
from chimera.stores.registry.records import Artifact, Version
from chimera.stores.registry.states import newest, tiers_of
from chimera.workers.compiling.attempts import Progress
from chimera.workers.compiling.pipeline import Targets
from chimera.workers.compiling.remeasurement import Pace, remeasure
from chimera.workers.compiling.targets import machine, of_cpu

Known = tuple[Version, list[Artifact]]


async def find(settings: Settings, model: str, version: str | None) -> Known:
    """A version and its artifacts; without a version the one that serves, else the newest.

    Raises:
        UnknownModel, PostgresUnavailable, ConfigurationError: as the registry.
        DeploymentRefused: no tier of it is verified.
    """
    async with opened(settings.postgres) as registry:
        if version is None:
            live = (await registry.live(model)).serving
            version = live.version if live else (await registry.versions(model))[0].version
        found = await registry.version(model, version)
        artifacts = await registry.artifacts(model, version)
    if not tiers_of(artifacts):
        raise DeploymentRefused(
            f"bench {model} {version}: no tier of it is verified; compile it first"
        )
    return found, artifacts


def bench(settings: Settings, known: Known, progress: Progress) -> CompileReport:
    """Measure it; in this very process.

    Raises:
        ModelRefused: nobody trusted vouches for it. ArtifactsUnavailable, ArtifactMissing.
    """
    started_s, made_at_ms = time.monotonic(), time.time_ns() // 1_000_000
    version, artifacts = known
    stored = settings.artifacts
    store = Artifacts(stored.url, stored.cache_dir)
    layout = Layout(store, keys.trusted(settings.keys), stored.cache_dir / "placed")
    tiers = tiers_of(artifacts)
    live = LiveVersion(version=version.version, sha256=version.digest, weight=1.0, tiers=tiers)
    targets = Targets(
        threads=settings.serving.threads,
        max_rows=settings.batching.max_batch_size,
        definitions=stored.definitions,
    )
    pace = Pace(settings.compiling.batch_sizes, settings.compiling.measure_s)
    placement = layout.place(version.model, live)
    found = remeasure(placement, _reports(artifacts, targets.threads), targets, pace, progress)
    manifest = version.manifest
    return CompileReport(
        version.model,
        version.version,
        version.sha256,
        "torch-cpu" if manifest.definition else "onnx-cpu-plain",
        made_at_ms,
        round(time.monotonic() - started_s, 3),
        machine(),
        manifest.max_batch_size or targets.max_rows,
        found,
    )


def _reports(artifacts: list[Artifact], threads: int) -> list[TierReport]:
    """Of each variant's newest artifact, of those for this machine if there are any; by tiers."""
    chosen = newest(artifacts)
    chosen |= newest(one for one in artifacts if one.target == of_cpu(BY_NAME[one.tier], threads))
    found = [
        msgspec.structs.replace(
            msgspec.convert(one.report, TierReport, str_keys=True), target=one.target
        )
        for one in chosen.values()
    ]
    return sorted(found, key=lambda one: (BY_NAME[one.tier].number, one.precision))
