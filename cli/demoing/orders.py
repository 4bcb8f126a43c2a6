"""What the demo orders on `training.triggers`: one run of the digits, and one of their negatives.

The first goes on by itself until it is promoted; the second is registered, and waits for a person.
`tests/cli/demoing/test_orders.py` has them taken as a training agent takes them.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from chimera.cli.demoing.digits import FILES
from chimera.cli.demoing.versions import GOOD, MODEL, TRIGGERS, WORSE
from chimera.cli.models.actor import actor
from chimera.cli.models.registry import opened
from chimera.schemas.model_names import DEFAULT_TENANT
from chimera.schemas.settings import Settings
from chimera.schemas.training_config import (
    Data,
    DatasetSchema,
    Evaluation,
    Loop,
    Loss,
    Model,
    Optimizer,
    Release,
    TrainingConfig,
)
from chimera.schemas.training_rights import POLICY, TrainingRights
from chimera.schemas.training_triggers import TrainModel

METRIC = "accuracy"  # that runs are ranked by
EPOCHS = 30
_RESAMPLES = 100


def orders(data: Path, tiers: Sequence[str]) -> tuple[TrainModel, TrainModel]:
    """`data`: where the files lie; `tiers`: to compile the first version into, none: all."""
    first = Release(
        until="promoted",
        tiers=tuple(tiers),
        input="image",
        outputs=("digit", "scores"),
        labels=tuple("0123456789"),
    )
    second = msgspec.structs.replace(first, until="registered")
    return (
        _order(TRIGGERS[0], _config(data / FILES[GOOD], first)),
        _order(TRIGGERS[1], _config(data / FILES[WORSE], second)),
    )


async def allow(settings: Settings) -> None:
    """Whoever runs the demo may train, and may promote.

    Raises:
        PostgresUnavailable: the registry is gone.
    """
    rights = TrainingRights(train=(actor(),), promote=(actor(),))
    async with opened(settings.postgres) as registry:
        await registry.put_policy(POLICY, msgspec.to_builtins(rights), actor=actor())


def _order(trigger_id: str, config: TrainingConfig) -> TrainModel:
    return TrainModel(trigger_id=trigger_id, tenant=DEFAULT_TENANT, actor=actor(), config=config)


def _config(file: Path, release: Release) -> TrainingConfig:
    return TrainingConfig(
        name=MODEL,
        task="multiclass",
        data=Data(
            sources=(file.absolute().as_uri(),),
            schema=DatasetSchema(features=("pixel_*",), target="digit"),
        ),
        model=Model(definition="chimera.workers.definitions.mlp:Mlp", method="logits"),
        loss=Loss(name="cross_entropy", arguments={"label_smoothing": 0.1}),
        optimizer=Optimizer(name="SGD", arguments={"lr": 0.1, "momentum": 0.9}),
        loop=Loop(epochs=EPOCHS),
        evaluation=Evaluation(best=METRIC, direction="max", bootstrap=_RESAMPLES),
        release=release,
    )
