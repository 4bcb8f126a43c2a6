"""Runs of training agents as a person reads them: what the registry keeps of each.

`tests/cli/test_train_agent.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import msgspec
from rich import box
from rich.table import Column, Table

from chimera.cli.models.registry import opened
from chimera.schemas.errors import ConfigurationError, PostgresUnavailable
from chimera.schemas.model_names import DEFAULT_TENANT
from chimera.schemas.settings import load
from chimera.schemas.training_config import TrainingConfig, hash_config
from chimera.schemas.training_events import RunProgressed, decode_event
from chimera.schemas.training_manifest import TrainingManifest
from chimera.stores.registry.registry import Registry
from chimera.stores.registry.training_runs import TrainingRun

Found = TypeVar("Found")


def registered(tenant: str = DEFAULT_TENANT, limit: int = 100) -> list[TrainingRun]:
    """The newest runs. Raises as `_asked`."""
    return _asked(tenant, lambda registry: registry.training_runs(limit)) or []


def find(run_id: str, tenant: str = DEFAULT_TENANT) -> TrainingRun | None:
    """None: the registry does not know it. Raises as `_asked`."""
    return _asked(tenant, lambda registry: registry.training_run(run_id))


def _asked(tenant: str, ask: Callable[[Registry], Awaitable[Found]]) -> Found | None:
    """None: there is no registry, and whoever trains alone needs none; other tenants are in one.

    Raises:
        ConfigurationError, PostgresUnavailable: of another tenant than `default`: there is none, or it
            has no such tenant.
    """

    async def asked() -> Found:
        async with opened(load().postgres, tenant) as registry:
            return await ask(registry)

    try:
        return asyncio.run(asked())
    except (ConfigurationError, PostgresUnavailable):
        if tenant != DEFAULT_TENANT:
            raise
        return None


def table(runs: Iterable[TrainingRun], local: Iterable[TrainingManifest]) -> Table:
    """Runs of agents first, then those that were trained here alone."""
    runs, local = list(runs), list(local)
    known = {run.run_id for run in runs}
    width = max(map(len, (*known, *(one.run_id for one in local))), default=0)
    names = Column("run", min_width=width, no_wrap=True)  # people copy them
    found = Table(names, "model", "state", "data", "metrics", "s", box=box.SIMPLE_HEAD)
    for run in runs:
        if run.manifest is not None:
            found.add_row(*_row(run.manifest, state(run)))
        else:
            found.add_row(run.run_id, run.model, state(run), "", "", "")
    for manifest in local:
        if manifest.run_id not in known:
            found.add_row(*_row(manifest, "finished here"))
    return found


def state(run: TrainingRun) -> str:
    """In a few words."""
    if run.state == "finished":
        said = {"released": run.until, "withheld": "withheld"}
        return f"finished, {said.get(run.stage or '', f'{run.stage} is awaited')}"
    if run.state == "running" and run.progress is not None:
        last = decode_event(run.progress.encode())
        if isinstance(last, RunProgressed):
            return f"running, {last.update:,} of {last.updates:,}"
    return run.state


def lines(run: TrainingRun) -> list[str]:
    """Whose it is, and how it came to be what it is."""
    config = msgspec.json.decode(run.config, type=TrainingConfig)
    found = [
        f"run {run.run_id} of {run.model}: {state(run)}",
        f"  ordered {run.queued_at:%Y-%m-%d %H:%M:%S %Z} by {run.actor} ({run.reason})",
        f"  trigger {run.trigger_id}, priority {run.priority}",
        f"  config {hash_config(config)}",
        f"  attempts {run.attempt}{f' on {run.device}' if run.device else ''}",
    ]
    if run.cancelled_by:
        found.append(f"  cancelled by {run.cancelled_by}")
    if run.error:
        found.append(f"  {run.error}")
    return found


def _row(manifest: TrainingManifest, state: str) -> tuple[str, ...]:
    metrics = [f"{name} {value:.4g}" for name, value in list(manifest.metrics.items())[:3]]
    data, seconds = manifest.dataset_digest[:12], f"{manifest.duration_s:.1f}"
    return manifest.run_id, manifest.name, state, data, ", ".join(metrics), seconds


def origin(run: TrainingRun) -> str:
    """Of a version: the run that made it, its data and its configuration, in one line."""
    found = run.manifest
    data = "" if found is None else f", data {found.dataset_digest[:12]}"
    config = "" if found is None else f", config {found.config_hash[:12]}"
    return f"trained by run {run.run_id}{data}{config}, ordered by {run.actor}"
