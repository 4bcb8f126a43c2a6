"""What the registry holds, for a person (tables) and for a program (JSON).

Times are the server's, in UTC. `tests/cli/test_models_registry.py` reads both.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from rich import box
from rich.console import Console, RenderableType
from rich.table import Column, Table

from chimera.schemas.deployments import Deployment, Live, WatchEnd
from chimera.stores.registry.records import Artifact, Model, Version

PAGE = 160  # columns where there is no terminal to ask


def as_text(value: object) -> str:
    """JSON, on one line."""
    return msgspec.json.encode(value).decode()


def version_fields(version: Version) -> dict[str, Any]:
    """All of it but the manifest's raw bytes, of which `digest` is the SHA-256."""
    fields = msgspec.structs.asdict(version)
    for internal in ("id", "manifest_bytes"):
        del fields[internal]
    return {"digest": version.digest, **fields}


def models_fields(models: Iterable[Model], lives: Iterable[Live]) -> list[dict[str, Any]]:
    """Each with what serves it; null: nothing was ever deployed."""
    by_name = {live.model: live for live in lives}
    return [
        {
            "name": model.name,
            "created_at": model.created_at,
            "versions": model.versions,
            "live": by_name.get(model.name),
        }
        for model in models
    ]


def show(*parts: RenderableType) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PAGE
    for part in parts:
        console.print(part)


def served(live: Live) -> str:
    """What serves a model, as one would say it."""
    if live.serving is None:
        said = "nothing serves"
    else:
        share = 100 - live.weight if live.candidate else 100
        said = f"{live.serving.version} serves {share} %"
    if live.candidate is not None:
        part = f"gets {live.weight} %" if live.weight else f"shadows {live.share} %"
        said += f", {live.candidate.version} {part}"
    if live.previous is not None:
        said += f", {live.previous.version} before"
    if live.watch is not None:
        shadow = live.watch.shadow
        said += f", {shadow.version} shadows 100 %" if shadow is not None else ""
        said += f", {live.watch.placed.version} is watched"
    return f"{said}, paused" if live.paused else said


def served_whole(live: Live) -> str:
    """The same, and what a version that is watched has to keep to."""
    if live.watch is None:
        return served(live)
    policy, since = live.watch.policy, _when(live.watch.since)
    limits = [f"errors {policy.max_error_rate:.3%}"]
    if policy.max_p99_ratio is not None:
        limits.append(f"p99 {policy.max_p99_ratio:g} x")
    if policy.max_disagreement is not None:
        limits.append(f"disagreement {policy.max_disagreement:.3%}")
    least = f"{policy.window_s} s and {policy.min_requests} requests"
    return f"{served(live)} since {since}, for {least} at least: {', '.join(limits)}"


def history_fields(
    history: Iterable[Deployment], ends: Mapping[int, WatchEnd]
) -> list[dict[str, Any]]:
    """Each event with what became of the watch that it opened; null: it opened none."""
    return [
        {**msgspec.structs.asdict(event), "watched": ends.get(event.sequence)} for event in history
    ]


def models_table(models: Iterable[Model], lives: Iterable[Live]) -> Table:
    by_name = {live.model: live for live in lives}
    table = _table("model", _right("versions"), "since", "serves")
    for model in models:
        live = by_name.get(model.name, Live("", model.name))
        table.add_row(model.name, str(model.versions), _when(model.created_at), served(live))
    return table


def versions_table(versions: Iterable[Version], tiers: Iterable[Sequence[Artifact]]) -> Table:
    """`tiers`: the artifacts of each of them."""
    table = _table("version", "digest", "registered", "by", "verified tiers")
    for version, made in zip(versions, tiers, strict=True):
        names = [one.tier for one in made if one.verdict == "verified"]
        when = _when(version.registered_at)
        row = (version.version, version.digest[:12], when, version.registered_by)
        table.add_row(*row, ", ".join(dict.fromkeys(names)) or "-")
    return table


def files_table(version: Version) -> Table:
    table = _table("file", _right("bytes"), "SHA-256")
    for name, file in version.files.items():
        table.add_row(name, f"{file.size_bytes:,}", file.sha256)
    return table


def artifacts_table(artifacts: Iterable[Artifact]) -> Table:
    verdict = Column("verdict", overflow="fold")
    table = _table("tier", "precision", "target", "SHA-256", _right("bytes"), "made", verdict)
    for one in artifacts:
        size = "-" if one.size_bytes is None else f"{one.size_bytes:,}"
        made = "-" if one.made_at is None else _when(one.made_at)
        said = f"{one.verdict}: {one.reason}" if one.reason else one.verdict
        where = (one.target or "-", (one.sha256 or "-")[:12])
        table.add_row(one.tier, one.precision, *where, size, made, said)
    return table


def history_table(history: Iterable[Deployment], ends: Mapping[int, WatchEnd]) -> Table:
    weight = _right("weight")
    table = _table(_right("#"), "at", "action", "version", weight, "watch", "by", "reason")
    for event in history:
        version = event.placed.version if event.placed else "-"
        share = _part(event) if event.action == "deploy" else "-"
        end = ends.get(event.sequence, "-")
        about = (event.action, version, share, end, event.actor, event.reason)
        table.add_row(str(event.sequence), _when(event.at), *about)
    return table


def lives_table(lives: Iterable[Live]) -> Table:
    table = _table("model", "serves", "since", "SHA-256")
    for live in lives:
        since = "-" if live.at is None else _when(live.at)
        sha256 = live.serving.sha256 if live.serving else "-"
        table.add_row(live.model, served(live), since, sha256)
    return table


def _part(deploy: Deployment) -> str:
    """Of the requests."""
    return f"{deploy.weight} %" if deploy.weight else f"shadows {deploy.share} %"


def _when(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S %Z}"


def _table(*columns: Column | str) -> Table:
    return Table(*columns, box=box.SIMPLE_HEAD)


def _right(name: str) -> Column:
    return Column(name, justify="right")
