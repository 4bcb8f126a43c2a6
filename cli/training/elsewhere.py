"""A run that this machine's folder of runs has, or that an agent trained elsewhere: for `compare` and `manifest`.

Of the latter the registry has the order and the manifest, and `training.events` how its metrics went.
`tests/cli/test_train.py`, `test_train_ingested.py`.
"""

import asyncio
import json
from collections.abc import Iterable
from contextlib import aclosing

from chimera.cli.stack.stack import find_bootstrap
from chimera.cli.training import listing
from chimera.cli.training.tenant import runs
from chimera.cli.training.triggering import events
from chimera.schemas.errors import TrainingRefused
from chimera.schemas.settings import Settings
from chimera.schemas.training_events import Event, RunEvaluated, RunProgressed
from chimera.schemas.training_manifest import encode_manifest
from chimera.workers.training import comparison, recording
from chimera.workers.training.comparison import LOSS, Points, Run


def run(settings: Settings, tenant: str, run_id: str) -> Run:
    """
    Raises:
        TrainingRefused: neither the tenant's folder nor the registry has it.
        ChimeraError: the registry has, and there is no Kafka to ask how it went.
    """
    try:
        return comparison.read(runs(tenant), run_id)
    except TrainingRefused:
        found = listing.find(run_id, tenant)
        if found is None:
            raise
    told = asyncio.run(_told(settings, run_id))
    return Run(run_id, json.loads(found.config), curves(told))


def manifest(tenant: str, run_id: str) -> tuple[bytes, bool]:
    """As JSON, and whether its files are here. Raises TrainingRefused: nobody has it."""
    try:
        return recording.line(runs(tenant), run_id), True
    except TrainingRefused:
        found = listing.find(run_id, tenant)
        if found is None or found.manifest is None:
            raise
        return encode_manifest(found.manifest), False


def curves(told: Iterable[Event]) -> dict[str, Points]:
    """By metric; what an attempt that went on from a checkpoint told anew counts."""
    found: dict[str, dict[int, float]] = {}
    for event in told:
        match event:
            case RunProgressed():
                values = {} if event.loss is None else {LOSS: event.loss}
            case RunEvaluated():
                values = event.metrics
            case _:
                continue
        for name, value in values.items():
            found.setdefault(name, {})[event.update] = value
    return {name: sorted(points.items()) for name, points in found.items()}


async def _told(settings: Settings, run_id: str) -> list[Event]:
    """All of it by now. Raises KafkaUnavailable."""
    found: list[Event] = []
    async with aclosing(events(settings, find_bootstrap(settings), run_id)) as told:
        async for some, is_all in told:
            found += some
            if is_all:
                break
    return found
