"""The demo's triggers, as a training agent reads and judges them."""

from pathlib import Path

from chimera.agents.training.orders import Orders
from chimera.cli.demoing import configuration
from chimera.cli.demoing.orders import orders
from chimera.cli.demoing.versions import GOOD, WORSE
from chimera.schemas.model_names import DEFAULT_TENANT
from chimera.schemas.settings import Settings
from chimera.schemas.training_triggers import (
    TrainModel,
    decode_trigger,
    encode_trigger,
    run_id_of,
)


def test_orders_may_be_and_bring_the_versions_that_the_demo_names(tmp_path: Path) -> None:
    own = configuration.overrides(tmp_path, is_embedded=True, has_int8=False)
    allowed = Orders(configuration.applied(Settings(), own))
    made = orders(tmp_path / configuration.DATA, ("onnx-cpu",))
    for order, version, until in zip(made, (GOOD, WORSE), ("promoted", "registered"), strict=True):
        read = decode_trigger(encode_trigger(order))
        assert isinstance(read, TrainModel)
        assert read.config is not None
        assert allowed.against(read.config) == []
        assert run_id_of(DEFAULT_TENANT, read.trigger_id, read.config.name) == version
        assert (read.config.release.until, read.config.release.tiers) == (until, ("onnx-cpu",))
