"""Places for the tests of commands: topics and a group of their own, a small model, a real node."""

import asyncio
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from chimera.cli.stack.child import Child
from chimera.cli.stack.ports import free_port
from chimera.cli.stack.stack import node_command, sync_topics
from chimera.schemas.manifest import Manifest, TensorSpec
from chimera.schemas.settings import Settings
from chimera.schemas.tensors import Array
from chimera.workers.models import write_model
from tests import forks

READY_WITHIN_S = 90.0
FAULT = 777.0


@dataclass(frozen=True)
class Place:
    """A prefix and a group of its own on a broker, with settings to reach them."""

    bootstrap: str
    folder: Path
    environment: Mapping[str, str]

    @property
    def prefix(self) -> str:
        return self.environment["CHIMERA_KAFKA__TOPIC_PREFIX"]

    def run(
        self,
        *arguments: str,
        text: str | None = None,
        settings: Mapping[str, str] | None = None,
        within_s: float = 90,
    ) -> subprocess.CompletedProcess[str]:
        """`chimera` with these arguments, and `text` on its standard input."""
        environment = {**os.environ, **self.environment, **(settings or {})}
        return forks.run(arguments, environment, text, within_s)

    def node(self) -> Child:
        """Started and ready; stop it."""
        ready = self.folder / "node.ready"
        ready.unlink(missing_ok=True)
        log_file = self.folder / "node.log"
        child = Child(
            node_command(self.bootstrap, ready), log_file=log_file, environment=self.environment
        )
        for _ in range(int(READY_WITHIN_S / 0.05)):
            if ready.exists():
                return child
            if child.wait(0.05) is not None:
                break
        child.kill()
        raise AssertionError(f"the node is not ready: {log_file.read_text()[-2000:]}")


def make_place(kafka: str, folder: Path, name: str) -> Place:
    """With the topics made and a model `digits` to serve."""
    models_dir = folder / "models"
    write_model(models_dir, digits_model(), MANIFEST)
    place = Place(
        kafka,
        folder,
        {
            "CHIMERA_KAFKA__BOOTSTRAP": kafka,
            "CHIMERA_KAFKA__TOPIC_PREFIX": f"{name}.",
            "CHIMERA_KAFKA__GROUP": name,
            "CHIMERA_KAFKA__PARTITIONS": "2",
            "CHIMERA_SERVING__MODELS_DIR": str(models_dir),
            "CHIMERA_STACK__DIR": str(folder / "stack"),
            "CHIMERA_AUDIT__OUTBOX_DIR": str(folder / "outbox"),
            "CHIMERA_OBSERVABILITY__METRICS_PORT": str(free_port()),
        },
    )
    make_topics(kafka, place.prefix, partitions=2)
    return place


def make_topics(bootstrap: str, prefix: str, partitions: int) -> None:
    """As `chimera topics sync --apply` does, without a process for it."""
    kafka = {"topic_prefix": prefix, "partitions": partitions}
    settings = Settings.model_validate({"kafka": kafka})
    asyncio.run(sync_topics(settings, bootstrap, change=True))


MANIFEST = Manifest(
    name="digits",
    version="1",
    inputs=(TensorSpec("image", "FP32", (-1, 64)),),
    outputs=(TensorSpec("digit", "INT64", (-1,)), TensorSpec("scores", "FP32", (-1, 10))),
    sha256="0" * 64,
)


def digits_model(*swapped: int, is_faulty: bool = False) -> bytes:
    """An ONNX model: scores [n, 10] = softmax of the first ten pixels, digit [n] = the largest.

    Two digits that are swapped are taken for each other. A faulty one raises where the last pixel is `FAULT`.
    """
    weights = np.zeros((64, 10), np.float32)
    weights[:10] = np.eye(10)
    if swapped:
        weights[list(swapped)] = weights[list(swapped[::-1])]
    constants: dict[str, Array] = {"weights": weights}
    nodes = [helper.make_node("MatMul", ["image", "weights"], ["sums"])]
    if is_faulty:
        constants |= {
            "last": np.array([63]), "fault": np.array([FAULT], "f4"), "nothing": np.zeros(1, "f4")
        }  # fmt: skip
        nodes += [
            helper.make_node("Gather", ["image", "last"], ["pixel"], axis=1),
            helper.make_node("Equal", ["pixel", "fault"], ["is_fault"]),
            helper.make_node("Cast", ["is_fault"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["nothing", "index"], ["added"]),  # there is only index 0
            helper.make_node("Add", ["sums", "added"], ["seen"]),
        ]
    graph = helper.make_graph(
        [
            *nodes,
            helper.make_node("Softmax", ["seen" if is_faulty else "sums"], ["scores"], axis=1),
            helper.make_node("ArgMax", ["scores"], ["digit"], axis=1, keepdims=0),
        ],
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 64])],
        [
            helper.make_tensor_value_info("digit", TensorProto.INT64, ["n"]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 10]),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return bytes(model.SerializeToString())


def image(digit: int) -> list[float]:
    """Pixels that `digits_model` takes for that digit."""
    return [5.0 if pixel == digit else 0.0 for pixel in range(64)]
