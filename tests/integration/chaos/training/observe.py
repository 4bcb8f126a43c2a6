"""The final look at training: every event afresh, the registry's rows and versions, the files of weights.

Read when no agent lives any more; what is found goes into the ledger as it is, and `rules` compares.
"""

import asyncio
import hashlib
from pathlib import Path

import msgspec

from chimera.schemas.errors import UnknownModel
from chimera.schemas.manifest import WEIGHTS_FILE
from chimera.schemas.training_config import TrainingConfig
from chimera.schemas.training_events import RunFinished
from tests.agents.training.stage import Stage
from tests.integration.chaos.ledger import Ledger
from tests.workers.training.places import where

WEIGHTS = "weights.safetensors"


async def look(stage: Stage, ledger: Ledger) -> None:
    """Fill `told`, `jobs`, and `weights` but for the undisturbed ones."""
    ledger.rows("DELETE FROM told")
    ledger.rows("DELETE FROM jobs")
    ledger.rows("DELETE FROM weights WHERE place != 'undisturbed'")
    weights: list[tuple[str, str, str]] = []
    for at, event in enumerate(await stage.events()):
        kind: str = event.__struct_config__.tag
        ledger.add("told", [(at, event.run_id, kind, getattr(event, "attempt", None))])
        if isinstance(event, RunFinished):
            weights.append((event.run_id, "event", event.manifest.weights_sha256))
    for run in await stage.place.registry.training_runs():
        ledger.add("jobs", [(run.run_id, run.state, run.stage)])
        if run.manifest is not None:
            weights.append((run.run_id, "row", run.manifest.weights_sha256))
        try:
            found = await stage.place.registry.version(run.model, run.run_id)
        except UnknownModel:
            continue
        weights.append((run.run_id, "version", found.files[WEIGHTS_FILE].sha256))
    weights += [(one.name, "file", sha256) for one, sha256 in _files(stage.runs_dir)]
    ledger.add("weights", weights)


async def compare(ledger: Ledger, folder: Path) -> None:
    """Run what was ordered once more, here, where nobody is killed."""
    orders = ledger.rows("SELECT run_id, config FROM orders")
    await asyncio.to_thread(_train_undisturbed, orders, folder)
    found = [(one.name, "undisturbed", sha256) for one, sha256 in _files(folder)]
    ledger.add("weights", found)


def _train_undisturbed(orders: list[tuple[str, str]], folder: Path) -> None:
    from chimera.workers.training.run import train  # torch

    for run_id, config in orders:
        train(msgspec.json.decode(config, type=TrainingConfig), where(folder, run_id))


def _files(runs: Path) -> list[tuple[Path, str]]:
    """Folders of runs that have weights, and what those are."""
    return [
        (file.parent, hashlib.sha256(file.read_bytes()).hexdigest())
        for file in sorted(runs.glob(f"*/{WEIGHTS}"))
    ]
