"""The model of every benchmark: a 64-256-256-10 perceptron with fixed random weights, as ONNX.

Its answers mean nothing; its cost does. Input "x" [n, 64], output "y" [n, 10], both float32.
"""

# pyright: reportUnknownMemberType=false
# (onnx's stubs leave a type parameter open)

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from chimera.schemas.manifest import Manifest, TensorSpec
from chimera.workers.models import write_model

LAYERS = (64, 256, 256, 10)
ENDS = (LAYERS[0], LAYERS[-1])
NAME = "digits"


def write(models_dir: Path) -> None:
    """Write version 1 into a folder of models."""
    write_model(models_dir, build(), manifest())


def manifest(version: str = "1") -> Manifest:
    """The digest is the writer's to fill in."""
    size = tuple(
        TensorSpec(name, "FP32", (-1, width)) for name, width in zip("xy", ENDS, strict=True)
    )
    return Manifest(NAME, version, inputs=size[:1], outputs=size[1:], sha256="0" * 64)


def build(layers: Sequence[int] = LAYERS) -> bytes:
    """The ONNX file's bytes; the widths of `layers` begin and end as `LAYERS` do."""
    random = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []
    source = "x"
    for index, (wide, narrow) in enumerate(itertools.pairwise(layers)):
        last = index == len(layers) - 2
        weight, bias = f"w{index}", f"b{index}"
        drawn = (random.normal(size=(wide, narrow)) * 0.1).astype(np.float32)
        weights += [
            numpy_helper.from_array(drawn, weight),
            numpy_helper.from_array(np.zeros(narrow, dtype=np.float32), bias),
        ]
        target = "y" if last else f"h{index}"
        nodes.append(helper.make_node("Gemm", [source, weight, bias], [target]))
        if not last:
            nodes.append(helper.make_node("Relu", [target], [f"r{index}"]))
            source = f"r{index}"
    graph = helper.make_graph(
        nodes,
        NAME,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", LAYERS[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", LAYERS[-1]])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
