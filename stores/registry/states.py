"""The record of `models.state` that follows from what serves and what was compiled.

    serving      live, with 100 - w beside a candidate that gets w percent, else alone with 1
    candidate    live with w; without a weight (w = 0) it shadows its share
    previous     before: what a rollback makes live again; while a watch compares it with what
                 serves now, a shadow too

A version's tiers are its newest artifacts, where they are verified and no experiment: of each variant one for each kind
of machine that it was made for, of the newest `MAX_TARGETS` of these. One without a file of its own
runs anywhere, so the newest counts. A version without any cannot be deployed, and one that has lost
them all since is left out; but for what serves, which keeps those that were verified last
(`deployments`). `tests/stores/registry/test_states.py`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from chimera.schemas.compile_report import TierReport, variant
from chimera.schemas.deployments import Live, Placed
from chimera.schemas.model_state import LiveVersion, ModelState, ShadowVersion, TierArtifact
from chimera.schemas.tiers import BY_NAME
from chimera.stores.registry.records import Artifact

MAX_TARGETS = 5  # of a variant: a state has room for 64 tiers
ALONE = 1.0
ALL_REQUESTS = 100  # percent

Tiers = tuple[TierArtifact, ...]


def tiers_of(artifacts: Iterable[Artifact]) -> Tiers:
    """What a version may be served with: of each variant the newest artifact for each target."""
    found: dict[tuple[str, str], Artifact] = {}
    of_variant: Counter[str] = Counter()
    for one in sorted(artifacts, key=_made, reverse=True):
        name, target = variant(one.tier, one.precision), _target(one)
        if (name, target) not in found and of_variant[name] < MAX_TARGETS:
            found[name, target] = one
            of_variant[name] += 1
    return tuple(
        TierArtifact(name, one.sha256, *_measured(one), target)
        for (name, target), one in sorted(found.items())
        if one.verdict == "verified" and one.sha256 is not None and not _is_experimental(one)
    )


def newest(artifacts: Iterable[Artifact]) -> dict[str, Artifact]:
    """Of each variant, by its name, whatever machine it was made for."""
    return {variant(one.tier, one.precision): one for one in sorted(artifacts, key=_made)}


def model_state(live: Live, tiers: Mapping[str, Tiers], command_id: str) -> ModelState:
    """The record of a state that a command led to; `tiers` by version, none: it may not serve."""
    weight = 100.0 - live.weight if live.weight else ALONE
    answering = [_version(live.serving, weight, tiers)]
    if live.weight:
        answering.append(_version(live.candidate, float(live.weight), tiers))
    before = _version(live.previous, ALONE, tiers)
    return ModelState(
        tenant=live.tenant,
        model=live.model,
        revision=live.sequence,
        changed_ms=0 if live.at is None else int(live.at.timestamp() * 1000),
        command_id=command_id,
        live=tuple(one for one in answering if one is not None),
        before=() if before is None else (before,),
        shadow=_shadow(live, tiers),
        paused=live.paused,
    )


def _shadow(live: Live, tiers: Mapping[str, Tiers]) -> ShadowVersion | None:
    shadow, share = live.watch.shadow if live.watch else None, ALL_REQUESTS
    if live.candidate is not None and not live.weight:
        shadow, share = live.candidate, live.share
    if shadow is None or not tiers.get(shadow.version):
        return None
    return ShadowVersion(
        version=shadow.version,
        sha256=shadow.sha256,
        share=share / 100,
        tiers=tiers[shadow.version],
    )


def _version(
    placed: Placed | None, weight: float, tiers: Mapping[str, Tiers]
) -> LiveVersion | None:
    if placed is None or not tiers.get(placed.version):
        return None
    return LiveVersion(
        version=placed.version, sha256=placed.sha256, weight=weight, tiers=tiers[placed.version]
    )


def _measured(artifact: Artifact) -> tuple[dict[int, float], dict[str, str]]:
    """Its p99 by rows of a batch, and the files beside its own; a report of another form has none."""
    try:
        report = msgspec.convert(artifact.report, TierReport, str_keys=True)
    except msgspec.ValidationError:
        return {}, {}
    steady = report.timings.steady if report.timings else ()
    beside = {
        name: file.sha256 for name, file in report.files.items() if file.sha256 != artifact.sha256
    }
    return {one.rows: one.p99_ms * 1000 for one in steady if one.p99_ms > 0}, beside


def _target(artifact: Artifact) -> str:
    """What its files are made for; without any, it runs wherever its library does."""
    tier = BY_NAME.get(artifact.tier)
    return "" if tier is not None and tier.file is None else artifact.target


def _is_experimental(artifact: Artifact) -> bool:
    tier = BY_NAME.get(artifact.tier)
    return tier is not None and tier.experimental


def _made(artifact: Artifact) -> float:
    return 0.0 if artifact.made_at is None else artifact.made_at.timestamp()
