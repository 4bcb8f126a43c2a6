from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from chimera.schemas.errors import ConfigurationError, ModelFailed, ModelRefused, OutOfMemory
from chimera.schemas.manifest import Manifest, TensorSpec
from chimera.schemas.tensors import objects
from chimera.workers.backends.onnx_runtime import OnnxRuntime, usable_gpus
from chimera.workers.devices import has_driver
from tests.workers.rig import manifest, onnx_model, sums


def one_node(
    node: onnx.NodeProto,
    inputs: dict[str, tuple[int, list[str | int | None]]],
    outputs: dict[str, tuple[int, list[str | int | None]]],
) -> bytes:
    def values(named: dict[str, tuple[int, list[str | int | None]]]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(name, *spec) for name, spec in named.items()]

    return onnx_model(lambda: helper.make_graph([node], "g", values(inputs), values(outputs)))


@pytest.fixture
def runtime() -> OnnxRuntime:
    return OnnxRuntime("cpu", 1)


def test_model_runs_in_the_tier_of_its_device(runtime: OnnxRuntime) -> None:
    model = runtime.load(manifest(), sums())
    (found,) = model.run([np.array([[1, 2], [3, 4]], "f4")])
    assert found.tolist() == [[3], [7]]
    assert model.tier == "onnx-cpu"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"inputs": (TensorSpec("z", "FP32", (-1, 2)),)}, "'z'"),
        ({"inputs": (TensorSpec("x", "FP64", (-1, 2)),)}, r"tensor\(float\)"),
        ({"inputs": (TensorSpec("x", "FP32", (-1, 3)),)}, "shape"),
        ({"inputs": (TensorSpec("x", "FP32", (-1, -1)),)}, "shape"),
        ({"inputs": (TensorSpec("x", "FP32", (-1,)),)}, "shape"),
        ({"outputs": (TensorSpec("x", "FP32", (-1, 1)),)}, "'x'"),
        ({"outputs": (TensorSpec("y", "BF16", (-1, 1)),)}, "BF16"),
    ],
)
def test_manifest_that_tells_another_story_is_refused(
    runtime: OnnxRuntime, fields: dict[str, Any], reason: str
) -> None:
    wrong: Manifest = manifest(**fields)
    with pytest.raises(ModelRefused, match=reason):
        runtime.load(wrong, sums())


def test_input_that_the_manifest_forgets_is_refused(runtime: OnnxRuntime) -> None:
    shape: list[str | int | None] = ["n", 2]
    model = one_node(
        helper.make_node("Add", ["x", "more"], ["y"]),
        {"x": (TensorProto.FLOAT, shape), "more": (TensorProto.FLOAT, shape)},
        {"y": (TensorProto.FLOAT, shape)},
    )
    with pytest.raises(ModelRefused, match="more"):
        runtime.load(manifest(outputs=(TensorSpec("y", "FP32", (-1, 2)),)), model)


def test_file_that_is_no_model_is_refused(runtime: OnnxRuntime) -> None:
    for model in (b"", b"x" * 100, sums()[:-40]):
        with pytest.raises(ModelRefused):
            runtime.load(manifest(), model)


def test_batch_that_the_model_refuses_is_its_failure(runtime: OnnxRuntime) -> None:
    model = one_node(
        helper.make_node("Gather", ["x", "i"], ["y"], axis=1),
        {"x": (TensorProto.FLOAT, ["n", 2]), "i": (TensorProto.INT64, ["k"])},
        {"y": (TensorProto.FLOAT, ["n", "k"])},
    )
    specs = (TensorSpec("x", "FP32", (-1, 2)), TensorSpec("i", "INT64", (-1,)))
    loaded = runtime.load(
        manifest(inputs=specs, outputs=(TensorSpec("y", "FP32", (-1, -1)),)), model
    )
    with pytest.raises(ModelFailed, match="out of data bounds"):
        loaded.run([np.zeros((1, 2), "f4"), np.array([9])])


def test_failed_allocation_is_out_of_memory(runtime: OnnxRuntime) -> None:
    model = one_node(
        helper.make_node("Expand", ["x", "shape"], ["y"]),
        {"x": (TensorProto.FLOAT, [1]), "shape": (TensorProto.INT64, [2])},
        {"y": (TensorProto.FLOAT, ["a", "b"])},
    )
    specs = (TensorSpec("x", "FP32", (1,)), TensorSpec("shape", "INT64", (2,)))
    loaded = runtime.load(
        manifest(inputs=specs, outputs=(TensorSpec("y", "FP32", (-1, -1)),)), model
    )
    with pytest.raises(OutOfMemory):
        loaded.run([np.zeros(1, "f4"), np.array([1 << 22, 1 << 22])])  # 64 TiB


def test_text_goes_in_and_out(runtime: OnnxRuntime) -> None:
    model = one_node(
        helper.make_node("Identity", ["x"], ["y"]),
        {"x": (TensorProto.STRING, ["n"])},
        {"y": (TensorProto.STRING, ["n"])},
    )
    text = TensorSpec("x", "BYTES", (-1,)), TensorSpec("y", "BYTES", (-1,))
    loaded = runtime.load(manifest(inputs=text[:1], outputs=text[1:]), model)
    (found,) = loaded.run([objects([b"caf\xc3\xa9", b""])])
    assert found.tolist() == ["café", ""]
    with pytest.raises(ModelFailed, match="UTF-8"):
        loaded.run([objects([b"\xff"])])


def test_gpu_that_is_not_there_is_a_wrong_setting() -> None:
    if has_driver():
        pytest.skip("there may be a GPU")
    assert usable_gpus() == []
    with pytest.raises(ConfigurationError, match="cuda:0"):
        OnnxRuntime("cuda:0", 1)


def test_device_that_is_none_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigurationError, match="tpu"):
        OnnxRuntime("tpu:0", 1)


def test_saved_graph_runs_as_the_one_it_was_made_of(runtime: OnnxRuntime, tmp_path: Path) -> None:
    """Fused operators are the runtime's own: a graph from elsewhere may not have them."""
    model = gelu()
    specs: dict[str, Any] = {
        "inputs": (TensorSpec("x", "FP32", (-1, 2)),),
        "outputs": (TensorSpec("y", "FP32", (-1, 2)),),
    }
    made_of = manifest("gelu", **specs)
    runtime.save_optimised(made_of, model, tmp_path / "graph.onnx")
    saved = (tmp_path / "graph.onnx").read_bytes()
    x = np.array([[1, -2], [3, 0.5]], "f4")
    (wanted,) = runtime.load_plain(made_of, model).run([x])
    loaded = runtime.load_saved(made_of, saved, "onnx-cpu")
    assert np.allclose(loaded.run([x])[0], wanted, atol=1e-6)
    assert loaded.tier == "onnx-cpu"
    with pytest.raises(ModelRefused, match=r"com\.microsoft"):
        runtime.load(made_of, saved)


def gelu() -> bytes:
    """x * (1 + erf(x / 1.4142)) / 2 in five operators, which the runtime joins into one."""

    def graph() -> onnx.GraphProto:
        make, number = helper.make_node, helper.make_tensor
        return helper.make_graph(
            [
                make("Div", ["x", "root"], ["a"]),
                make("Erf", ["a"], ["b"]),
                make("Add", ["b", "one"], ["c"]),
                make("Mul", ["x", "c"], ["d"]),
                make("Mul", ["d", "half"], ["y"]),
            ],
            "gelu",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
            [
                number("root", TensorProto.FLOAT, [], [2**0.5]),
                number("one", TensorProto.FLOAT, [], [1.0]),
                number("half", TensorProto.FLOAT, [], [0.5]),
            ],
        )

    return onnx_model(graph)
