"""Graphs in other precisions, run by the real runtime."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from chimera.schemas.errors import CompileFailed
from chimera.schemas.manifest import TensorSpec
from chimera.workers.backends import onnx_check
from chimera.workers.backends.onnx_runtime import SAVED, OnnxRuntime
from chimera.workers.compiling.graphs import to_fp16, to_int8
from tests.workers.rig import manifest, onnx_model

MANIFEST = manifest(
    inputs=(TensorSpec("x", "FP32", (-1, 16)),), outputs=(TensorSpec("y", "FP32", (-1, 4)),)
)
WEIGHTS = np.random.default_rng(0).standard_normal((16, 4)).astype("f4")


def graph() -> bytes:
    def made() -> onnx.GraphProto:
        return helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
            [numpy_helper.from_array(WEIGHTS, "w")],
        )

    return onnx_model(made)


def stored(model: bytes) -> set[int]:
    return {one.data_type for one in onnx.ModelProto.FromString(model).graph.initializer}


def test_int8_stores_integers_and_is_close() -> None:
    made = to_int8(graph())
    assert TensorProto.INT8 in stored(made)
    x = np.random.default_rng(1).standard_normal((5, 16)).astype("f4")
    (found,) = OnnxRuntime("cpu", 1).load(MANIFEST, made).run([x])
    error = np.abs(found - x @ WEIGHTS).max()
    assert 0 < error < 0.2


def test_fp16_stores_halves_and_keeps_the_types_of_inputs_and_outputs() -> None:
    made = to_fp16(graph())
    assert stored(made) == {TensorProto.FLOAT16}
    x = np.random.default_rng(1).standard_normal((5, 16)).astype("f4")
    (found,) = OnnxRuntime("cpu", 1).load(MANIFEST, made).run([x])
    assert found.dtype == np.float32
    assert 0 < np.abs(found - x @ WEIGHTS).max() < 0.02


def test_file_that_is_no_graph_fails() -> None:
    for convert in (to_int8, to_fp16):
        with pytest.raises(CompileFailed):
            convert(b"no graph")


def test_quantised_graph_has_only_operators_that_a_saved_one_may_have() -> None:
    onnx_check.check(to_int8(graph()), "m", SAVED)
