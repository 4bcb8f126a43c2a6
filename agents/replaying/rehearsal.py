"""A rehearsal: a registered version laid out, recorded requests run through it, and a verdict.

    registry: version, tiers, policy ── files laid out ── executors ── Kafka's history ── report

Limits that are not given are the model's policy's. Nothing is written down: who asked does that. It
is what `chimera models replay` does, and what a training agent does before a promotion that asks for
it. `tests/cli/test_models_replay.py`, `tests/agents/training/test_rehearsing.py`.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

from msgspec.structs import replace

from chimera.agents.replaying import history
from chimera.agents.replaying.replay import Progress, Replay, Wanted
from chimera.schemas.errors import DeploymentRefused
from chimera.schemas.model_state import LiveVersion
from chimera.schemas.placements import Placement
from chimera.schemas.replay_report import ReplayLimits, ReplayReport
from chimera.schemas.settings import Settings
from chimera.stores import keys
from chimera.stores.artifacts import Artifacts
from chimera.stores.layout import Layout
from chimera.stores.registry.records import Version
from chimera.stores.registry.registry import Registry
from chimera.stores.registry.states import Tiers, tiers_of
from chimera.topics.catalogue import catalogue
from chimera.workers.replaying.candidate import Candidate
from chimera.workers.replaying.rule import Rule
from chimera.workers.replaying.tally import Tally

MAX_REASON = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is wanted; limits by name, where they are not the policy's."""

    model: str
    version: str
    since_ms: int
    until_ms: int
    max_requests: int
    served_version: str | None = None
    limits: dict[str, float | int | None] = field(default_factory=dict[str, float | int | None])


@dataclass(frozen=True, slots=True)
class Known:
    """What the registry says before a replay."""

    version: Version
    tiers: Tiers
    others: dict[str, Version]  # all of the model, by digest
    limits: ReplayLimits


async def rehearse(
    settings: Settings,
    bootstrap: str,
    registry: Registry,
    asked: Asked,
    progress: Progress = lambda _, __: None,
) -> ReplayReport:
    """Run it, and say what came of it.

    Raises:
        UnknownModel: it is not registered. DeploymentRefused: no tier of it is verified.
        ModelRefused: nobody trusted vouches for it, or no executor here can load it.
        SchemaInvalid: its model's policy cannot be read.
        KafkaUnavailable, PostgresUnavailable, ArtifactsUnavailable, ConfigurationError.
    """
    known = await _known(registry, asked)
    placement = await asyncio.to_thread(_placed, settings, known)
    started_s = time.monotonic()
    manifests = {digest: one.manifest for digest, one in known.others.items()}
    tally = Tally(Rule(known.version.manifest, manifests))
    names = catalogue(settings)
    topics = [names.requests.name, names.results.name, names.dead_letters.name]
    async with (
        history.opened(settings, bootstrap, topics) as past,
        Candidate(settings, placement) as candidate,
    ):
        run = Replay(settings, past, candidate, tally)
        await run.run(_wanted(asked, known), progress)
    return _report(asked, known, tally, run, time.monotonic() - started_s)


async def _known(registry: Registry, asked: Asked) -> Known:
    version = await registry.version(asked.model, asked.version)
    tiers = tiers_of(await registry.artifacts(asked.model, asked.version))
    others = {one.digest: one for one in await registry.versions(asked.model)}
    policy = await registry.promotion_policy(asked.model)
    if asked.served_version is not None:
        await registry.version(asked.model, asked.served_version)
    if not tiers:
        raise DeploymentRefused(
            f"replay {asked.model} {asked.version}: no tier of it is verified; compile it first"
        )
    required = policy.requires_replay
    limits = ReplayLimits() if required is None else required.limits
    return Known(version, tiers, others, replace(limits, **asked.limits))


def _placed(settings: Settings, known: Known) -> Placement:
    artifacts = settings.artifacts
    store = Artifacts(artifacts.url, artifacts.cache_dir)
    layout = Layout(store, keys.trusted(settings.keys), artifacts.cache_dir / "placed")
    version = known.version
    live = LiveVersion(
        version=version.version, sha256=version.digest, weight=1.0, tiers=known.tiers
    )
    return layout.place(version.model, live)


def _wanted(asked: Asked, known: Known) -> Wanted:
    served_by = [
        digest for digest, one in known.others.items() if one.version == asked.served_version
    ]
    return Wanted(
        model=asked.model,
        digest=known.version.digest,
        since_ms=asked.since_ms,
        until_ms=asked.until_ms,
        max_requests=asked.max_requests,
        served_by="".join(served_by),
    )


def _report(asked: Asked, known: Known, tally: Tally, run: Replay, took_s: float) -> ReplayReport:
    verdict, reason = tally.verdict(known.limits)
    if run.given_up:
        verdict, reason = "failed", run.given_up
    return ReplayReport(
        model=asked.model,
        version=asked.version,
        sha256=known.version.digest,
        since_ms=asked.since_ms,
        until_ms=asked.until_ms,
        made_at_ms=time.time_ns() // 1_000_000,
        took_s=round(took_s, 3),
        limits=known.limits,
        counts=tally.counts,
        served=tally.served.speed,
        candidate=tally.candidate.speed,
        verdict=verdict,
        reason=reason[:MAX_REASON],
        errors=dict(tally.errors),
        served_errors=dict(tally.served_errors),
        served_by=_by_version(tally.served_by, known.others),
        differences=tuple(tally.differences),
        is_cut=run.is_cut,
    )


def _by_version(served_by: Counter[str], known: dict[str, Version]) -> dict[str, int]:
    """By the names of versions; of those that the registry has not, by their digests."""
    return {
        known[digest].version if digest in known else digest: count
        for digest, count in served_by.items()
    }
