"""A run started here and now, in one process or several, as the settings say; signed by their key.

`tests/cli/test_train.py`.
"""

from typing import NamedTuple

from chimera.schemas.settings import Settings
from chimera.schemas.training_config import TrainingConfig
from chimera.schemas.training_manifest import TrainingManifest
from chimera.stores import keys
from chimera.workers.training import gang, run
from chimera.workers.training.tracking import Listener


class Asked(NamedTuple):
    config: TrainingConfig
    run_id: str
    resume: bool
    processes: int
    restarts: int  # of several


def train(settings: Settings, asked: Asked, listener: Listener) -> TrainingManifest:
    """Raises TrainingRefused, TrainingAborted, ConfigurationError."""
    wanted, key = settings.training, keys.find_signing_key(settings.keys)
    if asked.processes == 1:
        where = run.Where(
            runs=wanted.dir,
            run_id=asked.run_id,
            allowed=wanted.allowed,
            device=wanted.device,
            resident_bytes=wanted.resident_bytes,
            key=key,
            mlflow_uri=wanted.mlflow_uri,
        )
        return run.train(asked.config, where, resume=asked.resume, listeners=(listener,))
    order = gang.Order(
        config=asked.config,
        runs=str(wanted.dir.absolute()),
        run_id=asked.run_id,
        allowed=wanted.allowed,
        device=wanted.device,
        resident_bytes=wanted.resident_bytes,
        mlflow_uri=wanted.mlflow_uri,
    )
    return gang.launch(
        order,
        asked.processes,
        restarts=asked.restarts,
        resume=asked.resume,
        key=key,
        listeners=(listener,),
    )
