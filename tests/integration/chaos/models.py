"""The models of the campaigns: tiny graphs whose answers are known, and that fail on demand.

double   y = 2x, float32 [n, 4]                wide     20,000 numbers: a result over the limit
divide   y = a / b, int64 [n, 1]; ordering: key         (b = 0 raises, -2^63 / -1 dies: SIGFPE)
freely   the same with ordering: none, so that failures climb the retry ladder
loop     counts to x, int64 [1]; knows no batches       (hangs on a large number)
"""

# pyright: reportUnknownMemberType=false
# (onnx leaves parts of its own types open)

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from chimera.schemas.manifest import Manifest, Ordering, TensorSpec
from chimera.workers.models import write_model

WIDE = 20_000
_TYPES = {
    "FP32": TensorProto.FLOAT,
    "INT64": TensorProto.INT64,
}

Nodes = list[onnx.NodeProto]
Constants = list[onnx.TensorProto]


def write_models(models_dir: Path) -> None:
    """Write version 1 of each."""
    two = numpy_helper.from_array(np.array(2, np.float32), "two")
    weights = numpy_helper.from_array(np.ones((4, WIDE), np.float32) / 3, "weights")
    x, y = TensorSpec("x", "FP32", (-1, 4)), TensorSpec("y", "FP32", (-1, 4))
    a, b = TensorSpec("a", "INT64", (-1, 1)), TensorSpec("b", "INT64", (-1, 1))
    quotient = TensorSpec("y", "INT64", (-1, 1))
    divide = [helper.make_node("Div", ["a", "b"], ["y"])]
    _write(models_dir, "double", [helper.make_node("Mul", ["x", "two"], ["y"])], [two], [x], y)
    _write(
        models_dir,
        "wide",
        [helper.make_node("MatMul", ["x", "weights"], ["y"])],
        [weights],
        [x],
        TensorSpec("y", "FP32", (-1, WIDE)),
    )
    _write(models_dir, "divide", divide, [], [a, b], quotient)
    _write(models_dir, "freely", divide, [], [a, b], quotient, ordering="none")
    number = TensorSpec("x", "INT64", (1,))
    _write(models_dir, "loop", *_counting(), [number], TensorSpec("y", "INT64", (1,)), batch=0)


def _counting() -> tuple[Nodes, Constants]:
    """A Loop of x steps that adds one each time."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["more"], ["more_out"]),
            helper.make_node("Add", ["sum", "one"], ["sum_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("more", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.INT64, [1]),
        ],
        [
            helper.make_tensor_value_info("more_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_out", TensorProto.INT64, [1]),
        ],
    )
    nodes = [
        helper.make_node("Squeeze", ["x"], ["count"]),
        helper.make_node("Loop", ["count", "true", "zero"], ["y"], body=body),
    ]
    constants = [
        numpy_helper.from_array(np.array(True), "true"),
        numpy_helper.from_array(np.array([0], np.int64), "zero"),
        numpy_helper.from_array(np.array([1], np.int64), "one"),
    ]
    return nodes, constants


def _write(
    models_dir: Path,
    name: str,
    nodes: Nodes,
    constants: Constants,
    inputs: list[TensorSpec],
    output: TensorSpec,
    *,
    ordering: Ordering = "key",
    batch: int | None = None,
) -> None:
    manifest = Manifest(
        name, "1", tuple(inputs), (output,), "0" * 64, ordering=ordering, max_batch_size=batch
    )
    write_model(models_dir, graph(name, nodes, constants, inputs, output), manifest)


def graph(
    name: str, nodes: Nodes, constants: Constants, inputs: list[TensorSpec], output: TensorSpec
) -> bytes:
    """A model, as it stands in a file."""
    made = helper.make_graph(
        nodes, name, [_info(spec) for spec in inputs], [_info(output)], constants
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _info(spec: TensorSpec) -> onnx.ValueInfoProto:
    shape: list[str | int] = ["n" if size < 0 else size for size in spec.shape]
    return helper.make_tensor_value_info(spec.name, _TYPES[spec.datatype], shape)
